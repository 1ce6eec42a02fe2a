//! Ledgers with certified checkpoints, and replicas that start from one.

use std::path::Path;

use ed25519_dalek::SigningKey;
use quipu_merge::{AuthorKey, Certificate, Round, Vote, VoteType};
use quipu_store::{
    Acceptance, Below, CertifiedCheckpoint, Derivation, Ledger, NewLedger, Options, StartOptions,
};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// A ledger that the test certifies.
pub fn new() -> NewLedger {
    let author = AuthorKey(key().verifying_key().to_bytes());
    NewLedger { validators: Some(vec![author]), ..NewLedger::default() }
}

/// Certifies everything that is held.
pub fn certify(ledger: &Ledger) {
    let heads = ledger.snapshot().unwrap().heads().unwrap();
    let Derivation { checkpoint, cut, validators, .. } = ledger.derive(&heads).unwrap();
    let (id, _) = checkpoint.seal().unwrap();
    let (height, round, vote_type) = (checkpoint.height, Round(0), VoteType::Precommit);
    let vote = Vote { ledger: checkpoint.ledger, height, round, vote_type, value: Some(id) };
    let author = AuthorKey(key().verifying_key().to_bytes());
    let signatures = vec![(author, vote.sign(&key()).unwrap())];
    let certificate = Certificate { checkpoint: id, height, round, signatures };
    let certified = CertifiedCheckpoint { checkpoint, certificate, cut, validators };
    assert_eq!(ledger.accept(certified).unwrap(), Acceptance::Counted);
}

/// A replica that starts from the last checkpoint, and has what came later.
pub fn started(ledger: &Ledger, dir: &Path) -> Ledger {
    let mut file = Vec::new();
    ledger.write_start(&mut file).unwrap();
    let start = StartOptions { below: Below::Hashes, ledger: Some(ledger.id()) };
    let started = Options::new().start_from(dir, &mut file.as_slice(), &start, &mut |_, _| {});
    let started = started.unwrap().0;
    started.merge(ledger, &mut |_, _| {}).unwrap();
    started
}
