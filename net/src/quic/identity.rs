//! The node's key in TLS: a raw Ed25519 public key (RFC 7250) instead of a certificate.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ed25519_dalek::VerifyingKey;
use quipu_merge::AuthorKey;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// What comes before the 32 bytes of every Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Length of the SubjectPublicKeyInfo of every Ed25519 key.
const SPKI_LEN: usize = SPKI_PREFIX.len() + 32;

/// The key that a node proves to its peers that it has: that of its ledger author.
///
/// The secret part stays with whoever implements this. It signs once in each handshake, on the
/// thread that runs the handshake, so signing must not wait for a person or a network, nor panic.
///
/// What is signed begins with 64 spaces (RFC 8446, section 4.4.3) and everything that a ledger's
/// author signs with `quipu/`, so that a signature made here is none in a ledger, and the other way
/// round. An implementation may insist on it.
pub trait NodeKey: Send + Sync {
    /// The public key. It is asked for once.
    fn public(&self) -> AuthorKey;

    /// The Ed25519 signature of `message`.
    ///
    /// # Errors
    ///
    /// The secret key cannot be used now. The handshake fails, and nothing else.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// The node's own key could not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's own key cannot sign: {0}")]
pub struct SignError(pub String);

/// The key as a SubjectPublicKeyInfo.
pub(crate) fn to_spki(key: AuthorKey) -> [u8; SPKI_LEN] {
    let mut spki = [0; SPKI_LEN];
    let (prefix, rest) = spki.split_at_mut(SPKI_PREFIX.len());
    prefix.copy_from_slice(&SPKI_PREFIX);
    rest.copy_from_slice(&key.0);
    spki
}

/// Reads a SubjectPublicKeyInfo; `None` unless it is that of an Ed25519 key, to the byte.
///
/// A weak key, one of small order, is none: anybody can sign for it by the rule that TLS has. A
/// ledger's strict rule takes no signature by it either.
pub(crate) fn from_spki(spki: &[u8]) -> Option<AuthorKey> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    let point = VerifyingKey::from_bytes(key).ok()?;
    (!point.is_weak()).then_some(AuthorKey(*key))
}

/// What came up in one handshake and TLS has no words for.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// The key that the peer says it has. It is proved once the handshake is done.
    pub peer: OnceLock<AuthorKey>,
    /// Why our key could not sign.
    pub unsigned: OnceLock<SignError>,
}

/// A node's key, as TLS uses it in one handshake.
#[derive(Clone)]
struct TlsKey {
    key: Arc<dyn NodeKey>,
    spki: [u8; SPKI_LEN],
    witness: Arc<Witness>,
}

/// What TLS shows the peer in the handshake of `witness`.
pub(crate) fn certified(
    key: &Arc<dyn NodeKey>,
    public: AuthorKey,
    witness: &Arc<Witness>,
) -> Arc<CertifiedKey> {
    let spki = to_spki(public);
    let tls_key = TlsKey { key: key.clone(), spki, witness: witness.clone() };
    // Where keys are raw, the key stands in the place of the certificate.
    let shown = vec![CertificateDer::from(spki.to_vec())];
    Arc::new(CertifiedKey::new(shown, Arc::new(tls_key)))
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key.sign(message).map(Vec::from).map_err(|error| {
            let text = error.to_string();
            // A handshake signs once, so nothing is there yet.
            let _ = self.witness.unsigned.set(error);
            rustls::Error::General(text)
        })
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 8032, section 7.1, test 1.
    const KEY: AuthorKey = AuthorKey([
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
        0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
        0x51, 0x1a,
    ]);

    #[test]
    fn only_the_one_encoding_of_a_key_is_read() {
        let spki = to_spki(KEY);
        assert_eq!(from_spki(&spki), Some(KEY));
        for place in 0..SPKI_PREFIX.len() {
            for bit in 0..8 {
                let mut other = spki;
                other[place] ^= 1 << bit;
                assert_eq!(from_spki(&other), None);
            }
        }
        assert_eq!(from_spki(&spki[..SPKI_LEN - 1]), None);
        assert_eq!(from_spki(&[&spki[..], &[0]].concat()), None);
        assert_eq!(from_spki(&[]), None);
    }

    #[test]
    fn weak_keys_are_none() {
        let mut one = [0; 32];
        one[0] = 1;
        for weak in [[0; 32], one] {
            assert_eq!(from_spki(&to_spki(AuthorKey(weak))), None);
        }
    }
}
