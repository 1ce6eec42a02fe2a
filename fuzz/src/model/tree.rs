//! The two Merkle trees of the format, by direct recursion from sections 1 and 8.

use quipu_merge::EventId;
use sha2::{Digest, Sha256};

/// A SHA-256 hash.
type Hash = [u8; 32];

/// What stands for an empty subtree of the state.
const EMPTY: &Hash = b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

/// Merkle root of the log of these events, whose leaves are binary CIDs.
pub fn log_root(order: &[EventId]) -> Hash {
    merkle_root(&order.iter().map(|id| id.block().to_bytes().to_vec()).collect::<Vec<Vec<u8>>>())
}

/// Root of the state tree over pairs of a hashed key and a hashed value.
pub fn state_root(leaves: &[(Hash, Hash)]) -> Hash {
    subtree(leaves, 0)
}

/// RFC 6962, section 2.1.
pub fn merkle_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => sha256(&[&[0], leaf]),
        _ => {
            // The largest power of two smaller than the number of leaves.
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            let (left, right) = leaves.split_at(split);
            sha256(&[&[1], &merkle_root(left), &merkle_root(right)])
        }
    }
}

/// SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    Sha256::digest(parts.concat()).into()
}

/// The subtree of leaves whose hashed keys agree in their first `depth` bits.
fn subtree(leaves: &[(Hash, Hash)], depth: usize) -> Hash {
    match leaves {
        [] => *EMPTY,
        [(key, value)] => sha256(&[b"JMT::LeafNode", key, value]),
        _ => {
            let bit = |key: &Hash| key.get(depth / 8).map_or(0, |byte| byte >> (7 - depth % 8) & 1);
            let (right, left): (Vec<_>, Vec<_>) = leaves.iter().partition(|leaf| bit(&leaf.0) == 1);
            sha256(&[b"JMT::IntrnalNode", &subtree(&left, depth + 1), &subtree(&right, depth + 1)])
        }
    }
}
