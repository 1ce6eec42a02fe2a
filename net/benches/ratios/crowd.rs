//! The memory of a node with many events and peers.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::Role;
use quipu_net::{Node, NodeOptions, PeerAddress, PeerState, Place};
use quipu_store::{Ledger, Options};

use crate::figure::Figure;
use crate::memory::{peak_memory, resident_memory};
use crate::stores::{fill, node, runtime, until, without_events};

const EVENTS: usize = 1_000_000;
const PEERS: usize = 10;

/// Tells a process to serve a store, and to print how much memory that takes when it is asked.
pub const SERVING: &str = "--serve-store";

/// The node, in a process of its own so that nothing else counts.
pub fn serve(store: &str) {
    let runtime = runtime();
    runtime.block_on(async {
        let ledger = Arc::new(Ledger::open(store).unwrap());
        let options = NodeOptions::new("127.0.0.1:0".parse().unwrap());
        let node = Node::start(ledger, options).await.unwrap();
        println!("{} {}", node.key(), node.local_addr());
        std::io::stdout().flush().unwrap();
        for line in std::io::stdin().lock().lines() {
            assert_eq!(line.unwrap(), "memory");
            println!("{} {}", resident_memory(), peak_memory());
        }
    });
}

pub fn memory() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("source");
    let source = fill(&store, EVENTS);
    let peers: Vec<_> = (0..PEERS)
        .map(|at| {
            let dir = dir.path().join(at.to_string());
            let peer = without_events(&dir, &source);
            source.grant(peer.author(), Role::Writer).unwrap();
            peer
        })
        .collect();
    drop(source);
    // Half of the peers have it all; the others fetch it at once.
    let (whole, empty) = peers.split_at(PEERS / 2);
    let source = Arc::new(Options::new().open(&store).unwrap());
    whole[0].merge(&source, &mut |_, _| {}).unwrap();
    drop(source);
    for peer in &whole[1..] {
        peer.merge(&whole[0], &mut |_, _| {}).unwrap();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(SERVING)
        .arg(&store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.next().unwrap().unwrap();
    let (key, place) = told.split_once(' ').unwrap();
    let address = PeerAddress {
        key: key.parse().unwrap(),
        place: Place::from(place.parse::<std::net::SocketAddr>().unwrap()),
    };
    runtime().block_on(async {
        let mut nodes = Vec::new();
        for ledger in whole.iter().chain(empty) {
            nodes.push(node(ledger, std::slice::from_ref(&address)).await);
        }
        let there = |node: &Node| {
            node.status().peers.iter().any(|peer| {
                peer.key == address.key && matches!(peer.state, PeerState::Connected { .. })
            })
        };
        until(|| nodes.iter().all(there)).await;
        // While five fetch everything, and somebody writes.
        for number in 0..200 {
            let ledger = whole[number % whole.len()].clone();
            tokio::task::spawn_blocking(move || crate::stores::put(&ledger, EVENTS + number))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for node in nodes {
            node.stop().await;
        }
    });
    writeln!(child.stdin.as_mut().unwrap(), "memory").unwrap();
    let told = lines.next().unwrap().unwrap();
    let (now, peak) = told.split_once(' ').unwrap();
    let (now, peak): (u64, u64) = (now.parse().unwrap(), peak.parse().unwrap());
    drop(child.stdin.take());
    child.wait().unwrap();
    let detail =
        format!("at most, while five peers fetch all of it and five write; {now} MB afterwards");
    vec![Figure::at_most("MB of a node with 1 M events and 10 peers", 300.0, peak as f64, detail)]
}
