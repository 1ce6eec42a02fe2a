//! Nodes as bytes, and what must hold of one before anybody relies on it.

use borsh::BorshDeserialize;
use jmt::storage::{Node, NodeKey};

use super::{StateNodes, StateTreeError};

/// Nibbles of a key hash, below all of which there is nothing but leaves.
const DEPTH: usize = 64;

/// What a node has under it: the hashes, the heights and whether they are leaves.
pub type Children = [Option<Child>; 16];

/// What a node knows of one under it.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    pub hash: [u8; 32],
    pub height: u64,
    pub is_leaf: bool,
}

/// The key of a node: the height that brought it in, then its place.
pub fn key_of(key: &NodeKey) -> Vec<u8> {
    let nibbles: Vec<u8> = key.nibble_path().nibbles().map(u8::from).collect();
    key_at(key.version(), &nibbles)
}

/// The key of the root of the state of `height`.
pub fn root_key(height: u64) -> Vec<u8> {
    key_at(height, &[])
}

/// The key of the node that came with `height`, below these nibbles of a key hash.
pub fn key_at(height: u64, nibbles: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + nibbles.len() / 2 + 1);
    key.extend(height.to_be_bytes());
    // Never more than 64.
    key.push(u8::try_from(nibbles.len()).unwrap_or(u8::MAX));
    key.extend(nibbles.chunks(2).map(|pair| match *pair {
        [high, low] => high << 4 | low,
        [high] => high << 4,
        _ => 0,
    }));
    key
}

/// The nibbles of a key hash, the highest first.
pub fn nibbles_of(key_hash: &[u8; 32]) -> impl Iterator<Item = u8> + '_ {
    key_hash.iter().flat_map(|byte| [byte >> 4, byte & 15])
}

pub fn encode(node: &Node) -> Vec<u8> {
    // Writing into memory cannot fail; nothing that could be read again would come of it.
    borsh::to_vec(node).unwrap_or_default()
}

/// The node under `key`, when it can be where it is: the crate relies on that.
pub fn read<S: StateNodes>(stored: &S, key: &[u8]) -> Result<Node, StateTreeError<S::Error>> {
    let bytes = stored.read(key).map_err(StateTreeError::Store)?;
    let bytes = bytes.ok_or_else(|| StateTreeError::Missing(key.to_vec()))?;
    let node = Node::try_from_slice(&bytes).ok().filter(|node| fits(node, key));
    node.ok_or_else(|| StateTreeError::Damaged(key.to_vec()))
}

fn fits(node: &Node, key: &[u8]) -> bool {
    let Some((&depth, path)) = key.get(8..).and_then(<[u8]>::split_first) else { return false };
    let depth = usize::from(depth);
    match node {
        Node::Null => depth == 0,
        Node::Leaf(leaf) => nibbles_of(&leaf.key_hash().0)
            .zip(path.iter().flat_map(|byte| [byte >> 4, byte & 15]))
            .take(depth)
            .all(|(of_leaf, of_path)| of_leaf == of_path),
        Node::Internal(_) => {
            let children = children(node).into_iter().flatten().flatten();
            let leaves = children.clone().filter(|child| child.is_leaf).count();
            let count = children.count();
            depth < DEPTH && (count > 1 || count == 1 && leaves == 0)
        }
    }
}

/// What is under a node, if anything can be.
pub fn children(node: &Node) -> Option<Children> {
    let Node::Internal(internal) = node else { return None };
    let mut children = [None; 16];
    for (nibble, child) in internal.children_sorted() {
        let slot = children.get_mut(nibble.as_usize())?;
        *slot = Some(Child { hash: child.hash, height: child.version, is_leaf: child.is_leaf() });
    }
    Some(children)
}

/// The key hash and the value hash of a leaf.
pub fn leaf(node: &Node) -> Option<([u8; 32], [u8; 32])> {
    let Node::Leaf(leaf) = node else { return None };
    // The crate keeps the value hash to itself, except here.
    let bytes = borsh::to_vec(leaf).ok()?;
    let (key_hash, value_hash) = bytes.split_first_chunk()?;
    Some((*key_hash, value_hash.try_into().ok()?))
}
