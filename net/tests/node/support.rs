//! Stores and nodes, and a limit to the patience of tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::{Cut, EventId, Policy, Role};
use quipu_net::{Node, NodeOptions, PeerAddress, Place};
use quipu_store::{Durability, Ledger, NewLedger, Options};
use tempfile::TempDir;

/// A place for stores.
pub struct Stores(TempDir);

impl Stores {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A ledger for members, and replicas that may write.
    pub fn members(&self, count: usize) -> Vec<Arc<Ledger>> {
        let first = Ledger::create(self.dir("0"), &NewLedger::default()).unwrap();
        let others: Vec<_> = (1..count)
            .map(|at| {
                let dir = self.dir(&at.to_string());
                let cloned =
                    Options::new().clone_granted(dir, &first, Role::Writer, &mut |_, _| {});
                Arc::new(cloned.unwrap().0)
            })
            .collect();
        std::iter::once(Arc::new(first)).chain(others).collect()
    }

    /// A ledger where anybody may write, and replicas of others than its admin.
    pub fn open(&self, count: usize) -> Vec<Arc<Ledger>> {
        let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
        let first = Ledger::create(self.dir("0"), &new).unwrap();
        let cloned = |at: usize| {
            let (dir, all) = (self.dir(&at.to_string()), Cut::Everything);
            // They write faster than any quota, whatever the disk.
            let options = Options::new().durability(Durability::Relaxed);
            let cloned = options.clone_ledger(dir, &first, &all, &mut |_, _| {});
            Arc::new(cloned.unwrap().0)
        };
        let others: Vec<_> = (1..count).map(cloned).collect();
        std::iter::once(Arc::new(first)).chain(others).collect()
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
    Node::start(ledger.clone(), options).await.unwrap()
}

pub fn address(node: &Node) -> PeerAddress {
    PeerAddress { key: node.key(), place: Place::from(node.local_addr()) }
}

/// Waits until all hold the same.
pub async fn equal(ledgers: &[Arc<Ledger>]) {
    until(|| {
        ledgers.windows(2).all(|two| two[0].frontier().unwrap() == two[1].frontier().unwrap())
    })
    .await;
    let state = |ledger: &Ledger| ledger.snapshot().unwrap().heads().unwrap();
    ledgers.windows(2).for_each(|two| assert_eq!(state(&two[0]), state(&two[1])));
}

/// Waits until something holds, asking again and again.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let asking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("takes too long");
}

/// The value of a register, as text.
pub fn text(ledger: &Ledger, key: &str) -> Option<String> {
    match ledger.snapshot().unwrap().get(key).unwrap() {
        Some(quipu_store::Value::Bytes(bytes)) => Some(String::from_utf8(bytes).unwrap()),
        _ => None,
    }
}

/// A file with as many bytes, none like the other.
pub fn file(dir: &Path, len: u64) -> PathBuf {
    let path = dir.join("content");
    let mut hasher = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    hasher.fill(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    path
}
