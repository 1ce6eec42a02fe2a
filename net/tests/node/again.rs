//! Nodes that stop, and start again at the same place.

use std::net::UdpSocket;

use quipu_net::{Node, NodeOptions, PeerAddress, Place};
use quipu_store::Options;

use crate::support::{Stores, address, equal, put, start, until};

#[tokio::test(flavor = "multi_thread")]
async fn where_a_node_listened_another_does_at_once() {
    let stores = Stores::new();
    let ledgers = stores.members(2);
    let other = start(&ledgers[1], &[]).await;
    // Who never answers is dialled again and again: QUIC takes seconds to give that up.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = Place::from(silent.local_addr().unwrap());
    let nobody =
        PeerAddress { key: Options::new().newcomer(stores.dir("nobody")).unwrap().author(), place };
    let mut node = start(&ledgers[0], &[&other]).await;
    for round in 0..4_u8 {
        put(&ledgers[0], "k", &[round]);
        equal(&ledgers).await;
        until(|| other.status().peers.iter().any(|peer| peer.key == node.key())).await;
        let place = node.local_addr();
        node.stop().await;
        drop(UdpSocket::bind(place).expect("the place is free"));
        let mut options = NodeOptions::new(place);
        options.join = vec![address(&other), nobody.clone()];
        node = Node::start(ledgers[0].clone(), options).await.expect("it starts");
    }
    node.stop().await;
    other.stop().await;
}
