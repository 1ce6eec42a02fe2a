//! What a daemon has open.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use quipu_net::{Node, Tokens};
use quipu_store::Ledger;
use tokio::runtime::Handle;

/// What a daemon has open, for the commands that it runs.
pub struct Served {
    pub ledger: Arc<Ledger>,
    pub node: Node,
    pub tokens: Arc<Tokens>,
    /// Where the node runs: commands run on threads of their own, and wait for it there.
    pub runtime: Handle,
    /// Whether commands that go on until somebody ends them are to end.
    pub make_way: AtomicBool,
}
