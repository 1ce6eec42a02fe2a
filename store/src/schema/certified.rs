//! Keys of the family `final`, those of checkpoints aside.

use quipu_merge::{AuthorKey, Dot};

use super::dot_key;

/// What the entries of the certified log begin with: the event's place, and the hashes that its
/// leaf adds to the log's tree.
pub const LOG: u8 = b'l';
/// What the marks begin with of how far a cut goes on a lane: the height.
pub const BOUNDARY: u8 = b'b';
/// What the records of the certified state begin with.
pub const STATE: u8 = b's';
/// What the entries of lists begin with, in the order of the certified log: lane and time.
pub const ELEMENT: u8 = b'e';
/// What the records of roles begin with.
pub const ROLES: u8 = b'm';

/// What the hashes of the certified log begin with of which a shallow store goes on.
pub const FLOOR_HASH: u8 = b'f';

/// A hash of the certified log, by its place among all that are stored.
pub fn floor_hash(place: u64) -> [u8; 9] {
    let mut key = [FLOOR_HASH; 9];
    key[1..].copy_from_slice(&place.to_be_bytes());
    key
}

/// An entry of the certified log.
pub fn log(index: u64) -> [u8; 9] {
    let mut key = [LOG; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The last event of a cut on a lane.
pub fn boundary(dot: Dot) -> [u8; 13] {
    let mut key = [BOUNDARY; 13];
    key[1..].copy_from_slice(&dot_key(dot));
    key
}

/// The certified state of a key.
pub fn state(state_key: &[u8]) -> Vec<u8> {
    [&[STATE], state_key].concat()
}

/// What the entries of a list begin with.
pub fn elements(state_key: &[u8]) -> Vec<u8> {
    [&[ELEMENT], state_key].concat()
}

/// An entry of a list: by the event's index in the log, and the slot.
pub fn element(state_key: &[u8], index: u64, slot: u16) -> Vec<u8> {
    [&[ELEMENT], state_key, &index.to_be_bytes(), &slot.to_be_bytes()].concat()
}

/// Reads index and slot of a list's entry back.
pub fn parse_element(key: &[u8]) -> Option<(u64, u16)> {
    let (rest, slot) = key.split_last_chunk::<2>()?;
    let (_, index) = rest.split_last_chunk::<8>()?;
    Some((u64::from_be_bytes(*index), u16::from_be_bytes(*slot)))
}

/// What an author holds.
pub fn roles(author: AuthorKey) -> [u8; 33] {
    let mut key = [ROLES; 33];
    key[1..].copy_from_slice(&author.0);
    key
}
