//! Proofs: whatever is read encodes to the same bytes again, and checking one, under the trust that
//! it asks for, never panics, nor shows a thing of another ledger, nor of a key what leaves a kind out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_merge::{
    CheckpointId, Claim, EventId, Fact, LeafKind, Proof, ProofStart, ProvedKey, Trust,
};

const KINDS: [LeafKind; 4] = [LeafKind::Register, LeafKind::Counter, LeafKind::Set, LeafKind::List];

fuzz_target!(|bytes: &[u8]| {
    let Ok(proof) = Proof::decode(bytes) else { return };
    assert_eq!(proof.encode().as_deref(), Ok(bytes));
    let trust = match &proof.start {
        ProofStart::Genesis { event, .. } => Trust::Genesis(EventId::of(event)),
        ProofStart::Checkpoint { checkpoint, .. } => {
            Trust::Checkpoint(checkpoint.seal().expect("what was read can be written").0)
        }
    };
    if let Ok(proven) = proof.check(trust) {
        let shown = serde_json::to_value(&proven).expect("what is shown can be printed");
        assert_eq!(shown["ledger"], proven.ledger.to_string());
        if let (Fact::Key(facts), Claim::Key { key, entries }) = (&proven.fact, &proof.claim) {
            let told: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
            let all: &[_] = match key {
                ProvedKey::Author(_) => &[LeafKind::Member],
                ProvedKey::Key(_) => &KINDS,
            };
            let exists = entries.iter().any(|entry| entry.value.is_some());
            assert_eq!((&told[..], &shown["present"]), (all, &exists.into()));
            assert_eq!(facts.present.is_empty(), !exists);
        }
    }
    assert!(proof.check(Trust::Genesis(EventId([0; 32]))).is_err());
    assert!(proof.check(Trust::Checkpoint(CheckpointId([0; 32]))).is_err());
});
