//! A few nodes of one ledger that replicate with each other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::leftovers;
use crate::machine::{must, works};
use crate::namespaces::{Namespaces, PORT, address, unique};
use crate::node::{Node, quipu};

/// How long nodes may take to become equal when nothing hinders them any more.
const HEALED: Duration = Duration::from_secs(60);
/// How large the file system of each store is, in bytes.
const DISK: u64 = 64 << 20;
/// How much time must pass until an event of a clock that was an hour ahead is due, in seconds.
const AN_HOUR: i64 = 3660;

pub struct Cluster {
    pub nodes: Vec<Arc<Node>>,
    pub namespaces: Namespaces,
    _disks: Disks,
}

impl Cluster {
    /// Makes a ledger with so many nodes, and starts them.
    pub fn start(count: usize) -> Self {
        leftovers::remove();
        let namespaces = Namespaces::new(count);
        let disks = Disks::new(count);
        let stores: Vec<_> = (0..count).map(|node| disks.of(node).join("store")).collect();
        quipu(&disks.dir, &["init", stores[0].to_str().unwrap()]);
        for store in &stores[1..] {
            let paths = [&stores[0], store].map(|path| path.to_str().unwrap());
            quipu(&disks.dir, &["clone", paths[0], paths[1], "--grant", "writer"]);
        }
        let places: Vec<_> =
            stores.iter().enumerate().map(|(node, store)| place(node, store)).collect();
        let nodes: Vec<_> = stores
            .into_iter()
            .zip(&namespaces.nodes)
            .enumerate()
            .map(|(node, (store, namespace))| {
                // Of the others they hear from each other.
                let join = places[..node].iter().take(2).cloned().collect();
                Arc::new(Node::new(node, store, namespace.clone(), join))
            })
            .collect();
        let cluster = Self { nodes, namespaces, _disks: disks };
        for node in &cluster.nodes {
            node.start();
        }
        cluster.wait("are connected", || {
            cluster.nodes.iter().all(|node| {
                let peers = node.json(&["peers"]);
                peers.iter().filter(|peer| peer["state"] == "connected").count() == count - 1
            })
        });
        cluster
    }

    /// Waits until all nodes hold the same events, those included that wait for their time. Gives how
    /// long that took.
    pub fn hold_the_same(&self) -> Duration {
        self.wait("hold the same events", || {
            let held: Vec<_> = self.nodes.iter().map(|node| held(node)).collect();
            held.iter().all(|events| *events == held[0])
        })
    }

    /// How many events wait for their time, at all nodes together.
    pub fn waiting(&self) -> usize {
        self.nodes.iter().map(|node| node.waiting().len()).sum()
    }

    /// Lets an hour pass for everybody.
    pub fn an_hour_later(&self) {
        for node in &self.nodes {
            node.set_clock(AN_HOUR);
            node.restart();
        }
    }

    /// Waits until all nodes show the same state, and gives it.
    pub fn one_state(&self) -> Value {
        let mut state = Value::Null;
        self.wait("are in one state", || {
            state = self.nodes[0].json(&["dump"]).remove(0);
            self.nodes[1..].iter().all(|node| node.json(&["dump"])[0] == state)
        });
        state
    }

    /// Waits until something holds, within the time that healing may take. Gives how long that took.
    pub fn wait(&self, what: &str, mut until: impl FnMut() -> bool) -> Duration {
        let since = Instant::now();
        while !until() {
            if since.elapsed() > HEALED {
                for node in &self.nodes {
                    println!("{}\n{:?}", node.told(), node.json(&["peers"]));
                }
                panic!("after {HEALED:?} it is not so that all nodes {what}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        since.elapsed()
    }
}

/// Where others find a node.
fn place(node: usize, store: &Path) -> String {
    let shown = quipu(store, &["--store", ".", "identity", "show", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    format!("quic://{}@{}:{PORT}", shown["key"].as_str().unwrap(), address(node))
}

/// The events that a node holds, those included that wait.
fn held(node: &Node) -> BTreeSet<String> {
    // What is admitted between the two is in both.
    let events = node.waiting().into_iter().chain(node.json(&["log"]));
    events.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

/// A small file system for each store.
struct Disks {
    dir: PathBuf,
    count: usize,
}

impl Disks {
    fn new(count: usize) -> Self {
        let disks = Self { dir: Path::new("/dev/shm").join(unique("disks")), count };
        for node in 0..count {
            std::fs::create_dir_all(disks.of(node)).unwrap();
            let place = disks.of(node);
            let size = format!("size={DISK}");
            must("mount", &["-t", "tmpfs", "-o", &size, "none", place.to_str().unwrap()]);
        }
        disks
    }

    fn of(&self, node: usize) -> PathBuf {
        self.dir.join(node.to_string())
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for node in 0..self.count {
            works("umount", &[self.of(node).to_str().unwrap()]);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
