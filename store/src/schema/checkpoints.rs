//! Keys of checkpoints in the family `final`, whose other tags are in [`super::certified`].

use quipu_merge::Height;

/// What the keys of those begin with that count.
pub const KEPT: u8 = b'k';
/// What the keys of those begin with that wait for the events of their cuts.
pub const PENDING: u8 = b'p';
/// What the keys of those begin with that contradict what is held.
pub const DIVERGED: u8 = b'd';
/// What the keys of the marks begin with on those that count and name other validators than those
/// that certified them. Every proof leads through these.
pub const TURN: u8 = b't';
/// What the keys of validators' lines of notes begin with.
pub const COSIGNED: u8 = b'n';

/// The parts of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// The checkpoint itself.
    Header = b'h',
    /// Its certificate.
    Certificate = b'c',
    /// The block of its heads.
    Cut = b'u',
    /// The block of the keys that certify the next height.
    Validators = b'v',
}

/// A part of a checkpoint that counts.
pub fn kept(height: Height, part: Part) -> [u8; 10] {
    let mut key = [0; 10];
    key[..9].copy_from_slice(&tagged(KEPT, height));
    key[9] = part as u8;
    key
}

/// A checkpoint that waits.
pub fn pending(height: Height) -> [u8; 9] {
    tagged(PENDING, height)
}

/// What contradicts what is held: by the height and the checkpoint's id.
pub fn diverged(height: Height, id: [u8; 32]) -> Vec<u8> {
    [tagged(DIVERGED, height).as_slice(), &id].concat()
}

/// The mark on a checkpoint that counts and names other validators.
pub fn turn(height: Height) -> [u8; 9] {
    tagged(TURN, height)
}

/// The lines of the note of a checkpoint.
pub fn cosigned(height: Height) -> [u8; 9] {
    tagged(COSIGNED, height)
}

/// Reads the height back.
pub fn parse_height(key: &[u8]) -> Option<Height> {
    let (_, rest) = key.split_first()?;
    Some(Height(u64::from_be_bytes(*rest.first_chunk()?)))
}

fn tagged(tag: u8, height: Height) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&height.0.to_be_bytes());
    key
}
