//! Writes travel at once, and what a node has missed comes when it is there again.

use std::time::{Duration, Instant};

use quipu_net::{Node, PeerState, PeerStatus};

use crate::support::{Stores, equal, put, start, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_everywhere_at_once() {
    let stores = Stores::new();
    let ledgers = stores.members(3);
    let first = start(&ledgers[0], &[]).await;
    let second = start(&ledgers[1], &[&first]).await;
    let third = start(&ledgers[2], &[&first]).await;
    for (at, ledger) in ledgers.iter().enumerate() {
        put(ledger, &format!("key {at}"), b"value");
    }
    equal(&ledgers).await;
    for (at, _) in ledgers.iter().enumerate() {
        ledgers
            .iter()
            .for_each(|ledger| assert_eq!(text(ledger, &format!("key {at}")).unwrap(), "value"));
    }
    // Events now come by gossip.
    put(&ledgers[2], "late", b"news");
    until(|| text(&ledgers[1], "late").is_some()).await;
    for node in [first, second, third] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_hear_of_each_other() {
    let stores = Stores::new();
    let ledgers = stores.members(3);
    let first = start(&ledgers[0], &[]).await;
    let second = start(&ledgers[1], &[&first]).await;
    let third = start(&ledgers[2], &[&first]).await;
    let connected = |node: &Node| {
        let peers = node.status().peers;
        peers.iter().filter(|peer| matches!(peer.state, PeerState::Connected { .. })).count()
    };
    until(|| connected(&second) == 2 && connected(&third) == 2).await;
    first.stop().await;
    // They go on without the one that they were told to join.
    put(&ledgers[1], "a", b"1");
    until(|| text(&ledgers[2], "a").is_some()).await;
    second.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_is_silent_keeps_a_node_from_stopping() {
    let stores = Stores::new();
    let ledgers = stores.members(2);
    let first = start(&ledgers[0], &[]).await;
    // It listens and says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap().to_string().parse().unwrap();
    first.keep_peer(ledgers[1].author(), Some(place)).await.unwrap();
    let dialling = |node: &Node| {
        node.status().peers.iter().any(|peer| matches!(peer.state, PeerState::Dialling))
    };
    until(|| dialling(&first)).await;
    let since = Instant::now();
    first.stop().await;
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_catches_up() {
    let stores = Stores::new();
    let ledgers = stores.members(2);
    let first = start(&ledgers[0], &[]).await;
    let second = start(&ledgers[1], &[&first]).await;
    put(&ledgers[0], "a", b"1");
    equal(&ledgers).await;
    second.stop().await;
    for count in 0..300 {
        put(&ledgers[0], "b", format!("{count}").as_bytes());
        put(&ledgers[1], "c", format!("{count}").as_bytes());
    }
    let second = start(&ledgers[1], &[&first]).await;
    equal(&ledgers).await;
    assert_eq!(text(&ledgers[1], "b").unwrap(), "299");
    until(|| matches!(second.status().peers.as_slice(), [peer] if brought_all(peer))).await;
    first.stop().await;
    second.stop().await;
}

fn brought_all(peer: &PeerStatus) -> bool {
    matches!(peer.state, PeerState::Connected { .. }) && peer.events_in >= 300
}
