//! Ledgers with certified checkpoints, and replicas that start from one.

use std::path::Path;

use ed25519_dalek::SigningKey;
use quipu_merge::{AuthorKey, Certificate, Round, Vote, VoteType};
use quipu_store::{
    Acceptance, Below, CertifiedCheckpoint, Derivation, Ledger, NewLedger, Options, StartOptions,
};

/// Keys of validators that the test has, ascending.
pub fn keys(count: u8) -> Vec<(AuthorKey, SigningKey)> {
    let keys = (1..=count).map(|number| SigningKey::from_bytes(&[number; 32]));
    let mut keys: Vec<_> =
        keys.map(|key| (AuthorKey(key.verifying_key().to_bytes()), key)).collect();
    keys.sort_unstable_by_key(|(author, _)| *author);
    keys
}

/// A ledger that the test certifies with so many keys.
pub fn of(count: u8) -> NewLedger {
    let validators = keys(count).into_iter().map(|(author, _)| author).collect();
    NewLedger { validators: Some(validators), ..NewLedger::default() }
}

/// A ledger that the test certifies.
pub fn new() -> NewLedger {
    of(1)
}

/// Certifies everything that is held, with the keys of all validators.
pub fn certify(ledger: &Ledger) {
    let snapshot = ledger.snapshot().unwrap();
    let (heads, count) = (snapshot.heads().unwrap(), snapshot.next_validators().len());
    let Derivation { checkpoint, cut, validators, .. } = ledger.derive(&heads).unwrap();
    let (id, _) = checkpoint.seal().unwrap();
    let (height, round, vote_type) = (checkpoint.height, Round(0), VoteType::Precommit);
    let vote = Vote { ledger: checkpoint.ledger, height, round, vote_type, value: Some(id) };
    let keys = keys(u8::try_from(count).unwrap()).into_iter();
    let signatures = keys.map(|(author, key)| (author, vote.sign(&key).unwrap())).collect();
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
