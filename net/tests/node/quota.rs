//! Authors that hold no role have a quota, in a ledger where anybody may write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_net::{Allowance, Node, NodeOptions, PeerState, Quota};
use quipu_store::Ledger;

use crate::support::{Stores, address, equal, put, text, until};

/// What is taken of an author in a second, and at once.
const RATE: u32 = 50;
/// Several times as many.
const FLOOD: usize = 500;
/// The first event, what others write, and what is taken between two looks.
const FEW: usize = 20;

/// A node that only these dial, so that all goes by way of them.
async fn start(ledger: &Arc<Ledger>, join: &[&Node]) -> Node {
    let mut options = NodeOptions::new("127.0.0.1:0".parse().unwrap());
    options.join = join.iter().map(|node| address(node)).collect();
    options.accept = join.is_empty();
    options.quota = Some(Quota {
        author: Allowance { events: RATE, bytes: 1 << 20 },
        all: Allowance { events: RATE * 10, bytes: 10 << 20 },
        burst: Duration::from_secs(1),
    });
    Node::start(ledger.clone(), options).await.unwrap()
}

/// Waits until a node knows that it has what a peer has.
async fn level(node: &Node, peers: usize) {
    let lag = |state: &PeerState| match state {
        PeerState::Connected { lag, .. } => Some(*lag),
        _ => None,
    };
    until(|| {
        let lags: Vec<_> = node.status().peers.iter().filter_map(|peer| lag(&peer.state)).collect();
        lags.len() == peers && lags.iter().all(Duration::is_zero)
    })
    .await;
}

fn held(ledger: &Ledger) -> usize {
    usize::try_from(ledger.status().unwrap().events).unwrap()
}

async fn flood(ledger: &Arc<Ledger>) {
    let ledger = ledger.clone();
    let write = move || {
        for number in 0..FLOOD {
            put(&ledger, &format!("flood {number}"), b"value");
        }
    };
    tokio::task::spawn_blocking(write).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooding_author_waits_for_its_quota_and_others_do_not() {
    let stores = Stores::new();
    let ledgers = stores.open(3);
    let hub = start(&ledgers[0], &[]).await;
    let flooder = start(&ledgers[1], &[&hub]).await;
    let other = start(&ledgers[2], &[&hub]).await;
    level(&hub, 2).await;
    let begun = Instant::now();
    let most = || {
        let taken = u128::from(RATE) * (begun.elapsed().as_millis() + 1_000) / 1_000;
        usize::try_from(taken).unwrap() + FEW
    };
    let flooded = tokio::spawn({
        let ledger = ledgers[1].clone();
        async move { flood(&ledger).await }
    });
    until(|| hub.status().deferred > 100).await;
    for number in 0..3 {
        let (key, written) = (format!("other {number}"), Instant::now());
        put(&ledgers[2], &key, b"value");
        until(|| text(&ledgers[0], &key).is_some()).await;
        assert!(written.elapsed() < Duration::from_secs(2), "{:?}", written.elapsed());
        let held = held(&ledgers[0]);
        assert!(held <= most() && held < FLOOD, "{held} of {}", most());
    }
    // The admin's own writes are not held to anything.
    for number in 0..RATE * 2 {
        put(&ledgers[0], &format!("own {number}"), b"value");
    }
    flooded.await.unwrap();
    equal(&ledgers).await;
    assert!(held(&ledgers[0]) > FLOOD);
    assert!(begun.elapsed() > Duration::from_secs((FLOOD as u64 / u64::from(RATE)) - 2));
    // The status may be a moment old.
    until(|| hub.status().deferred_waiting == 0).await;
    assert_eq!(hub.status().misbehaviour, []);
    for node in [other, flooder, hub] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_copy_and_a_ledger_for_members_are_not_slowed() {
    let stores = Stores::new();
    let ledgers = stores.open(2);
    flood(&ledgers[0]).await;
    put(&ledgers[1], "one", b"of an author without a role");
    flood(&ledgers[1]).await;
    let hub = start(&ledgers[1], &[]).await;
    let begun = Instant::now();
    let copy = start(&ledgers[0], &[&hub]).await;
    equal(&ledgers).await;
    assert!(begun.elapsed() < Duration::from_secs(FLOOD as u64 / u64::from(RATE) / 2));
    assert_eq!(copy.status().deferred, 0);
    copy.stop().await;
    hub.stop().await;

    let stores = Stores::new();
    let ledgers = stores.members(2);
    let hub = start(&ledgers[0], &[]).await;
    let writer = start(&ledgers[1], &[&hub]).await;
    level(&hub, 1).await;
    flood(&ledgers[1]).await;
    equal(&ledgers).await;
    assert_eq!(hub.status().deferred, 0);
    writer.stop().await;
    hub.stop().await;
}
