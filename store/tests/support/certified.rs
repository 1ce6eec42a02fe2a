//! Ledgers that keys of the tests certify.

use std::path::Path;

use ed25519_dalek::SigningKey;
use quipu_merge::{AuthorKey, Certificate, Checkpoint, Cut, Height, Round, Vote, VoteType};
use quipu_store::{
    Acceptance, CertifiedCheckpoint, Derivation, Durability, Ledger, NewLedger, Options,
};

/// Those of all validators: the first of them certifies alone, unless a test makes another ledger.
pub fn keys() -> Vec<SigningKey> {
    (1..=6).map(|number| SigningKey::from_bytes(&[number; 32])).collect()
}

pub fn author_of(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}

pub fn key() -> SigningKey {
    keys().remove(0)
}

pub fn author() -> AuthorKey {
    author_of(&key())
}

pub fn options() -> Options {
    Options::new().durability(Durability::Relaxed).min_free(0)
}

pub fn create(dir: &Path) -> Ledger {
    let new = NewLedger { validators: Some(vec![author()]), ..NewLedger::default() };
    options().create(dir, &new).unwrap()
}

/// The votes of validators for a checkpoint.
pub fn certificate(checkpoint: &Checkpoint, by: &[AuthorKey]) -> Certificate {
    let (id, _) = checkpoint.seal().unwrap();
    let (height, round, value) = (checkpoint.height, Round(0), Some(id));
    let (ledger, vote_type) = (checkpoint.ledger, VoteType::Precommit);
    let vote = Vote { ledger, height, round, vote_type, value };
    let sign = |validator: &AuthorKey| {
        let key = keys().into_iter().find(|key| author_of(key) == *validator)?;
        Some((*validator, vote.sign(&key).unwrap()))
    };
    let signatures = by.iter().filter_map(sign).collect();
    Certificate { checkpoint: id, height, round, signatures }
}

/// What comes next over everything that is held, certified by those whose turn it is.
pub fn next(ledger: &Ledger) -> CertifiedCheckpoint {
    let snapshot = ledger.snapshot().unwrap();
    let derived = ledger.derive(&snapshot.heads().unwrap()).unwrap();
    let Derivation { checkpoint, cut, validators, .. } = derived;
    let certificate = certificate(&checkpoint, &snapshot.next_validators());
    CertifiedCheckpoint { checkpoint, certificate, cut, validators }
}

/// Certifies everything that is held.
pub fn certify(ledger: &Ledger) -> CertifiedCheckpoint {
    let certified = next(ledger);
    assert_eq!(ledger.accept(certified.clone()).unwrap(), Acceptance::Counted);
    certified
}

/// The cut of a checkpoint that counts.
pub fn checkpoint(ledger: &Ledger, height: u64) -> Cut {
    let checkpoint = ledger.snapshot().unwrap().checkpoint(Height(height)).unwrap().unwrap();
    Cut::Heads(checkpoint.cut.heads().to_vec())
}
