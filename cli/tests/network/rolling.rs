//! A rolling restart: each daemon is ended and started again in turn, while clients write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::machine::{can_make_networks, turn};
use crate::node::Node;
use crate::writers::{Told, assert_all_there, write};

const NODES: usize = 3;
const ROUNDS: usize = 2;
/// So long a client may have to try until somebody takes its write.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two restarts.
const PAUSE: Duration = Duration::from_millis(1500);

/// What a client has seen.
#[derive(Default)]
struct Seen {
    told: Told,
    /// The longest time from the first attempt of a write until it was acknowledged.
    longest: Duration,
}

#[test]
fn a_rolling_restart_loses_nothing_and_refuses_nothing_for_long() {
    let _turn = turn();
    if !can_make_networks("a rolling restart") {
        return;
    }
    let cluster = Cluster::start(NODES);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..NODES)
        .map(|client| {
            let (nodes, stop) = (cluster.nodes.clone(), stop.clone());
            thread::spawn(move || write_on(client, &nodes, &stop))
        })
        .collect();
    let mut away = Duration::ZERO;
    for _ in 0..ROUNDS {
        for node in &cluster.nodes {
            thread::sleep(PAUSE);
            away = away.max(node.restart());
        }
    }
    thread::sleep(PAUSE);
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = clients.into_iter().map(|client| client.join().unwrap()).collect();

    cluster.hold_the_same();
    let state = cluster.one_state();
    let longest = seen.iter().map(|seen| seen.longest).max().unwrap();
    let told: Vec<Told> = seen.into_iter().map(|seen| seen.told).collect();
    assert_all_there(&state, &told);
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    let refused: usize = told.iter().map(|told| told.refused.len()).sum();
    println!(
        "{acknowledged} writes acknowledged, {refused} taken by another node, after {longest:?} at \
         most; a daemon was away for {away:?} at most"
    );
    assert!(longest < PATIENCE, "a client waits for {longest:?}");
    assert!(away < PATIENCE, "a daemon is away for {away:?}");
}

/// Writes to one node, and to the next at once where that refuses.
fn write_on(client: usize, nodes: &[Arc<Node>], stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut attempt = 0;
    while !stop.load(Ordering::Relaxed) {
        let since = Instant::now();
        for node in nodes.iter().cycle().skip(client) {
            attempt += 1;
            match write(node, client, attempt) {
                Ok(acknowledged) => {
                    seen.told.acknowledged.push(acknowledged);
                    break;
                }
                Err(why) => seen.told.refused.push(why),
            }
        }
        seen.longest = seen.longest.max(since.elapsed());
    }
    seen
}
