//! Signed notes, verifier keys and the names of tiles: whatever is read is written as it was, and
//! no check panics.
#![no_main]

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use quipu_merge::{
    AuthorKey, CheckpointNote, EventId, LogResource, NoteKey, SignedNote, log_origin,
};

/// The validators of the seeds.
const VALIDATORS: std::ops::RangeInclusive<u8> = 1..=4;
/// Their ledger.
const LEDGER: EventId = EventId([1; 32]);

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        if let Ok(checkpoint) = CheckpointNote::parse(&note.text) {
            assert_eq!(checkpoint.to_string(), note.text);
            assert!(note.text.starts_with(&log_origin(checkpoint.ledger)));
        }
        let _ = note.verify(&keys());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = text.parse::<NoteKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(resource) = text.parse::<LogResource>() {
        assert_eq!(resource.to_string(), text);
    }
});

fn keys() -> Vec<NoteKey> {
    VALIDATORS
        .flat_map(|number| {
            let key = SigningKey::from_bytes(&[number; 32]).verifying_key();
            let validator = AuthorKey(key.to_bytes());
            [NoteKey::log(LEDGER, validator), NoteKey::cosigner(validator)]
        })
        .collect()
}
