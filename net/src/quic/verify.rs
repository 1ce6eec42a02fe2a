//! Whether the key that a peer shows is one to talk to, and whether the peer has it.

use std::fmt;
use std::sync::Arc;

use quipu_merge::AuthorKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};

use super::identity::{Witness, from_spki};

/// Says whether a peer with this key may be talked to.
///
/// It is asked in every handshake that a peer begins, before the key is known to be the peer's, and
/// whenever [`Link::admitted`](crate::Link::admitted) is called. It is asked on the thread that runs
/// the handshake: it must answer from memory, and must not panic.
pub type Admission = Arc<dyn Fn(AuthorKey) -> bool + Send + Sync>;

/// Which keys will do.
pub(crate) enum Wanted {
    /// That of the node that is dialled.
    This(AuthorKey),
    /// Those that are admitted.
    Admitted(Admission),
}

/// Judges the peer of one handshake.
pub(crate) struct Verifier {
    pub wanted: Wanted,
    pub witness: Arc<Witness>,
    pub algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Judges the key that the peer shows. That it has the key is shown by its signature.
    fn judge(&self, shown: &[u8], more: &[CertificateDer<'_>]) -> Result<(), Error> {
        let encoding = Error::InvalidCertificate(CertificateError::BadEncoding);
        let key = from_spki(shown).filter(|_| more.is_empty()).ok_or(encoding)?;
        // A handshake shows one key, so nothing is there yet.
        let _ = self.witness.peer.set(key);
        let wanted = match &self.wanted {
            Wanted::This(expected) => *expected == key,
            Wanted::Admitted(admission) => admission(key),
        };
        // Its alert, access_denied, is how the other side is told.
        let refused = CertificateError::ApplicationVerificationFailure;
        wanted.then_some(()).ok_or(Error::InvalidCertificate(refused))
    }

    fn check(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

/// QUIC has TLS 1.3 only.
fn tls12() -> Error {
    PeerIncompatible::ServerDoesNotSupportTls12Or13.into()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}
