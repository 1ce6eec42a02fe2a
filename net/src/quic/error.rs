//! What can go wrong, by family of operations. Each error names the culprit.

use std::net::SocketAddr;

use quipu_merge::AuthorKey;
use quipu_proto::Channel;

use super::close::CloseCode;
use super::gate::Full;
use super::identity::SignError;
use super::limits::LimitsError;

/// An endpoint cannot be made. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The caller's limits leave no working endpoint.
    #[error("these limits do not work: {0}")]
    Limits(#[from] LimitsError),
    /// The caller is not inside a tokio runtime.
    #[error("an endpoint needs a tokio runtime to live in")]
    NoRuntime,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Address {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// TLS or QUIC cannot be set up; not the caller's doing.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// A node that was dialled is not connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This endpoint is closed.
    #[error("this endpoint is closed")]
    EndpointClosed,
    /// This endpoint cannot reach such an address, as an IPv4 one cannot reach IPv6.
    #[error("{0} cannot be dialled from here")]
    Address(SocketAddr),
    /// This node's own key cannot sign.
    #[error(transparent)]
    OwnKey(#[from] SignError),
    /// Another node answers at the address. Nothing was said to it.
    #[error("another node answers: its key is {found}, not {expected}")]
    WrongKey {
        /// The key that was asked for.
        expected: AuthorKey,
        /// The key that was shown. It is not proved.
        found: AuthorKey,
    },
    /// The peer does not admit this node's key.
    #[error("the peer does not admit this node's key")]
    NotAllowed,
    /// The peer takes no more connections now, or none from here, or is about to stop.
    #[error("the peer takes no more connections now")]
    TooMany,
    /// What answers is no node, or one that speaks another version.
    #[error("the peer does not speak {}", super::tls::PROTOCOL)]
    Protocol,
    /// What answers does not identify itself as nodes do, or finds that we do not.
    #[error("the peer and this node cannot agree on how to identify themselves")]
    NoRawKey,
    /// What answers does not have the key that it shows.
    #[error("another node answers with a key that it does not have")]
    BadKey,
    /// Nobody answered, or the peer did not let this node in in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection was lost before the peer had let this node in.
    #[error(transparent)]
    Lost(#[from] ConnectionError),
    /// QUIC or TLS cannot be set up; not the peer's doing.
    #[error("dialling failed here: {0}")]
    Internal(String),
}

/// A peer that dialled was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Its key is not admitted. It is not proved that the peer has it.
    #[error("the key {0} is not admitted")]
    NotAllowed(AuthorKey),
    /// It shows no key.
    #[error("it shows no key")]
    NoKey,
    /// It shows something that is no Ed25519 key, or a weak one, or does not have the key that it shows.
    #[error("it shows no valid key")]
    BadKey,
    /// It does not identify itself by a raw key.
    #[error("it does not identify itself by a raw public key")]
    NoRawKey,
    /// It does not speak this protocol.
    #[error("it does not speak {}", super::tls::PROTOCOL)]
    Protocol,
    /// There is too much of something.
    #[error("there are too many {0}")]
    TooMany(#[from] Full),
    /// It did not finish the handshake in time.
    #[error("it did not finish the handshake in time")]
    TimedOut,
    /// It expected another node here.
    #[error("it expected another node here")]
    WrongKey,
    /// This node's own key cannot sign.
    #[error(transparent)]
    OwnKey(#[from] SignError),
    /// The connection was lost before the handshake was done.
    #[error(transparent)]
    Lost(#[from] ConnectionError),
    /// QUIC or TLS cannot be set up; not the peer's doing.
    #[error("accepting failed here: {0}")]
    Internal(String),
}

/// A message is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The caller's message is too long. Nothing was sent of it, and the connection goes on.
    #[error("a message of {len} bytes on {channel:?}, where {limit} are allowed")]
    TooLong {
        /// Where it was to be sent.
        channel: Channel,
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be, in bytes.
        limit: u32,
    },
    /// The connection has ended. What was sent last may not have arrived.
    #[error(transparent)]
    Ended(#[from] ConnectionError),
}

/// Why a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer closed it.
    #[error("closed by the peer, {code}{}", after(reason))]
    Closed {
        /// Why.
        code: CloseCode,
        /// In the peer's words, made safe to print.
        reason: String,
    },
    /// This side closed it.
    #[error("closed by this side, {code}{}", after(reason))]
    ClosedHere {
        /// Why.
        code: CloseCode,
        /// In this side's words.
        reason: String,
    },
    /// The endpoint that it belonged to was closed.
    #[error("this endpoint is closed")]
    EndpointClosed,
    /// The peer broke the rules, and was told.
    #[error("the peer broke the rules: {0}")]
    Violation(#[from] Violation),
    /// The peer's QUIC says that this side broke the rules, or gave up.
    #[error("ended by the peer's QUIC: {0}")]
    Aborted(String),
    /// Nothing was heard of the peer for too long: the network or the peer is down.
    #[error("nothing was heard of the peer for too long")]
    TimedOut,
    /// The peer is there, but does not know of the connection: it has been restarted.
    #[error("the peer has been restarted")]
    Reset,
    /// QUIC on this side cannot go on.
    #[error("QUIC failed here: {0}")]
    Internal(String),
}

/// What follows a code: the words that were given with it, if any were.
fn after(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// A rule that a peer broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A message is longer than its channel allows. Nothing of it was read.
    #[error("a message of {len} bytes on {channel:?}, where {limit} are allowed")]
    TooLong {
        /// Where.
        channel: Channel,
        /// The length announced, in bytes.
        len: u32,
        /// The length allowed, in bytes.
        limit: u32,
    },
    /// A stream is for a channel that there is not.
    #[error("a stream for channel {0}, which there is not")]
    UnknownChannel(u8),
    /// A second stream for a channel.
    #[error("a second stream for {0:?}")]
    SecondStream(Channel),
    /// More streams than channels, or a bidirectional one.
    #[error("a stream beyond those allowed")]
    Stream,
    /// A stream was ended, reset or refused, while the connection goes on.
    #[error("a stream was ended before the connection")]
    StreamEnded,
    /// QUIC's own rules.
    #[error("QUIC: {0}")]
    Quic(String),
}
