//! What many peers, or one that does nothing, can take up.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quipu_net::{AcceptError, CloseCode, ConnectError, Endpoint, Full, Limits};
use tokio::net::UdpSocket;

use crate::nodes::{anybody, connected, key, limits, node, node_with, within};
use crate::raw::client;

fn node_limited(seed: u8, limit: impl FnOnce(&mut Limits)) -> Endpoint {
    let mut limits = limits();
    limit(&mut limits);
    node_with(seed, anybody(), limits)
}

fn node_at(seed: u8, address: &str) -> Endpoint {
    let address: SocketAddr = address.parse().unwrap();
    Endpoint::bind(address, key(seed), anybody(), limits()).unwrap()
}

/// The first packet of a client, as it comes to whomever it dials.
async fn first_packet() -> Vec<u8> {
    let listening = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = client();
    let _dialling = client.connect(listening.local_addr().unwrap(), "any").unwrap();
    let mut packet = vec![0; 2000];
    let (len, _) = within(listening.recv_from(&mut packet)).await.unwrap();
    packet.truncate(len);
    packet
}

/// Begins a handshake with `node` and says no more. The answer shows that it has begun.
async fn stall(node: &Endpoint, from: &str) -> (UdpSocket, Vec<u8>) {
    let socket = UdpSocket::bind(from).await.unwrap();
    socket.send_to(&first_packet().await, node.local_addr()).await.unwrap();
    let mut answer = vec![0; 2000];
    let (len, _) = within(socket.recv_from(&mut answer)).await.unwrap();
    answer.truncate(len);
    (socket, answer)
}

/// The type of a packet with a long header (RFC 9000, section 17.2).
fn packet_type(packet: &[u8]) -> u8 {
    assert_eq!(packet[0] & 0x80, 0x80, "a short header");
    packet[0] >> 4 & 3
}

const INITIAL: u8 = 0;
const RETRY: u8 = 3;

#[tokio::test]
async fn peers_that_stall_do_not_hold_up_others() {
    let timeout = Duration::from_secs(2);
    let (a, b) = (node(1), node_limited(2, |l| l.handshake_timeout = timeout));
    let mut refusals = b.refusals();
    let since = Instant::now();
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let (socket, answer) = stall(&b, "127.0.0.2:0").await;
        assert_eq!(packet_type(&answer), INITIAL);
        stalled.push(socket.local_addr().unwrap());
    }
    let kept = connected(&a, &b).await;
    assert!(since.elapsed() < timeout, "the others waited");
    let mut over = Vec::new();
    for _ in &stalled {
        let refusal = within(refusals.next()).await.unwrap();
        assert_eq!(refusal.why, AcceptError::TimedOut);
        over.push(refusal.address);
    }
    over.sort();
    stalled.sort();
    assert_eq!(over, stalled);
    drop(kept);
}

#[tokio::test]
async fn addresses_are_validated_when_many_handshakes_are_open() {
    let limits = |limits: &mut Limits| {
        limits.handshakes_unvalidated = 2;
        // Those that stall are there until the end.
        limits.handshake_timeout = Duration::from_secs(300);
    };
    let (a, b) = (node(1), node_limited(2, limits));
    for _ in 0..2 {
        let (_, answer) = stall(&b, "127.0.0.2:0").await;
        assert_eq!(packet_type(&answer), INITIAL);
    }
    for _ in 0..100 {
        let (_, answer) = stall(&b, "127.0.0.3:0").await;
        assert_eq!(packet_type(&answer), RETRY);
    }
    // Whoever is where it says gets in.
    connected(&a, &b).await;
}

#[tokio::test]
async fn unfinished_handshakes_are_bounded() {
    let (a, b) = (node(1), node_limited(2, |l| l.handshakes = 3));
    let mut refusals = b.refusals();
    for _ in 0..3 {
        stall(&b, "127.0.0.2:0").await;
    }
    let error = within(a.connect(b.local_addr(), b.key())).await.err();
    assert_eq!(error, Some(ConnectError::TooMany));
    let why = within(refusals.next()).await.unwrap().why;
    assert_eq!(why, AcceptError::TooMany(Full::Handshakes));
}

#[tokio::test]
async fn unfinished_handshakes_of_an_address_are_bounded() {
    // None of one address without validation: only those that are there count.
    let b = node_limited(2, |l| l.handshakes_per_address = 1);
    let mut refusals = b.refusals();
    stall(&b, "127.0.0.2:0").await;
    let near = node_at(1, "127.0.0.2:0");
    let error = within(near.connect(b.local_addr(), b.key())).await.err();
    assert_eq!(error, Some(ConnectError::TooMany));
    let why = within(refusals.next()).await.unwrap().why;
    assert_eq!(why, AcceptError::TooMany(Full::AddressHandshakes));
    connected(&node_at(3, "127.0.0.3:0"), &b).await;
}

#[tokio::test]
async fn connections_of_an_address_are_bounded() {
    let b = node_limited(2, |l| l.connections_per_address = 1);
    let mut refusals = b.refusals();
    let (a, c) = (node(1), node_at(3, "127.0.0.2:0"));
    let (_at_a, at_b) = connected(&a, &b).await;
    let error = within(node(4).connect(b.local_addr(), b.key())).await.err();
    assert_eq!(error, Some(ConnectError::TooMany));
    let why = within(refusals.next()).await.unwrap().why;
    assert_eq!(why, AcceptError::TooMany(Full::AddressConnections));
    connected(&c, &b).await;

    at_b.close(CloseCode::Done, "");
    room_again(&a, &b).await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let b = node_limited(2, |l| l.connections = 2);
    let mut refusals = b.refusals();
    let nodes = [3, 4, 5].map(|n| node_at(n, &format!("127.0.0.{n}:0")));
    let first = connected(&nodes[0], &b).await;
    let _second = connected(&nodes[1], &b).await;
    let error = within(nodes[2].connect(b.local_addr(), b.key())).await.err();
    assert_eq!(error, Some(ConnectError::TooMany));
    let why = within(refusals.next()).await.unwrap().why;
    assert_eq!(why, AcceptError::TooMany(Full::Connections));
    // Those that a node dials do not count.
    for node in &nodes {
        within(b.connect(node.local_addr(), node.key())).await.unwrap();
    }
    drop(first);
    room_again(&nodes[2], &b).await;
}

#[tokio::test]
async fn of_many_at_once_no_more_than_allowed_get_in() {
    let b = node_limited(2, |l| l.connections = 1);
    let nodes = [3, 4, 5, 6].map(node);
    let dialling = nodes.map(|node| {
        let (address, key) = (b.local_addr(), b.key());
        tokio::spawn(async move { (node.connect(address, key).await, node) })
    });
    let mut kept = Vec::new();
    for dialled in dialling {
        match within(dialled).await.unwrap() {
            (Ok(connection), node) => kept.push((connection, node)),
            (Err(error), _) => assert_eq!(error, ConnectError::TooMany),
        }
    }
    assert_eq!(kept.len(), 1);
}

/// A connection is counted until its task has noticed that it has ended.
async fn room_again(from: &Endpoint, to: &Endpoint) {
    let trying = async {
        while let Err(error) = from.connect(to.local_addr(), to.key()).await {
            assert_eq!(error, ConnectError::TooMany);
        }
    };
    within(trying).await;
}
