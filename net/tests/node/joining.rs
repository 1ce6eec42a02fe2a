//! Making a replica from a peer, and getting once what a peer has.

use std::sync::Arc;

use quipu_merge::Role;
use quipu_net::{
    ConnectError, JoinError, Node, NodeOptions, PeerState, PeerStatus, SyncError, join,
};
use quipu_store::{Options, Value};

use crate::support::{Stores, address, equal, put, start, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_let_in_once_it_is_a_member() {
    let stores = Stores::new();
    let ledgers = stores.members(1);
    put(&ledgers[0], "a", b"1");
    let node = start(&ledgers[0], &[]).await;
    let here = "127.0.0.1:0".parse().unwrap();
    let dir = stores.dir("new");
    let newcomer = Options::new().newcomer(&dir).unwrap();
    let key = newcomer.author();
    let refused = join(newcomer, here, &address(&node), None).await.err().unwrap();
    let JoinError::Sync(SyncError::Connect { why, .. }) = refused else { panic!("{refused}") };
    assert_eq!(*why, ConnectError::NotAllowed);
    assert!(!quipu_store::is_store(&dir));

    ledgers[0].grant(key, Role::Writer).unwrap();
    let newcomer = loop {
        let newcomer = Options::new().newcomer(&dir).unwrap();
        assert_eq!(newcomer.author(), key, "the key of the first attempt is kept");
        match join(newcomer, here, &address(&node), Some(ledgers[0].id())).await {
            Ok(ledger) => break Arc::new(ledger),
            // The node looks at the roles every now and then.
            Err(JoinError::Sync(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let visitor = Node::start(newcomer.clone(), NodeOptions::visitor(here)).await.unwrap();
    let synced = visitor.sync_with(address(&node)).await.unwrap();
    assert_eq!(synced.new_events, 2);
    equal(&[ledgers[0].clone(), newcomer.clone()]).await;
    put(&newcomer, "b", b"2");
    equal(&[ledgers[0].clone(), newcomer.clone()]).await;
    visitor.stop().await;
    // Nobody can dial it where it was for this one copy.
    let places = || node.status().peers.into_iter().find(|peer| peer.key == key).map(|p| p.places);
    assert_eq!(places().unwrap_or_default(), []);
    let joined = start(&newcomer, &[&node]).await;
    until(|| places().is_some_and(|places| places == [address(&joined).place])).await;
    let place = address(&joined).place;
    joined.stop().await;
    let mut options = NodeOptions::new(here);
    options.accept = false;
    options.join = vec![address(&node)];
    let silent = Node::start(newcomer.clone(), options).await.unwrap();
    let is_there =
        |peer: &PeerStatus| peer.key == key && matches!(peer.state, PeerState::Connected { .. });
    until(|| node.status().peers.iter().any(is_there)).await;
    put(&newcomer, "c", b"3");
    equal(&[ledgers[0].clone(), newcomer]).await;
    assert_eq!(places().unwrap(), [place]);
    silent.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_come_along() {
    let stores = Stores::new();
    let ledgers = stores.members(2);
    let path = crate::support::file(&stores.dir("0"), 5 << 20);
    let mut transaction = ledgers[0].transaction();
    transaction.put_from("long", std::fs::File::open(&path).unwrap()).unwrap();
    transaction.commit().unwrap();
    let node = start(&ledgers[0], &[]).await;
    let visitor = NodeOptions::visitor("127.0.0.1:0".parse().unwrap());
    let visitor = Node::start(ledgers[1].clone(), visitor).await.unwrap();
    visitor.sync_with(address(&node)).await.unwrap();
    let snapshot = ledgers[1].snapshot().unwrap();
    let Some(Value::Long(link)) = snapshot.get("long").unwrap() else { panic!("not long") };
    assert_eq!(snapshot.missing_block(link).unwrap(), None);
    drop(snapshot);
    visitor.stop().await;
    node.stop().await;
}
