//! Nodes that have all events, but the long values of some keys only.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_merge::{BlockId, Codec, Link};
use quipu_net::{FetchError, Fetcher, Node, NodeOptions};
use quipu_store::{GcOptions, Ledger, Value};

use crate::support::{Stores, address, equal, file, put, start, until};

const LONG: u64 = 24 << 20;

/// Long values below two prefixes, and one that has no blocks.
fn write(ledger: &Ledger, dir: &Path) {
    let content = std::fs::read(file(dir, LONG)).unwrap();
    let half = content.len() / 2;
    let mut transaction = ledger.transaction();
    transaction.put_from("photos/one", &content[..half]).unwrap();
    transaction.put_from("films/one", &content[half..]).unwrap();
    transaction.put("films/name", b"one").unwrap();
    transaction.commit().unwrap();
}

fn link(ledger: &Ledger, key: &str) -> Link {
    match ledger.get(key).unwrap() {
        Some(Value::Long(link)) => link,
        other => panic!("{key} is {other:?}"),
    }
}

fn missing(ledger: &Ledger, key: &str, range: std::ops::Range<u64>) -> Vec<BlockId> {
    ledger.snapshot().unwrap().missing_blocks(link(ledger, key), &range).unwrap()
}

const ALL: std::ops::Range<u64> = 0..u64::MAX;

async fn partial(ledger: &Arc<Ledger>, join: &Node) -> Node {
    let mut options = NodeOptions::new("127.0.0.1:0".parse().unwrap());
    options.join = vec![address(join)];
    options.only = Some(vec!["photos/".to_owned()]);
    Node::start(ledger.clone(), options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_replica_has_all_events_and_fetches_what_is_read() {
    let stores = Stores::new();
    let ledgers = stores.members(2);
    write(&ledgers[0], stores.dir("0").as_path());
    let first = start(&ledgers[0], &[]).await;
    let second = partial(&ledgers[1], &first).await;
    equal(&ledgers).await;
    let here = &ledgers[1];
    until(|| missing(here, "photos/one", ALL).is_empty()).await;
    until(|| second.status().left_out == 1 && second.status().settled).await;
    assert_eq!(here.status().unwrap().missing_values, 1);
    assert_eq!(missing(here, "films/one", ALL), [link(here, "films/one").block]);
    assert_eq!(here.get("films/name").unwrap(), Some(Value::Bytes(b"one".to_vec())));
    // Checking and collecting take it for what it is.
    let verified = here.verify(&mut |_, _| {}).unwrap();
    assert!(verified.findings.is_empty(), "{:?}", verified.findings);
    here.gc(GcOptions::default(), &mut |_, _| {}).unwrap();

    let fetcher = second.fetcher();
    let films = link(here, "films/one");
    let part = (5 << 20)..(5 << 20) + 10;
    let fetch = |range| fetcher.long_value(films, range, Fetcher::PATIENCE);
    assert!(fetch(part.clone()).await.unwrap());
    let mut bytes = Vec::new();
    let snapshot = here.snapshot().unwrap();
    let read = snapshot.read_long_range(films, part, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    assert_eq!(read.unwrap(), Ok(()));
    assert_eq!(bytes.len(), 10);
    drop(snapshot);
    // Nothing else has come with it.
    assert!(missing(here, "films/one", ALL).len() > 50);
    assert_eq!(here.status().unwrap().missing_values, 1);

    assert!(fetch(ALL).await.unwrap());
    assert!(!fetch(ALL).await.unwrap());
    assert!(missing(here, "films/one", ALL).is_empty());
    until(|| second.status().left_out == 0).await;
    assert_eq!(here.status().unwrap().missing_values, 0);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_not_waited_for_for_ever() {
    let stores = Stores::new();
    let ledgers = stores.members(3);
    write(&ledgers[0], stores.dir("0").as_path());
    let first = start(&ledgers[0], &[]).await;
    let second = partial(&ledgers[1], &first).await;
    equal(&ledgers[..2]).await;
    until(|| missing(&ledgers[1], "photos/one", ALL).is_empty()).await;
    first.stop().await;
    // Of those two, neither has films.
    let third = partial(&ledgers[2], &second).await;
    equal(&ledgers).await;
    let fetcher = third.fetcher();
    let films = link(&ledgers[2], "films/one");
    let asked = Instant::now();
    let fetched = fetcher.long_value(films, ALL, Fetcher::PATIENCE).await;
    assert!(matches!(fetched, Err(FetchError::NobodyHas)), "{fetched:?}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    // Nobody refers to this one: nobody is asked for it.
    let unknown = BlockId::of(Codec::Raw, b"unknown");
    assert!(!fetcher.block(unknown, Fetcher::PATIENCE).await.unwrap());
    second.stop().await;
    until(|| third.status().peers.iter().all(|peer| !is_connected(peer))).await;
    let asked = Instant::now();
    let fetched = fetcher.long_value(films, ALL, Fetcher::PATIENCE).await;
    assert!(matches!(fetched, Err(FetchError::NoPeers)), "{fetched:?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    third.stop().await;
    let fetched = fetcher.long_value(films, ALL, Fetcher::PATIENCE).await;
    assert!(matches!(fetched, Err(FetchError::NoPeers | FetchError::Stopped)), "{fetched:?}");
}

fn is_connected(peer: &quipu_net::PeerStatus) -> bool {
    matches!(peer.state, quipu_net::PeerState::Connected { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_it_is_waited_for_is_found() {
    let stores = Stores::new();
    let ledgers = stores.members(3);
    write(&ledgers[0], stores.dir("0").as_path());
    let first = start(&ledgers[0], &[]).await;
    let second = partial(&ledgers[1], &first).await;
    let third = partial(&ledgers[2], &second).await;
    equal(&ledgers).await;
    put(&ledgers[2], "k", b"v");
    // Whoever has it is reached through the other.
    let fetcher = third.fetcher();
    let films = link(&ledgers[2], "films/one");
    assert!(fetcher.long_value(films, ALL, Fetcher::PATIENCE).await.unwrap());
    for node in [first, second, third] {
        node.stop().await;
    }
}
