//! Deriving checkpoints and letting them count, against writing the events.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use quipu_merge::{AuthorKey, Certificate, Round, Vote, VoteType};
use quipu_store::{
    Acceptance, CertifiedCheckpoint, Derivation, Durability, Ledger, NewLedger, Options,
};

use crate::writing::put;
use crate::{Figure, timed};

const EVENTS: usize = 10_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// Who certifies.
pub fn author() -> AuthorKey {
    AuthorKey(key().verifying_key().to_bytes())
}

/// Signs what was derived.
fn sign(derived: Derivation) -> CertifiedCheckpoint {
    let Derivation { id, checkpoint, cut, validators, .. } = derived;
    let (height, round, value) = (checkpoint.height, Round(0), Some(id));
    let vote_type = VoteType::Precommit;
    let vote = Vote { ledger: checkpoint.ledger, height, round, vote_type, value };
    let signatures = vec![(author(), vote.sign(&key()).unwrap())];
    let certificate = Certificate { checkpoint: id, height, round, signatures };
    CertifiedCheckpoint { checkpoint, certificate, cut, validators }
}

/// Certifies everything that is held.
pub fn certify_all(ledger: &Ledger) {
    let heads = ledger.snapshot().unwrap().heads().unwrap();
    let certified = sign(ledger.derive(&heads).unwrap());
    assert_eq!(ledger.accept(certified).unwrap(), Acceptance::Counted);
}

pub fn certify() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let new = NewLedger { validators: Some(vec![author()]), ..NewLedger::default() };
    let options = Options::new().durability(Durability::Relaxed);
    let ledger = options.create(dir.path().join("l"), &new).unwrap();
    let mut least = [Duration::MAX; 3];
    for round in 0..4 {
        let numbers = round * EVENTS..(round + 1) * EVENTS;
        let writing = timed(|| numbers.for_each(|number| put(&ledger, number)));
        let heads = ledger.snapshot().unwrap().heads().unwrap();
        let mut derived = None;
        let deriving = timed(|| derived = Some(ledger.derive(&heads).unwrap()));
        let certified = sign(derived.unwrap());
        let counting = timed(|| {
            assert_eq!(ledger.accept(certified).unwrap(), Acceptance::Counted);
        });
        for (least, time) in least.iter_mut().zip([writing, deriving, counting]) {
            *least = time.min(*least);
        }
    }
    let [writing, deriving, counting] = least;
    vec![Figure::at_most(
        "deriving a checkpoint of 10,000 new keys, against writing them",
        1.0,
        deriving.as_secs_f64() / writing.as_secs_f64(),
        format!("derive {deriving:.0?}, let it count {counting:.0?}; put, relaxed {writing:.0?}"),
    )]
}
