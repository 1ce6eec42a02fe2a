//! Validators with stores, and a limit to the patience of tests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::{EventId, Height, Role};
use quipu_net::{Node, NodeOptions, PeerAddress, Place};
use quipu_store::{Ledger, NewLedger, Options};
use tempfile::TempDir;

/// Nobody waits longer than this.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A place for stores.
pub struct Stores(TempDir);

impl Stores {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A replica with a role.
    pub fn replica(&self, name: &str, of: &Ledger, role: Role) -> Arc<Ledger> {
        let made = Options::new().clone_granted(self.dir(name), of, role, &mut |_, _| {});
        Arc::new(made.unwrap().0)
    }

    /// A ledger whose first replica is a validator from the beginning, and the others from height 2 on.
    /// The first is an admin, too; the others may write.
    pub fn validators(&self, count: usize) -> Vec<Arc<Ledger>> {
        let first = Arc::new(Ledger::create(self.dir("0"), &NewLedger::default()).unwrap());
        let others: Vec<_> = (1..count)
            .map(|at| {
                let replica = self.replica(&at.to_string(), &first, Role::Validator);
                first.grant(replica.author(), Role::Writer).unwrap();
                replica.merge(&first, &mut |_, _| {}).unwrap();
                replica
            })
            .collect();
        std::iter::once(first).chain(others).collect()
    }
}

pub fn put(ledger: &Ledger, key: &str, value: &[u8]) -> EventId {
    let mut transaction = ledger.transaction();
    transaction.put(key, value).unwrap();
    transaction.commit().unwrap().event
}

pub async fn start(ledger: &Arc<Ledger>, join: &[&Node]) -> Node {
    let mut options = NodeOptions::new("127.0.0.1:0".parse().unwrap());
    options.join = join.iter().map(|node| address(node)).collect();
    options.interval = Duration::from_millis(200);
    Node::start(ledger.clone(), options).await.unwrap()
}

/// Nodes that all join the first.
pub async fn start_all(ledgers: &[Arc<Ledger>]) -> Vec<Node> {
    let mut nodes = vec![start(&ledgers[0], &[]).await];
    for ledger in &ledgers[1..] {
        let node = start(ledger, &[&nodes[0]]).await;
        nodes.push(node);
    }
    nodes
}

pub fn address(node: &Node) -> PeerAddress {
    PeerAddress { key: node.key(), place: Place::from(node.local_addr()) }
}

/// Waits until an event is certified at a node.
pub async fn is_final(node: &Node, event: EventId) -> Height {
    loop {
        match node.wait_final(event, Some(PATIENCE)).await {
            Ok(height) => return height,
            // It has not come yet.
            Err(quipu_net::WaitError::Read(_)) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}: {:#?}", node.status().certification),
        }
    }
}

/// Waits until something holds, asking again and again.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let asking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("takes too long");
}

/// Waits until all know that there are so many validators.
pub async fn all_ready(nodes: &[Node], count: usize) {
    until(|| nodes.iter().all(|node| node.status().certification.validators.len() == count)).await;
}

/// All that have the same heights have the same checkpoints.
pub fn agree(ledgers: &[Arc<Ledger>]) {
    let heights = ledgers.iter().map(|ledger| ledger.certification().height.unwrap());
    let lowest = heights.min().unwrap();
    for height in (1..=lowest.0).map(Height) {
        let id = |ledger: &Ledger| {
            ledger.snapshot().unwrap().checkpoint(height).unwrap().map(|certified| certified.id())
        };
        ledgers.windows(2).for_each(|two| assert_eq!(id(&two[0]), id(&two[1])));
    }
    for ledger in ledgers {
        assert_eq!(ledger.certification().diverged, []);
    }
}
