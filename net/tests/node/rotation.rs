//! A replica's key changes while its node runs.

use quipu_net::{Node, NodeOptions, PeerState};

use crate::support::{Stores, address, equal, put, start, text, until};

fn is_connected(node: &Node, key: quipu_merge::AuthorKey) -> bool {
    let status = node.status();
    let mut peers = status.peers.iter().filter(|peer| peer.key == key);
    peers.any(|peer| matches!(peer.state, PeerState::Connected { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_with_the_new_key_of_its_replica() {
    let stores = Stores::new();
    let ledgers = stores.members(2);
    let first = start(&ledgers[0], &[]).await;
    // It cannot be dialled: it has to find out by itself.
    let mut options = NodeOptions::new("127.0.0.1:0".parse().unwrap());
    options.join = vec![address(&first)];
    options.accept = false;
    let second = Node::start(ledgers[1].clone(), options).await.unwrap();
    equal(&ledgers).await;
    let (old, place, fetcher) = (first.key(), first.local_addr(), first.fetcher());
    let rotation = ledgers[0].rotate_identity(None).unwrap();
    assert!(rotation.old == old && !rotation.granted.is_empty());
    until(|| is_connected(&second, rotation.new)).await;
    assert!(!is_connected(&second, old));
    assert_eq!((first.key(), first.status().listen), (rotation.new, place));
    // Both ways, by gossip and by asking.
    put(&ledgers[0], "a", b"1");
    put(&ledgers[1], "b", b"2");
    until(|| text(&ledgers[1], "a").is_some() && text(&ledgers[0], "b").is_some()).await;
    equal(&ledgers).await;
    let unknown = quipu_merge::BlockId::of(quipu_merge::Codec::Raw, b"unknown");
    assert!(!fetcher.block(unknown, std::time::Duration::ZERO).await.unwrap());
    first.stop().await;
    second.stop().await;
    assert!(first.keep_peer(old, None).await.is_err());
}
