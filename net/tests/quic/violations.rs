//! Peers that are let in and then break the rules.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use quinn::{Connection as Raw, ConnectionError as RawError, Endpoint as RawEndpoint, SendStream};
use quipu_net::{Channel, CloseCode, Connection, ConnectionError, Endpoint, Violation};

use crate::nodes::{limits, node, within};
use crate::raw::{client, let_in};

/// A client that has been let in by a node.
struct Guest {
    _client: RawEndpoint,
    _node: Endpoint,
    raw: Raw,
    at_node: Connection,
}

async fn guest() -> Guest {
    let (client, node) = (client(), node(2));
    let (raw, at_node) = tokio::join!(within(let_in(&client, &node)), within(node.accept()));
    Guest { _client: client, _node: node, raw: raw.unwrap(), at_node: at_node.unwrap() }
}

impl Guest {
    async fn stream(&self, bytes: &[u8]) -> SendStream {
        let mut stream = within(self.raw.open_uni()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// The node says this of the guest, and tells it so.
    async fn broke(mut self, violation: Violation) {
        let end = ConnectionError::Violation(violation.clone());
        let receiver = self.at_node.receiver();
        assert_eq!(within(receiver.next()).await, Err(end.clone()));
        assert_eq!(within(receiver.next()).await, Err(end.clone()));
        assert_eq!(within(self.at_node.closed()).await, end);
        let RawError::ApplicationClosed(close) = within(self.raw.closed()).await else {
            panic!("not told")
        };
        assert_eq!(close.error_code.into_inner(), 3, "{}", CloseCode::Protocol);
        assert_eq!(String::from_utf8_lossy(&close.reason), violation.to_string());
    }
}

#[tokio::test]
async fn a_message_above_the_limit() {
    for channel in Channel::ALL {
        let limit = limits().frames.of(channel);
        for len in [limit + 1, u32::MAX] {
            let guest = guest().await;
            let mut bytes = vec![channel as u8];
            bytes.extend(len.to_be_bytes());
            let _stream = guest.stream(&bytes).await;
            guest.broke(Violation::TooLong { channel, len, limit }).await;
        }
    }
}

#[tokio::test]
async fn a_channel_that_there_is_not() {
    for byte in [4, 0xff] {
        let guest = guest().await;
        let _stream = guest.stream(&[byte]).await;
        guest.broke(Violation::UnknownChannel(byte)).await;
    }
}

#[tokio::test]
async fn a_second_stream_for_a_channel() {
    let guest = guest().await;
    let _streams = (guest.stream(&[2]).await, guest.stream(&[2]).await);
    guest.broke(Violation::SecondStream(Channel::Sync)).await;
}

#[tokio::test]
async fn a_stream_that_ends() {
    for bytes in [&[][..], &[1], &[1, 0], &[1, 0, 0, 0, 9, 1, 2]] {
        let guest = guest().await;
        guest.stream(bytes).await.finish().unwrap();
        guest.broke(Violation::StreamEnded).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_reset() {
    let guest = guest().await;
    guest.stream(&[1, 0, 0, 0, 9]).await.reset(7u32.into()).unwrap();
    guest.broke(Violation::StreamEnded).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read() {
    let guest = guest().await;
    within(guest.at_node.sender().send(Channel::Gossip, vec![1])).await.unwrap();
    let mut stream = within(guest.raw.accept_uni()).await.unwrap();
    stream.stop(1u32.into()).unwrap();
    // It is noticed when something more is to be written.
    while within(guest.at_node.sender().send(Channel::Gossip, vec![1])).await.is_ok() {}
    guest.broke(Violation::StreamEnded).await;
}

#[tokio::test]
async fn datagrams_are_not_taken() {
    let guest = guest().await;
    assert_eq!(guest.raw.max_datagram_size(), None);
}

#[tokio::test]
async fn streams_beyond_those_of_the_channels_cannot_be_opened() {
    let guest = guest().await;
    let mut streams = Vec::new();
    for channel in Channel::ALL {
        streams.push(guest.stream(&[channel as u8]).await);
    }
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(guest.raw.open_uni()).poll(&mut cx).is_pending());
    assert!(pin!(guest.raw.open_bi()).poll(&mut cx).is_pending());
}
