//! Checkpoints and certificates, cut out of the input by a length: whatever is read encodes to the
//! same bytes again, and no check panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_merge::{AuthorKey, Certificate, Checkpoint, CheckpointNote};

fuzz_target!(|bytes: &[u8]| {
    let Some((len, rest)) = bytes.split_first_chunk() else { return };
    let (first, second) = rest.split_at(usize::from(u16::from_be_bytes(*len)).min(rest.len()));
    let Ok(checkpoint) = Checkpoint::decode(first) else { return };
    assert_eq!(checkpoint.encode().as_deref(), Ok(first));
    let (id, _) = checkpoint.seal().expect("what was read can be written");
    let note = CheckpointNote::of(&checkpoint, id);
    assert_eq!(CheckpointNote::parse(&note.to_string()), Ok(note));
    let Ok(certificate) = Certificate::decode(second) else { return };
    assert_eq!(certificate.encode().as_deref(), Ok(second));
    // Whoever has signed counts as a validator here, so that signatures are looked at.
    let signers: Vec<AuthorKey> =
        certificate.signatures.iter().map(|signature| signature.0).collect();
    if certificate.check(&checkpoint, checkpoint.ledger, &signers).is_ok() {
        assert!(!signers.is_empty());
        // A validator that has not signed makes three of them too few.
        let more = [signers.clone(), vec![AuthorKey([0; 32]); signers.len()]].concat();
        assert!(certificate.check(&checkpoint, checkpoint.ledger, &more).is_err());
    }
});
