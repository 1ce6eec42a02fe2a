//! Stores and nodes to measure.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_merge::{Cut, Policy, Role};
use quipu_net::{Node, NodeOptions, PeerAddress, Place};
use quipu_store::{Durability, Ledger, NewLedger, Options};
use tokio::runtime::{Builder, Runtime};

pub fn runtime() -> Runtime {
    Builder::new_multi_thread().enable_all().build().unwrap()
}

/// An open ledger of so many events of one put each.
pub fn fill(dir: &Path, events: usize) -> Arc<Ledger> {
    let options = Options::new().durability(Durability::Relaxed);
    let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    let ledger = options.create(dir, &new).unwrap();
    (0..events).for_each(|number| put(&ledger, number));
    ledger.sync().unwrap();
    ledger.compact().unwrap();
    Arc::new(ledger)
}

/// Writes an event with a value of 16 bytes.
pub fn put(ledger: &Ledger, number: usize) {
    let mut transaction = ledger.transaction();
    transaction.put(&format!("key/{number:08}"), &(number as u128).to_be_bytes()).unwrap();
    transaction.commit().unwrap();
}

/// A replica that has only the first event of `source`.
pub fn without_events(dir: &Path, source: &Ledger) -> Arc<Ledger> {
    let first = Cut::Heads(vec![source.id()]);
    let cloned = Options::new().clone_ledger(dir, source, &first, &mut |_, _| {});
    Arc::new(cloned.unwrap().0)
}

/// Replicas of one ledger that may all write.
pub fn members(dir: &Path, count: usize) -> Vec<Arc<Ledger>> {
    let first = Ledger::create(dir.join("0"), &NewLedger::default()).unwrap();
    let mut all: Vec<_> = (1..count)
        .map(|at| {
            let dir = dir.join(at.to_string());
            let cloned = Options::new().clone_granted(dir, &first, Role::Writer, &mut |_, _| {});
            Arc::new(cloned.unwrap().0)
        })
        .collect();
    all.insert(0, Arc::new(first));
    all
}

pub async fn node(ledger: &Arc<Ledger>, join: &[PeerAddress]) -> Node {
    let mut options = NodeOptions::new("127.0.0.1:0".parse().unwrap());
    options.join = join.to_vec();
    Node::start(ledger.clone(), options).await.unwrap()
}

pub async fn visitor(ledger: &Arc<Ledger>) -> Node {
    let options = NodeOptions::visitor("127.0.0.1:0".parse().unwrap());
    Node::start(ledger.clone(), options).await.unwrap()
}

pub fn address(node: &Node) -> PeerAddress {
    PeerAddress { key: node.key(), place: Place::from(node.local_addr()) }
}

/// Waits until something holds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "takes too long");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
