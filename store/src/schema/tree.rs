//! Keys of the family `tree`.

use quipu_merge::Height;

/// What the nodes begin with.
pub const NODE: u8 = b'n';
/// What the marks begin with of nodes that a tree no longer has.
pub const STALE: u8 = b'x';

/// A node.
pub fn node(key: &[u8]) -> Vec<u8> {
    [&[NODE], key].concat()
}

/// A node that trees from this height on do not have.
pub fn stale(height: Height, key: &[u8]) -> Vec<u8> {
    [&[STALE], height.0.to_be_bytes().as_slice(), key].concat()
}

/// Reads height and node of a mark back.
pub fn parse_stale(key: &[u8]) -> Option<(Height, &[u8])> {
    let (_, rest) = key.split_first()?;
    let (height, node) = rest.split_first_chunk::<8>()?;
    Some((Height(u64::from_be_bytes(*height)), node))
}
