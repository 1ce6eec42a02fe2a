//! Proofs of what a state holds under a key hash, or that it holds nothing.

use sha2::{Digest, Sha256};

use super::node::{self, Child};
use super::{StateNodes, StateTreeError};
use crate::checkpoint::Height;
use crate::log_tree::InvalidProof;
use crate::state_root::EMPTY_STATE_ROOT;

/// Most hashes that the way to a leaf has beside it: a bit of the key hash for each.
pub const MAX_STATE_PROOF_LEN: usize = 256;

/// The way from the root of a state to where a key hash has its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateProof {
    /// The hashes of the subtrees beside the way, the one below the root first.
    pub siblings: Vec<[u8; 32]>,
    /// Where nothing has that key hash, but the way ends at another leaf: its key hash and the
    /// hash of its value.
    pub other: Option<([u8; 32], [u8; 32])>,
}

impl StateProof {
    /// Checks that the state with `root` holds `value` (the encoding of a leaf's) under `key_hash`,
    /// or nothing.
    ///
    /// # Errors
    /// It does not show it, for whatever reason.
    pub fn check(
        &self,
        root: [u8; 32],
        key_hash: [u8; 32],
        value: Option<&[u8]>,
    ) -> Result<(), InvalidProof> {
        let depth = self.siblings.len();
        if depth > MAX_STATE_PROOF_LEN {
            return Err(InvalidProof);
        }
        let end = match (value, self.other) {
            (Some(value), None) => leaf_hash(key_hash, Sha256::digest(value).into()),
            (None, None) => EMPTY_STATE_ROOT,
            (None, Some((other, value_hash)))
                if other != key_hash
                    && bits(&other).take(depth).eq(bits(&key_hash).take(depth)) =>
            {
                leaf_hash(other, value_hash)
            }
            _ => return Err(InvalidProof),
        };
        let way: Vec<bool> = bits(&key_hash).take(depth).collect();
        let beside = self.siblings.iter().zip(way).rev();
        let computed = beside.fold(end, |hash, (sibling, right)| {
            if right { inner_hash(*sibling, hash) } else { inner_hash(hash, *sibling) }
        });
        if computed == root { Ok(()) } else { Err(InvalidProof) }
    }
}

/// Proves what the state of `height` holds under `key_hash`. Reads one node for every four hashes.
///
/// # Errors
/// The tree over that state is not whole.
pub fn prove_state<S: StateNodes>(
    stored: &S,
    height: Height,
    key_hash: [u8; 32],
) -> Result<StateProof, StateTreeError<S::Error>> {
    let wanted: Vec<u8> = node::nibbles_of(&key_hash).collect();
    let mut siblings = Vec::new();
    let mut key = node::root_key(height.0);
    for depth in 0..=wanted.len() {
        let found = node::read(stored, &key)?;
        let Some(children) = node::children(&found) else {
            let other = node::leaf(&found).filter(|(of_leaf, _)| *of_leaf != key_hash);
            return Ok(StateProof { siblings, other });
        };
        let damaged = || StateTreeError::Damaged(key.clone());
        let above = wanted.get(..depth).ok_or_else(damaged)?;
        let nibble = *wanted.get(depth).ok_or_else(damaged)?;
        match descend(&children, nibble, &mut siblings) {
            None => return Ok(StateProof { siblings, other: None }),
            Some((nibble, child)) => {
                key = node::key_at(child.height, &[above, &[nibble]].concat());
            }
        }
    }
    Err(StateTreeError::Damaged(key))
}

/// Goes down the four levels of one node towards `nibble`, and notes what is beside the way. Tells
/// where it goes on: below the child there, or at the only leaf in the part where it would be.
fn descend(
    children: &node::Children,
    nibble: u8,
    siblings: &mut Vec<[u8; 32]>,
) -> Option<(u8, Child)> {
    let mut part: &[Option<Child>] = children;
    let mut start = 0;
    for bit in (0..4).rev() {
        let (left, right) = part.split_at(part.len() / 2);
        let goes_right = nibble >> bit & 1 == 1;
        let (ours, beside) = if goes_right { (right, left) } else { (left, right) };
        siblings.push(part_hash(beside));
        start += if goes_right { 1 << bit } else { 0 };
        part = ours;
        match only(part) {
            Part::Empty => return None,
            Part::One(place, child) => return Some((start + place, child)),
            Part::More => {}
        }
    }
    None
}

enum Part {
    Empty,
    /// A leaf that is alone, or what is at the lowest level, and its place in the part.
    One(u8, Child),
    More,
}

fn only(part: &[Option<Child>]) -> Part {
    let mut present = (0..).zip(part).filter_map(|(place, child)| Some((place, (*child)?)));
    match (present.next(), present.next()) {
        (None, _) => Part::Empty,
        (Some((place, child)), None) if child.is_leaf || part.len() == 1 => Part::One(place, child),
        _ => Part::More,
    }
}

/// The hash of a part of a node: 16, 8, 4, 2 or 1 of its children.
fn part_hash(part: &[Option<Child>]) -> [u8; 32] {
    match only(part) {
        Part::Empty => EMPTY_STATE_ROOT,
        Part::One(_, child) => child.hash,
        Part::More => {
            let (left, right) = part.split_at(part.len() / 2);
            inner_hash(part_hash(left), part_hash(right))
        }
    }
}

fn bits(hash: &[u8; 32]) -> impl Iterator<Item = bool> + '_ {
    hash.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}

fn leaf_hash(key_hash: [u8; 32], value_hash: [u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"JMT::LeafNode");
    hash.chain_update(key_hash).chain_update(value_hash).finalize().into()
}

fn inner_hash(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"JMT::IntrnalNode");
    hash.chain_update(left).chain_update(right).finalize().into()
}
