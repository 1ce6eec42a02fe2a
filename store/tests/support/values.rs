//! Values, long ones and others, and the blocks that they leave.

use std::path::Path;

use quipu_merge::{EventId, Link};
use quipu_store::{Ledger, Value};

use super::assert_sound;

/// Bytes that repeat in no pattern: no compression makes them less.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(len)
    .collect()
}

pub fn put(ledger: &Ledger, key: &str, value: &[u8]) -> EventId {
    let mut transaction = ledger.transaction();
    transaction.put(key, value).unwrap();
    transaction.commit().unwrap().event
}

/// What the long value of a register refers to.
pub fn link(ledger: &Ledger, key: &str) -> Link {
    match ledger.get(key).unwrap() {
        Some(Value::Long(link)) => link,
        other => panic!("{key} is no long value: {other:?}"),
    }
}

/// The long value of a register.
pub fn get(ledger: &Ledger, key: &str) -> Vec<u8> {
    let mut read = Vec::new();
    let write = |bytes: &[u8]| {
        read.extend_from_slice(bytes);
        Ok(())
    };
    let snapshot = ledger.snapshot().unwrap();
    snapshot.read_long(link(ledger, key), write).unwrap().unwrap();
    read
}

/// What the manifest of a register's value lists.
pub fn chunks(ledger: &Ledger, key: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let visit = |link, _| {
        links.push(link);
        true
    };
    assert!(ledger.snapshot().unwrap().long_blocks(link(ledger, key), visit).unwrap());
    links.split_off(1)
}

/// Verifies a store; tells how many blocks it has.
pub fn blocks(ledger: &Ledger) -> u64 {
    assert_sound(ledger).blocks
}

/// Whether any file below a directory holds these bytes, which repeat in no pattern.
pub fn on_disk(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(Result::unwrap).any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return on_disk(&path, needle);
        }
        std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}
