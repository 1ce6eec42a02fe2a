//! Signing, and checking what others signed.

use ed25519_dalek::{Signature, VerifyingKey};
use quipu_merge::AuthorKey;

/// The validator's key, wherever it is kept.
pub trait Keys: Send + Sync {
    /// Signs these bytes with the key of this replica. `None` where the key is not to be had: then
    /// nothing is certified here until the next start.
    fn sign(&self, message: &[u8]) -> Option<[u8; 64]>;

    /// Checks a signature by the strict rule. It is to be overridden only to remember what has been
    /// checked before.
    fn verify(&self, key: &AuthorKey, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&key.0)
            .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
    }
}
