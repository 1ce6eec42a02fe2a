//! The tree over the state, kept node by node: a state that has changed a little costs the nodes
//! above what has changed, and any state whose nodes are kept can prove what it holds.
//!
//! The tree is that of [`crate::state_root`], by the same crate. Nodes are opaque to whoever keeps
//! them: bytes under keys. A key begins with the height whose state brought the node in, so nodes
//! of other heights are never overwritten.

mod node;
mod proof;

use std::cell::RefCell;
use std::collections::BTreeMap;

use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Sha256Jmt, Version};

use crate::checkpoint::Height;
use crate::id::hex_of;
use crate::state_root::Leaf;

pub use proof::{MAX_STATE_PROOF_LEN, StateProof, prove_state};

/// The nodes of trees, as [`StateUpdate::nodes`] has named them.
pub trait StateNodes {
    /// Why reading fails.
    type Error;

    /// The node under `key`; `None` where there is none.
    ///
    /// # Errors
    /// Whatever is under it fails.
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;
}

impl StateNodes for BTreeMap<Vec<u8>, Vec<u8>> {
    type Error = std::convert::Infallible;

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error> {
        Ok(self.get(key).cloned())
    }
}

/// What has become of one leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Its place in the tree, by [`crate::LeafKind::key_hash`].
    pub key_hash: [u8; 32],
    /// The encoding of its value from now on, as in [`Leaf::value`]; none where it is gone.
    pub value: Option<Vec<u8>>,
}

impl From<Leaf> for StateChange {
    fn from(leaf: Leaf) -> Self {
        Self { key_hash: leaf.key_hash, value: Some(leaf.value) }
    }
}

/// What makes the nodes of one state those of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateUpdate {
    /// The root of the new state.
    pub root: [u8; 32],
    /// Nodes to keep, with their keys, ascending. All keys are new.
    pub nodes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys of nodes of which the state before has need, but not the new one: to be dropped when
    /// nobody asks for the state before, or anything earlier, any more.
    pub stale: Vec<Vec<u8>>,
}

/// The tree cannot be brought up to date, or asked for a proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateTreeError<E> {
    /// The new state does not come after the one that it is built on, or a height is no height.
    #[error("no state of height {height} follows from one of height {base:?}")]
    Height {
        /// The height of the new state.
        height: u64,
        /// The height of the one before.
        base: Option<u64>,
    },
    /// A node that the tree consists of is not stored.
    #[error("the tree over the state has no node {}", hex_of(.0))]
    Missing(Vec<u8>),
    /// What is stored is no node, or not one that can be where it is.
    #[error("node {} of the tree over the state is damaged", hex_of(.0))]
    Damaged(Vec<u8>),
    /// Reading a node fails.
    #[error("a node of the tree over the state cannot be read")]
    Store(#[source] E),
    /// The tree cannot be built from sound nodes: a fault of this program.
    #[error("the tree over the state cannot be built: {0}")]
    Tree(String),
}

/// Builds the tree over the state of `height` from that of `base`, a lesser height (none: the empty
/// state), and the leaves that differ between the two. Of changes with one key hash the last
/// counts; removing what is not there changes nothing. Memory grows with the changes.
///
/// # Errors
/// A height is out of place, or the tree over the state of `base` is not whole. Nothing is written
/// by this in any case.
pub fn update_state<S: StateNodes>(
    stored: &S,
    base: Option<Height>,
    height: Height,
    changes: impl IntoIterator<Item = StateChange>,
) -> Result<StateUpdate, StateTreeError<S::Error>> {
    if !height.is_valid() || base.is_some_and(|base| base >= height || !base.is_valid()) {
        let (height, base) = (height.0, base.map(|base| base.0));
        return Err(StateTreeError::Height { height, base });
    }
    let changes =
        changes.into_iter().map(|change| (KeyHash(change.key_hash), change.value)).collect();
    build(stored, base, height, changes)
}

/// Builds the tree over the state of `height` piece by piece, where that is too much for one: adds
/// leaves to what is stored of it from earlier calls (`begun`; else there is nothing yet). Nodes are to
/// be stored before the next call, in the place of those with the same keys; none is ever stale. The tree
/// is whole when all leaves have been added, in any order.
///
/// # Errors
/// The height is no height, or what is stored is not whole.
pub fn extend_state<S: StateNodes>(
    stored: &S,
    begun: bool,
    height: Height,
    leaves: impl IntoIterator<Item = Leaf>,
) -> Result<StateUpdate, StateTreeError<S::Error>> {
    if !height.is_valid() {
        return Err(StateTreeError::Height { height: height.0, base: None });
    }
    let leaves =
        leaves.into_iter().map(|leaf| (KeyHash(leaf.key_hash), Some(leaf.value))).collect();
    // Whatever an added leaf replaces or moves has a new node in its place.
    let update = build(stored, begun.then_some(height), height, leaves)?;
    Ok(StateUpdate { stale: Vec::new(), ..update })
}

fn build<S: StateNodes>(
    stored: &S,
    base: Option<Height>,
    height: Height,
    changes: BTreeMap<KeyHash, Option<OwnedValue>>,
) -> Result<StateUpdate, StateTreeError<S::Error>> {
    let reader = Reader { stored, base, before: height.0 - 1, failure: RefCell::new(None) };
    let tree = Sha256Jmt::new(&reader);
    // The way for many leaves visits each node once, but knows no removals.
    let built = if changes.is_empty() || changes.values().any(Option::is_none) {
        tree.put_value_sets(vec![changes], height.0)
    } else {
        let puts = changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        tree.batch_put_value_sets(vec![puts], None, height.0)
    };
    let (roots, batch) = built.map_err(|error| reader.failed(&error.to_string()))?;
    let root = roots.first().ok_or_else(|| StateTreeError::Tree("no root".to_owned()))?.0;
    let nodes = batch.node_batch.nodes().iter();
    let nodes = nodes.map(|(key, node)| (node::key_of(key), node::encode(node))).collect();
    // The root is replaced in any case, also where the crate would keep it by copying.
    let gone = batch.stale_node_index_batch.iter().map(|stale| &stale.node_key);
    let gone = gone.filter(|key| !key.nibble_path().is_empty()).map(node::key_of);
    let stale = base.map(|base| node::root_key(base.0)).into_iter().chain(gone).collect();
    Ok(StateUpdate { root, nodes, stale })
}

/// Lets the crate read stored nodes, and keeps our own error, which its error has no room for.
struct Reader<'a, S: StateNodes> {
    stored: &'a S,
    base: Option<Height>,
    /// The version on which the crate builds: always the one right before. Its root stands for
    /// that of the base.
    before: Version,
    failure: RefCell<Option<StateTreeError<S::Error>>>,
}

impl<S: StateNodes> Reader<'_, S> {
    fn node(&self, key: &NodeKey) -> Result<Option<Node>, StateTreeError<S::Error>> {
        if !key.nibble_path().is_empty() {
            return node::read(self.stored, &node::key_of(key)).map(Some);
        }
        match self.base {
            Some(base) if key.version() == self.before => {
                node::read(self.stored, &node::root_key(base.0)).map(Some)
            }
            None if key.version() == self.before => Ok(Some(Node::Null)),
            _ => Ok(None),
        }
    }

    fn failed(&self, error: &str) -> StateTreeError<S::Error> {
        self.failure.take().unwrap_or_else(|| StateTreeError::Tree(error.to_owned()))
    }
}

impl<S: StateNodes> TreeReader for Reader<'_, S> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        self.node(key).map_err(|failure| {
            self.failure.replace(Some(failure));
            anyhow::Error::msg("a node cannot be read")
        })
    }

    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(None)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
