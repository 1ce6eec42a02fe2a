//! The keys of the simulated nodes. What was checked once is not checked again.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use quipu_merge::AuthorKey;
use quipu_proto::Keys;

/// So many keys there may be, that of the admin included, which is the last.
pub const COUNT: usize = 128;

static SECRETS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    let mut secrets: Vec<_> = (0..COUNT)
        .map(|number| {
            let mut seed = [9; 32];
            seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
            SigningKey::from_bytes(&seed)
        })
        .collect();
    // Ascending, so that a validator's number is its place.
    secrets.sort_by_key(|secret| secret.verifying_key().to_bytes());
    secrets
});

static KEYS: LazyLock<Vec<AuthorKey>> = LazyLock::new(|| {
    SECRETS.iter().map(|secret| AuthorKey(secret.verifying_key().to_bytes())).collect()
});

pub fn secret(number: usize) -> &'static SigningKey {
    &SECRETS[number]
}

pub fn key(number: usize) -> AuthorKey {
    KEYS[number]
}

pub fn number(key: AuthorKey) -> usize {
    KEYS.binary_search(&key).unwrap()
}

/// What has been checked in a world.
pub type Memory = Arc<Mutex<BTreeMap<[u8; 32], bool>>>;

/// The key of one node.
pub struct NodeKeys {
    pub number: usize,
    pub memory: Memory,
}

impl Keys for NodeKeys {
    fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        let signature = secret(self.number).sign(message).to_bytes();
        self.memory.lock().unwrap().insert(digest(&key(self.number), message, &signature), true);
        Some(signature)
    }

    fn verify(&self, key: &AuthorKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let check = || {
            VerifyingKey::from_bytes(&key.0).is_ok_and(|key| {
                key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
            })
        };
        let mut memory = self.memory.lock().unwrap();
        *memory.entry(digest(key, message, signature)).or_insert_with(check)
    }
}

fn digest(key: &AuthorKey, message: &[u8], signature: &[u8; 64]) -> [u8; 32] {
    *blake3::Hasher::new().update(&key.0).update(signature).update(message).finalize().as_bytes()
}
