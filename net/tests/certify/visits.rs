//! Nodes that get once what another has: what it has certified comes, too.

use std::sync::Arc;

use quipu_merge::{Height, Role};
use quipu_net::{Node, NodeOptions, Synced};
use quipu_store::{Ledger, NewLedger, Options};

use super::support::{Stores, address, is_final, put, start, start_all};

/// Gets once what a node has.
async fn visit(ledger: &Arc<Ledger>, node: &Node) -> Synced {
    let options = NodeOptions::visitor("127.0.0.1:0".parse().unwrap());
    let visitor = Node::start(ledger.clone(), options).await.unwrap();
    let synced = visitor.sync_with(address(node)).await.unwrap();
    visitor.stop().await;
    synced
}

fn height(ledger: &Ledger) -> Option<Height> {
    ledger.snapshot().unwrap().certified_height()
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_come_with_the_events() {
    let stores = Stores::new();
    let first = Arc::new(Ledger::create(stores.dir("0"), &NewLedger::default()).unwrap());
    let guest = stores.replica("guest", &first, Role::Writer);
    let node = start(&first, &[]).await;
    for at in 0..3 {
        is_final(&node, put(&first, "k", &[at])).await;
    }
    let synced = visit(&guest, &node).await;
    assert!(synced.new_events >= 3);
    assert!(height(&guest) >= Some(Height(3)));
    assert_eq!(height(&guest), height(&first));
    // And those since.
    is_final(&node, put(&first, "k", b"later")).await;
    visit(&guest, &node).await;
    assert_eq!(height(&guest), height(&first));
    node.stop().await;
}

/// A validator's node that only visits would otherwise answer for what it has not seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_visits_signs_nothing() {
    let stores = Stores::new();
    let ledgers = stores.validators(4);
    let nodes = start_all(&ledgers[..3]).await;
    is_final(&nodes[0], put(&ledgers[0], "k", b"1")).await;
    visit(&ledgers[3], &nodes[0]).await;
    assert_eq!(height(&ledgers[3]), height(&ledgers[0]));
    for node in nodes {
        node.stop().await;
    }
    drop(ledgers);
    // It has logged nothing, so it is new to it when it begins.
    let fourth = Arc::new(Options::new().open(stores.dir("3")).unwrap());
    let (_, votes, mark) = quipu_store::VoteLog::open(&fourth, fourth.author()).unwrap();
    assert_eq!((votes, mark), (quipu_store::Votes::New, None));
}
