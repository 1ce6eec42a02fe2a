//! QUIC and TLS without this crate: what a peer can do that does not keep to the rules.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, TransportConfig};
use quipu_merge::AuthorKey;
use quipu_net::{NodeKey, PROTOCOL};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::nodes::{here, key};

/// Believes everybody.
#[derive(Debug)]
struct Credulous {
    raw: bool,
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("QUIC has TLS 1.3")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl ClientCertVerifier for Credulous {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("QUIC has TLS 1.3")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// What a client shows.
pub enum Shows {
    /// The key of this seed.
    Key(u8),
    /// A key that is none: these bytes.
    Bytes(Vec<u8>),
    /// No key, though it could.
    Nothing,
    /// A certificate, and expects one.
    Certificate,
}

/// Offers raw keys and then has none; or shows something that is no certificate.
#[derive(Debug)]
struct Odd(Option<Arc<CertifiedKey>>, bool);

impl ResolvesClientCert for Odd {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.1
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Odd {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

fn signing_key(seed: u8) -> Arc<dyn SigningKey> {
    // PKCS #8 of an Ed25519 key, without the public one.
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend(key(seed).0.to_bytes());
    ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).unwrap()
}

fn certified(seed: u8, shown: Option<Vec<u8>>) -> Arc<CertifiedKey> {
    let key = signing_key(seed);
    let spki = key.public_key().unwrap().to_vec();
    Arc::new(CertifiedKey::new(vec![shown.unwrap_or(spki).into()], key))
}

/// What comes before the 32 bytes of an Ed25519 key.
pub fn spki_prefix() -> Vec<u8> {
    let spki = signing_key(1).public_key().unwrap().to_vec();
    spki[..spki.len() - 32].to_vec()
}

/// A client's TLS; everything else is as rustls has it by default, resumption included.
pub fn tls(shows: Shows, protocols: &[&str]) -> rustls::ClientConfig {
    let raw = !matches!(shows, Shows::Certificate);
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous { raw }));
    let resolver: Arc<dyn ResolvesClientCert> = match shows {
        Shows::Key(seed) => Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(seed, None))),
        Shows::Bytes(bytes) => Arc::new(Odd(Some(certified(1, Some(bytes))), true)),
        Shows::Nothing => Arc::new(Odd(None, true)),
        Shows::Certificate => Arc::new(Odd(Some(certified(1, Some(vec![1]))), false)),
    };
    let mut config = client.with_client_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.enable_early_data = true;
    config
}

/// A client's QUIC, with generous limits.
pub fn config(tls: rustls::ClientConfig) -> ClientConfig {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(TransportConfig::default()));
    config
}

/// A client with the key of seed 1 that speaks the protocol.
pub fn client() -> Endpoint {
    client_with(config(tls(Shows::Key(1), &[PROTOCOL])))
}

pub fn client_with(config: ClientConfig) -> Endpoint {
    let mut client = Endpoint::client(here()).unwrap();
    client.set_default_client_config(config);
    client
}

/// Connects to `node` and waits until it has been let in.
pub async fn let_in(
    client: &Endpoint,
    node: &quipu_net::Endpoint,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let connection = client.connect(node.local_addr(), "any").unwrap().await?;
    connection.accept_uni().await.map(|_| connection)
}

/// A server that shows a certificate, as those of the web do.
pub fn certificate_server(protocols: &[&str]) -> Endpoint {
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Odd(Some(certified(2, Some(vec![1]))), false)));
    serve(server, protocols)
}

/// A server with the raw key of seed 2 that believes any client.
pub fn raw_server(protocols: &[&str]) -> Endpoint {
    let shown = AlwaysResolvesServerRawPublicKeys::new(certified(2, None));
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Credulous { raw: true }))
        .with_cert_resolver(Arc::new(shown));
    serve(server, protocols)
}

fn serve(mut tls: rustls::ServerConfig, protocols: &[&str]) -> Endpoint {
    tls.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    Endpoint::server(config, here()).unwrap()
}

/// The author with the key of this seed.
pub fn author(seed: u8) -> AuthorKey {
    key(seed).public()
}
