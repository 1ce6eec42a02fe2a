//! A ledger that the test's key certifies.

use std::path::Path;

use ed25519_dalek::SigningKey;
use quipu_merge::{AuthorKey, Certificate, Round, Vote, VoteType};
use quipu_store::{
    Acceptance, CertifiedCheckpoint, Derivation, Durability, Ledger, NewLedger, Options,
};

pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

pub fn author() -> AuthorKey {
    AuthorKey(key().verifying_key().to_bytes())
}

pub fn options() -> Options {
    Options::new().durability(Durability::Relaxed)
}

pub fn create(dir: &Path) -> Ledger {
    let new = NewLedger { validators: Some(vec![author()]), ..NewLedger::default() };
    options().create(dir, &new).unwrap()
}

/// Certifies everything that is held.
pub fn certify(ledger: &Ledger) -> CertifiedCheckpoint {
    let heads = ledger.snapshot().unwrap().heads().unwrap();
    let Derivation { checkpoint, cut, validators, .. } = ledger.derive(&heads).unwrap();
    let (id, _) = checkpoint.seal().unwrap();
    let (height, round, value) = (checkpoint.height, Round(0), Some(id));
    let vote_type = VoteType::Precommit;
    let vote = Vote { ledger: checkpoint.ledger, height, round, vote_type, value };
    let signatures = vec![(author(), vote.sign(&key()).unwrap())];
    let certificate = Certificate { checkpoint: id, height, round, signatures };
    let certified = CertifiedCheckpoint { checkpoint, certificate, cut, validators };
    assert_eq!(ledger.accept(certified.clone()).unwrap(), Acceptance::Counted);
    certified
}
