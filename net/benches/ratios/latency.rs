//! From a put on one of five nodes until it is readable on all.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_net::{Node, PeerState};
use quipu_store::Ledger;

use crate::figure::Figure;
use crate::stores::{address, members, node, runtime, until};

const NODES: usize = 5;
const PUTS: usize = 1_000;
/// Light load: twenty puts a second.
const PAUSE: Duration = Duration::from_millis(50);

pub fn puts() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let ledgers = members(dir.path(), NODES);
    let fsync = median_fsync(dir.path());
    let runtime = runtime();
    let (mut delays, round_trip) = runtime.block_on(async {
        let first = node(&ledgers[0], &[]).await;
        let mut nodes = vec![first];
        for ledger in &ledgers[1..] {
            let join = [address(&nodes[0])];
            nodes.push(node(ledger, &join).await);
        }
        let connected = |state: &PeerState| matches!(state, PeerState::Connected { .. });
        until(|| {
            nodes.iter().all(|node| {
                node.status().peers.iter().filter(|peer| connected(&peer.state)).count()
                    == NODES - 1
            })
        })
        .await;
        let mut delays = Vec::new();
        for number in 0..PUTS {
            let (ledgers, at) = (ledgers.clone(), number % NODES);
            delays.push(
                tokio::task::spawn_blocking(move || put(&ledgers, at, number)).await.unwrap(),
            );
            tokio::time::sleep(PAUSE).await;
        }
        let round_trip = median_round_trip(&nodes);
        for node in nodes {
            node.stop().await;
        }
        (delays, round_trip)
    });
    delays.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, late) = (delays[PUTS / 2], delays[PUTS * 99 / 100]);
    let detail = format!(
        "{PUTS} puts on five nodes in turn, 20 a second; fsync {:.2} ms, round trip {:.2} ms, slowest {:.1} ms",
        millis(fsync),
        millis(round_trip),
        millis(delays[PUTS - 1])
    );
    vec![
        Figure::at_most(
            "ms from a put until readable on all of five, median",
            10.0,
            millis(median),
            detail.clone(),
        ),
        Figure::at_most(
            "ms from a put until readable on all of five, 99 of 100",
            50.0,
            millis(late),
            detail,
        ),
    ]
}

/// Puts on one node, and waits until all have it.
fn put(ledgers: &[Arc<Ledger>], at: usize, number: usize) -> Duration {
    let key = format!("key/{number}");
    let start = Instant::now();
    let mut transaction = ledgers[at].transaction();
    transaction.put(&key, b"value").unwrap();
    transaction.commit().unwrap();
    for ledger in ledgers {
        while ledger.get(&key).unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(30), "{key} is not everywhere");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    start.elapsed()
}

/// How long a message and its answer take between nodes, as they say themselves.
pub fn median_round_trip(nodes: &[Node]) -> Duration {
    let peers = nodes.iter().flat_map(|node| node.status().peers);
    let mut round_trips: Vec<_> = peers
        .filter_map(|peer| match peer.state {
            PeerState::Connected { round_trip, .. } => Some(round_trip),
            _ => None,
        })
        .collect();
    round_trips.sort();
    round_trips[round_trips.len() / 2]
}

/// How long a small write and its fsync take here.
pub fn median_fsync(dir: &std::path::Path) -> Duration {
    let mut file = File::create(dir.join("fsync")).unwrap();
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[7; 512]).unwrap();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}
