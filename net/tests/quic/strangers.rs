//! What is no node is told apart, on either side.

use quinn::ConnectionError;
use quipu_net::{AcceptError, ConnectError, PROTOCOL};
use tokio::net::UdpSocket;

use crate::nodes::{connected, here, node, within};
use crate::raw::{
    Shows, author, certificate_server, client_with, config, let_in, raw_server, spki_prefix, tls,
};

/// What a node says of a client, which cannot get in, and the QUIC code that the client sees.
async fn refused(shows: Shows, protocols: &[&str]) -> (AcceptError, u64) {
    let node = node(2);
    let mut refusals = node.refusals();
    let client = client_with(config(tls(shows, protocols)));
    let error = within(let_in(&client, &node)).await.unwrap_err();
    let ConnectionError::ConnectionClosed(close) = error else { panic!("{error}") };
    (within(refusals.next()).await.unwrap().why, close.error_code.into())
}

#[tokio::test]
async fn a_client_without_a_key_is_refused() {
    let (why, code) = refused(Shows::Nothing, &[PROTOCOL]).await;
    assert_eq!((why, code), (AcceptError::NoKey, 0x100 + 116));
}

#[tokio::test]
async fn a_client_with_a_certificate_is_refused() {
    let (why, code) = refused(Shows::Certificate, &[PROTOCOL]).await;
    assert_eq!((why, code), (AcceptError::NoRawKey, 0x100 + 40));
}

#[tokio::test]
async fn what_is_no_ed25519_key_is_refused() {
    // The neutral element: anybody can sign for it.
    let weak = [spki_prefix(), vec![1], vec![0; 31]].concat();
    for shown in [vec![], vec![0x30], vec![0; 44], vec![0; 10_000], weak] {
        let (why, code) = refused(Shows::Bytes(shown), &[PROTOCOL]).await;
        assert_eq!((why, code), (AcceptError::BadKey, 0x100 + 42));
    }
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused() {
    for protocols in [&["quipu/2"][..], &["h3", "quipu"]] {
        let (why, code) = refused(Shows::Key(1), protocols).await;
        assert_eq!((why, code), (AcceptError::Protocol, 0x100 + 120));
    }
    let node = node(2);
    let client = client_with(config(tls(Shows::Key(1), &["h3", PROTOCOL])));
    assert!(within(let_in(&client, &node)).await.is_ok());
}

#[tokio::test]
async fn a_client_without_a_protocol_is_refused() {
    let (why, _) = refused(Shows::Key(1), &[]).await;
    assert_eq!(why, AcceptError::Protocol);
}

/// Why a node cannot connect to a server, which does nothing but its part of the handshake.
async fn dialled(server: quinn::Endpoint) -> ConnectError {
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            if let Ok(connection) = incoming.await {
                connection.closed().await;
            }
        }
    });
    let error = within(node(1).connect(address, author(2))).await.err().unwrap();
    serving.abort();
    error
}

#[tokio::test]
async fn servers_that_are_no_nodes_are_told_apart() {
    assert_eq!(dialled(certificate_server(&[PROTOCOL])).await, ConnectError::NoRawKey);
    assert_eq!(dialled(raw_server(&["h3"])).await, ConnectError::Protocol);
    assert_eq!(dialled(raw_server(&[])).await, ConnectError::Protocol);
}

#[tokio::test]
async fn nobody_who_watches_learns_who_is_dialled() {
    let server = raw_server(&[PROTOCOL]);
    let (address, node) = (server.local_addr().unwrap(), node(1));
    let name = async {
        let connection = server.accept().await.unwrap().await.unwrap();
        let data = connection.handshake_data().unwrap();
        data.downcast::<quinn::crypto::rustls::HandshakeData>().unwrap().server_name
    };
    let name = tokio::select! {
        name = within(name) => name,
        dialled = node.connect(address, author(2)) => panic!("{dialled:?}"),
    };
    assert_eq!(name, None);
}

#[tokio::test]
async fn garbage_disturbs_nobody() {
    let (a, b) = (node(1), node(2));
    let socket = UdpSocket::bind(here()).await.unwrap();
    let mut noise = 1u32;
    for n in 0..2000 {
        let garbage: Vec<u8> = (0..n % 1500)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise.to_be_bytes()[0]
            })
            .collect();
        socket.send_to(&garbage, b.local_addr()).await.unwrap();
        if n % 200 == 0 {
            connected(&a, &b).await;
        }
    }
    connected(&a, &b).await;
}
