//! A client that takes no notice of how many streams it may open.

use std::any::Any;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
};
use quinn::{ConnectError, ConnectionId, Side};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use quipu_net::{ConnectionError, PROTOCOL, Violation};

use crate::nodes::{node, within};
use crate::raw::{Shows, client_with, let_in, tls};

/// How many streams of each kind the client believes it may open.
const STREAMS: u8 = 40;
/// RFC 9000, section 18.2.
const INITIAL_MAX_STREAMS_BIDI: u64 = 0x08;
const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;

struct Cheat(Arc<QuicClientConfig>);

impl ClientConfig for Cheat {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let session = self.0.clone().start_session(version, server_name, params)?;
        Ok(Box::new(Cheating(session)))
    }
}

/// TLS as it is, but for what it makes of the node's parameters.
struct Cheating(Box<dyn Session>);

impl Session for Cheating {
    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(told) = self.0.transport_parameters()? else { return Ok(None) };
        let mut bytes = Vec::new();
        told.write(&mut bytes);
        let bytes = with_more_streams(&bytes);
        Ok(Some(TransportParameters::read(Side::Client, &mut &bytes[..]).unwrap()))
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.0.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.0.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.0.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.0.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.0.read_handshake(buf)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.0.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.0.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.0.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.0.export_keying_material(output, label, context)
    }
}

/// Reads a variable-length integer (RFC 9000, section 16).
fn varint(bytes: &mut &[u8]) -> u64 {
    let len = 1 << (bytes[0] >> 6);
    let (number, rest) = bytes.split_at(len);
    *bytes = rest;
    let first = u64::from(number[0] & 0x3f);
    number[1..].iter().fold(first, |value, byte| value << 8 | u64::from(*byte))
}

fn with_more_streams(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let whole = bytes;
        let id = varint(&mut bytes);
        let len = usize::try_from(varint(&mut bytes)).unwrap();
        bytes = &bytes[len..];
        if ![INITIAL_MAX_STREAMS_BIDI, INITIAL_MAX_STREAMS_UNI].contains(&id) {
            out.extend(&whole[..whole.len() - bytes.len()]);
        }
    }
    for id in [INITIAL_MAX_STREAMS_BIDI, INITIAL_MAX_STREAMS_UNI] {
        out.extend([u8::try_from(id).unwrap(), 1, STREAMS]);
    }
    out
}

/// What becomes of a client that opens a stream that it may not open.
async fn beyond(open: impl AsyncFn(&quinn::Connection)) {
    let node = node(2);
    let tls = QuicClientConfig::try_from(tls(Shows::Key(1), &[PROTOCOL])).unwrap();
    let client = client_with(quinn::ClientConfig::new(Arc::new(Cheat(Arc::new(tls)))));
    let raw = within(let_in(&client, &node)).await.unwrap();
    let mut at_node = within(node.accept()).await.unwrap();
    open(&raw).await;
    let end = ConnectionError::Violation(Violation::Stream);
    assert_eq!(within(at_node.receiver().next()).await, Err(end.clone()));
    assert_eq!(at_node.closed().await, end);
    let told = within(raw.closed()).await;
    let quinn::ConnectionError::ConnectionClosed(close) = told else { panic!("{told}") };
    assert_eq!(close.error_code, quinn::TransportErrorCode::STREAM_LIMIT_ERROR);
}

#[tokio::test]
async fn a_bidirectional_stream_ends_the_connection() {
    beyond(async |raw| {
        let (mut stream, _) = raw.open_bi().await.unwrap();
        // It may be over before this is written.
        let _ = stream.write_all(&[0]).await;
    })
    .await;
}

#[tokio::test]
async fn more_streams_than_channels_end_the_connection() {
    beyond(async |raw| {
        let mut streams = Vec::new();
        for channel in 0..5 {
            let mut stream = raw.open_uni().await.unwrap();
            let _ = stream.write_all(&[channel]).await;
            streams.push(stream);
        }
        raw.closed().await;
    })
    .await;
}
