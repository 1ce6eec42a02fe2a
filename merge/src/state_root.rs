//! The root of a state: a Jellyfish Merkle tree over everything that exists in it.

use std::collections::BTreeMap;
use std::fmt;

use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Sha256Jmt, Version};
use sha2::{Digest, Sha256};

use crate::body::{Key, Member};
use crate::cbor::{self, Writer};
use crate::id::{AuthorKey, EventId, OpeningId};
use crate::log_tree::{LogTree, leaf_hash};

/// The root of an empty state.
pub const EMPTY_STATE_ROOT: [u8; 32] = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

/// What kind of thing a leaf of the state stands for; kinds of one key do not touch each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeafKind {
    /// A register.
    Register,
    /// A counter.
    Counter,
    /// A set.
    Set,
    /// A list.
    List,
    /// What an author holds.
    Member,
}

impl fmt::Display for LeafKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "register",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::List => "list",
            Self::Member => "roles",
        })
    }
}

impl LeafKind {
    /// The letter in the format.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Register => b'r',
            Self::Counter => b'c',
            Self::Set => b's',
            Self::List => b'l',
            Self::Member => b'm',
        }
    }

    /// The hash of `key`, under which the tree keeps the leaf.
    pub fn key_hash(self, key: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update([self.letter(), 0]).chain_update(key).finalize().into()
    }
}

/// One thing that exists in a state. What does not exist has no leaf: nobody makes one of an
/// empty register, set or list, or of an author without roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its place in the tree.
    pub key_hash: [u8; 32],
    /// The encoding of its value, whose SHA-256 the tree commits to.
    pub value: Vec<u8>,
}

impl Leaf {
    /// A register: the events that wrote what it holds, with their openings, the latest first.
    pub fn register(key: &Key, writes: &[(EventId, OpeningId)]) -> Self {
        let value = cbor::encode(16 + 84 * writes.len(), |w| {
            w.array(writes.len() as u64)?;
            writes.iter().try_for_each(|&(event, opening)| write_entry(w, event, opening))
        });
        Self::new(LeafKind::Register, key, value)
    }

    /// A counter: its exact sum, which prints as decimal text.
    pub fn counter(key: &Key, sum: &impl fmt::Display) -> Self {
        let text = sum.to_string();
        let value = cbor::encode(9 + text.len(), |w| w.str(&text)?.ok());
        Self::new(LeafKind::Counter, key, value)
    }

    /// A set: its members, each with the events whose adds keep it in, ascending.
    pub fn set(key: &Key, members: &BTreeMap<&Member, Vec<EventId>>) -> Self {
        let value = cbor::encode(64 * members.len(), |w| {
            w.array(members.len() as u64)?;
            members.iter().try_for_each(|(member, adds)| {
                w.array(2)?.bytes(member.as_bytes())?.array(adds.len() as u64)?;
                adds.iter().try_for_each(|add| cbor::put_link(w, add.block()))
            })
        });
        Self::new(LeafKind::Set, key, value)
    }

    /// A list: the tree over its entries, each added by [`list_entry_hash`].
    pub fn list(key: &Key, entries: &LogTree) -> Self {
        let value =
            cbor::encode(48, |w| w.array(2)?.u64(entries.size())?.bytes(&entries.root())?.ok());
        Self::new(LeafKind::List, key, value)
    }

    /// What an author holds: its roles as words, `revoked` among them, ascending.
    pub fn member(author: &AuthorKey, held: &[&str]) -> Self {
        let value = cbor::encode(48, |w| {
            w.array(held.len() as u64)?;
            held.iter().try_for_each(|word| w.str(word)?.ok())
        });
        Self { key_hash: LeafKind::Member.key_hash(&author.0), value }
    }

    fn new(kind: LeafKind, key: &Key, value: Vec<u8>) -> Self {
        Self { key_hash: kind.key_hash(key.as_str().as_bytes()), value }
    }
}

/// The hash of a list's entry in the tree over the list: what `event` appended.
pub fn list_entry_hash(event: EventId, opening: OpeningId) -> [u8; 32] {
    leaf_hash(&cbor::encode(84, |w| write_entry(w, event, opening)))
}

/// A state's root could not be computed: a fault of this program, not of the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree over the state cannot be built: {0}")]
pub struct StateRootError(String);

/// The root of the state with these leaves, in any order. Of leaves with one key hash, which a
/// state does not have, the last counts. Memory grows with the leaves.
///
/// # Errors
/// The tree cannot be built.
pub fn state_root(leaves: impl IntoIterator<Item = Leaf>) -> Result<[u8; 32], StateRootError> {
    let leaves: Vec<_> =
        leaves.into_iter().map(|leaf| (KeyHash(leaf.key_hash), leaf.value)).collect();
    if leaves.is_empty() {
        return Ok(EMPTY_STATE_ROOT);
    }
    let (roots, _) = Sha256Jmt::new(&NothingStored)
        .batch_put_value_sets(vec![leaves], None, 0)
        .map_err(|error| StateRootError(error.to_string()))?;
    let root = roots.first().ok_or_else(|| StateRootError("no root".to_owned()))?;
    Ok(root.0)
}

fn write_entry(
    w: &mut Writer,
    event: EventId,
    opening: OpeningId,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    w.array(2)?;
    cbor::put_link(w, event.block())?;
    cbor::put_link(w, opening.block())
}

/// What is stored before version 0 of a tree.
struct NothingStored;

impl TreeReader for NothingStored {
    fn get_node_option(&self, _: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(None)
    }

    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(None)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(parts: &[&[u8]]) -> [u8; 32] {
        Sha256::digest(parts.concat()).into()
    }

    /// Section 8 word by word.
    fn model(leaves: &[Leaf], depth: usize) -> [u8; 32] {
        match leaves {
            [] => EMPTY_STATE_ROOT,
            [leaf] => sha(&[b"JMT::LeafNode", &leaf.key_hash, &sha(&[&leaf.value])]),
            _ => {
                let bit = |leaf: &&Leaf| leaf.key_hash[depth / 8] >> (7 - depth % 8) & 1 == 1;
                let (right, left): (Vec<_>, Vec<_>) = leaves.iter().partition(bit);
                let [left, right] = [left, right]
                    .map(|half| half.into_iter().cloned().collect::<Vec<_>>())
                    .map(|half| model(&half, depth + 1));
                sha(&[b"JMT::IntrnalNode", &left, &right])
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_model() {
        let leaf = |i: u32| Leaf {
            key_hash: LeafKind::Counter.key_hash(&i.to_be_bytes()),
            value: vec![7; i as usize % 50],
        };
        for size in (0..100).chain([255, 256, 257, 1000]) {
            let leaves: Vec<_> = (0..size).map(leaf).collect();
            assert_eq!(state_root(leaves.clone()).unwrap(), model(&leaves, 0), "size {size}");
            assert_eq!(state_root(leaves.into_iter().rev()), state_root((0..size).map(leaf)));
        }
    }

    #[test]
    fn keys_that_share_long_prefixes_are_told_apart() {
        let mut leaves = vec![Leaf { key_hash: [0; 32], value: vec![1] }];
        for bit in 0..256 {
            let mut key_hash = [0; 32];
            key_hash[bit / 8] = 0x80 >> (bit % 8);
            leaves.push(Leaf { key_hash, value: vec![2] });
        }
        assert_eq!(state_root(leaves.clone()).unwrap(), model(&leaves, 0));
    }

    #[test]
    fn roles_are_text() {
        let leaf = Leaf::member(&AuthorKey([1; 32]), &["admin", "revoked", "validator", "writer"]);
        assert_eq!(leaf.value, b"\x84\x65admin\x67revoked\x69validator\x66writer");
        assert_eq!(leaf.key_hash, sha(&[b"m\0", &[1; 32]]));
    }

    #[test]
    fn counters_are_text() {
        let leaf = Leaf::counter(&Key::new("n").unwrap(), &-12);
        assert_eq!(leaf.value, b"\x63-12");
        assert_eq!(leaf.key_hash, sha(&[b"c\0n"]));
    }
}
