//! Certifies what stores hold, with keys of the test's own.

use std::path::Path;

use ed25519_dalek::SigningKey;
use quipu_merge::{AuthorKey, Certificate, Checkpoint, Round, Vote, VoteType};
use quipu_store::{Acceptance, CertifiedCheckpoint, Derivation, Ledger};

use super::Scratch;

/// So many keys the test has.
pub const KEYS: u8 = 6;

/// The keys.
pub fn keys() -> Vec<SigningKey> {
    (1..=KEYS).map(|number| SigningKey::from_bytes(&[number; 32])).collect()
}

fn author(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}

/// The public keys, as the command line takes them.
pub fn validators() -> Vec<String> {
    keys().iter().map(|key| author(key).to_string()).collect()
}

/// Precommits of the first so many of these validators whose keys the test has.
pub fn certificate(checkpoint: &Checkpoint, by: &[AuthorKey], count: usize) -> Certificate {
    let (id, _) = checkpoint.seal().unwrap();
    let (height, round, value) = (checkpoint.height, Round(0), Some(id));
    let (ledger, vote_type) = (checkpoint.ledger, VoteType::Precommit);
    let vote = Vote { ledger, height, round, vote_type, value };
    let keys = keys();
    let signatures = by.iter().filter_map(|validator| {
        let key = keys.iter().find(|key| author(key) == *validator)?;
        Some((*validator, vote.sign(key).unwrap()))
    });
    let signatures = signatures.take(count).collect();
    Certificate { checkpoint: id, height, round, signatures }
}

/// Certifies everything that a store holds, which nobody may have open.
pub fn certify(store: &Path) -> CertifiedCheckpoint {
    let ledger = Ledger::open(store).unwrap();
    let snapshot = ledger.snapshot().unwrap();
    let (heads, validators) = (snapshot.heads().unwrap(), snapshot.next_validators());
    let Derivation { checkpoint, cut, validators: next, .. } = ledger.derive(&heads).unwrap();
    let certificate = certificate(&checkpoint, &validators, usize::MAX);
    let certified = CertifiedCheckpoint { checkpoint, certificate, cut, validators: next };
    assert_eq!(ledger.accept(certified.clone()).unwrap(), Acceptance::Counted);
    certified
}

impl Scratch {
    /// A directory with a store `a` that the first four keys of the test certify.
    pub fn certified() -> Self {
        let scratch = Self::new();
        let validators = validators();
        let mut args = vec!["init", "a", "--name", "test", "--validator"];
        args.extend(validators[..4].iter().map(String::as_str));
        scratch.ok(&args);
        scratch
    }

    /// Certifies everything that a store holds, and gives the checkpoint's id.
    pub fn certify(&self, store: &str) -> String {
        certify(&self.path(store)).id().to_string()
    }
}
