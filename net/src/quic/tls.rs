//! TLS 1.3 as this transport uses it: raw keys on both sides, nothing carried over between
//! handshakes.
//!
//! Tickets would let a peer come back without being asked for its key, and so without being judged
//! anew; there are none, and no early data.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quipu_merge::AuthorKey;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use super::identity::{NodeKey, Witness, certified};
use super::verify::{Admission, Verifier, Wanted};

/// The protocol that peers agree on in the handshake (ALPN).
pub const PROTOCOL: &str = "quipu/1";

/// What every handshake of a node has in common.
pub(crate) struct Tls {
    key: Arc<dyn NodeKey>,
    public: AuthorKey,
    admission: Admission,
    provider: Arc<CryptoProvider>,
}

/// Ring and rustls cannot be set up as this transport needs them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Suite(#[from] NoInitialCipherSuite),
}

impl Tls {
    pub fn new(key: Arc<dyn NodeKey>, admission: Admission) -> Self {
        let public = key.public();
        Self { key, public, admission, provider: Arc::new(ring::default_provider()) }
    }

    /// Who this node is.
    pub const fn public(&self) -> AuthorKey {
        self.public
    }

    /// Who may dial this node.
    pub const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// For one handshake that a peer begins.
    pub fn accepting(&self, witness: &Arc<Witness>) -> Result<Arc<QuicServerConfig>, TlsError> {
        let verifier = self.verifier(Wanted::Admitted(self.admission.clone()), witness);
        let shown = certified(&self.key, self.public, witness);
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown)));
        config.alpn_protocols = vec![PROTOCOL.into()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Arc::new(config.try_into()?))
    }

    /// For one handshake with the node that has this key.
    pub fn dialling(
        &self,
        expected: AuthorKey,
        witness: &Arc<Witness>,
    ) -> Result<Arc<QuicClientConfig>, TlsError> {
        let verifier = self.verifier(Wanted::This(expected), witness);
        let shown = certified(&self.key, self.public, witness);
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown)));
        config.alpn_protocols = vec![PROTOCOL.into()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        // The name goes in clear: whoever watches would learn who is dialled.
        config.enable_sni = false;
        Ok(Arc::new(config.try_into()?))
    }

    fn verifier(&self, wanted: Wanted, witness: &Arc<Witness>) -> Arc<Verifier> {
        let algorithms = self.provider.signature_verification_algorithms;
        Arc::new(Verifier { wanted, witness: witness.clone(), algorithms })
    }
}
