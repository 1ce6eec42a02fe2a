//! Proofs: whatever is read encodes to the same bytes again, and checking one, under the trust that
//! it asks for, never panics, nor shows a thing of another ledger.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_merge::{CheckpointId, EventId, Proof, ProofStart, Trust};

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
    }
    assert!(proof.check(Trust::Genesis(EventId([0; 32]))).is_err());
    assert!(proof.check(Trust::Checkpoint(CheckpointId([0; 32]))).is_err());
});
