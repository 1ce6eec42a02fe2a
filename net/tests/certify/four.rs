//! Four validators, and one node that is none.

use std::sync::Arc;
use std::time::Duration;

use quipu_merge::{Height, Role};
use quipu_net::{CertifyState, WaitError};
use quipu_store::{Durability, Ledger, NewLedger, Options};

use super::support::{Stores, agree, all_ready, is_final, put, start, start_all, until};

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_certify_and_others_follow() {
    let stores = Stores::new();
    let mut ledgers = stores.validators(4);
    ledgers.push(stores.replica("follower", &ledgers[0], Role::Writer));
    let nodes = start_all(&ledgers).await;
    all_ready(&nodes, 4).await;
    for (at, ledger) in ledgers.iter().enumerate() {
        let event = put(ledger, &format!("k{at}"), b"v");
        for node in &nodes {
            is_final(node, event).await;
        }
    }
    agree(&ledgers);
    until(|| nodes[4].status().certification.state == CertifyState::Follows).await;
    assert!(!nodes[4].status().certification.is_validator);
    for (node, ledger) in nodes.iter().zip(&ledgers) {
        node.stop().await;
        assert!(ledger.evidence().unwrap().is_empty());
        assert!(node.status().certification.checkpoints > 0);
    }
}

/// Two of four stop: what is written is not certified until one of them is back, from its store and its
/// log; and then all are needed that are left, so that it votes.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_writes_go_on_and_certification_waits() {
    let stores = Stores::new();
    let mut ledgers = stores.validators(4);
    let mut nodes = start_all(&ledgers).await;
    all_ready(&nodes, 4).await;
    is_final(&nodes[0], put(&ledgers[1], "before", b"v")).await;
    nodes.pop().unwrap().stop().await;
    nodes.pop().unwrap().stop().await;
    drop(ledgers.split_off(2));

    let event = put(&ledgers[0], "alone", b"v");
    until(|| ledgers[1].frontier().unwrap() == ledgers[0].frontier().unwrap()).await;
    let waited = nodes[0].wait_final(event, Some(Duration::from_millis(1500))).await;
    assert!(matches!(waited, Err(WaitError::TimedOut(_))), "{waited:?}");
    until(|| {
        let status = nodes[0].status().certification;
        status.state == CertifyState::NoQuorum(2, 3) && status.advice().is_some()
    })
    .await;

    let ledger = Arc::new(Ledger::open(stores.dir("2")).unwrap());
    nodes.push(start(&ledger, &[&nodes[0]]).await);
    ledgers.push(ledger);
    for node in &nodes {
        is_final(node, event).await;
    }
    let later = put(&ledgers[2], "back", b"v");
    is_final(&nodes[0], later).await;
    agree(&ledgers);
}

/// A ledger whose first replica is its only validator.
#[tokio::test(flavor = "multi_thread")]
async fn one_validator_certifies_alone_also_after_a_restart() {
    let stores = Stores::new();
    for at in 0..3 {
        let dir = stores.dir("0");
        let ledger = if at == 0 {
            Ledger::create(&dir, &NewLedger::default()).unwrap()
        } else {
            Options::new().durability(Durability::Relaxed).open(&dir).unwrap()
        };
        let ledger = Arc::new(ledger);
        let node = start(&ledger, &[]).await;
        let height = is_final(&node, put(&ledger, "key", b"v")).await;
        assert!(height.0 > at);
        node.stop().await;
    }
}

/// Checkpoints that come in a file, say, are known to a node that nobody tells of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_accepts_counts_at_its_node() {
    let stores = Stores::new();
    let first = Arc::new(Ledger::create(stores.dir("0"), &NewLedger::default()).unwrap());
    let other = stores.replica("1", &first, Role::Writer);
    let node = start(&first, &[]).await;
    is_final(&node, put(&first, "one", b"v")).await;
    let event = put(&first, "two", b"v");
    let height = is_final(&node, event).await;
    let alone = start(&other, &[]).await;
    other.merge(&first, &mut |_, _| {}).unwrap();
    let waiting = alone.finality();
    let waiting = tokio::spawn(async move { waiting.wait(event, None).await.unwrap() });
    for at in (1..=height.0).map(Height) {
        let certified = first.snapshot().unwrap().checkpoint(at).unwrap().unwrap();
        other.accept(certified).unwrap();
    }
    assert_eq!(waiting.await.unwrap(), height);
    until(|| alone.status().certification.certified == Some(height)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_validators_nobody_waits() {
    let stores = Stores::new();
    let new = NewLedger { validators: Some(Vec::new()), ..NewLedger::default() };
    let ledger = Arc::new(Ledger::create(stores.dir("0"), &new).unwrap());
    let node = start(&ledger, &[]).await;
    let waited = node.wait_final(put(&ledger, "key", b"v"), None).await;
    assert!(matches!(waited, Err(WaitError::NoValidators)));
    assert_eq!(node.status().certification.state, CertifyState::NoValidators);
}
