//! How much a peer may make this node hold, send or wait for.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, ValidationTokenConfig, VarInt};
use quipu_proto::Channel;

use super::channel::CHANNELS;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// Packets that may come before an incoming connection is looked at, in bytes for one and for all.
/// A client's first flight fits in a few packets.
const WAITING_BYTES: u64 = 16 * KIB as u64;
const WAITING_BYTES_TOTAL: u64 = MIB as u64;
/// Handshake messages that may come out of order, in bytes. With raw keys they take about one.
const HANDSHAKE_BYTES: usize = 8 * KIB as usize;

/// The longest message of each channel, in bytes. Peers must agree on them: a longer message is a
/// violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameLimits {
    /// On [`Channel::Control`].
    pub control: u32,
    /// On [`Channel::Gossip`].
    pub gossip: u32,
    /// On [`Channel::Sync`].
    pub sync: u32,
    /// On [`Channel::Blocks`].
    pub blocks: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            control: Channel::Control.max_frame(),
            gossip: Channel::Gossip.max_frame(),
            sync: Channel::Sync.max_frame(),
            blocks: Channel::Blocks.max_frame(),
        }
    }
}

/// How much a peer may make an endpoint hold, send or wait for. Begin with the default, and change
/// what should differ.
///
/// A connection holds at most four times [`Self::stream_window`] of what it received and nobody has
/// read, as much of what it sent and the peer has not acknowledged, twice the messages that are
/// being put together, and two messages per channel that wait to be sent. With the defaults that is
/// less than 30 MiB for a peer that does its worst on all channels, and some KiB for an idle one.
///
/// An *address* is an IPv4 address or the first 64 bits of an IPv6 address: whoever has one IPv6
/// address usually has all those that begin alike. Connections that this node dials are not
/// counted, so that nobody who dials it keeps it from dialling.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Unfinished handshakes of peers that dial (64).
    pub handshakes: usize,
    /// Unfinished handshakes of one address (8).
    pub handshakes_per_address: usize,
    /// From this many unfinished handshakes on (16), in all or half of
    /// [`Self::handshakes_per_address`] for one address, a peer must first show that it receives at
    /// the address it claims. So whoever forges addresses does not use up the rest.
    pub handshakes_unvalidated: usize,
    /// Connections of peers that dialled (128).
    pub connections: usize,
    /// Connections of peers that dialled from one address (16).
    pub connections_per_address: usize,
    /// How long a handshake may take, on either side (10 s).
    pub handshake_timeout: Duration,
    /// A connection of which nothing is heard for so long is lost (30 s).
    pub idle_timeout: Duration,
    /// When nothing is sent for so long, something is, to keep the connection (10 s). Below a third
    /// of the idle timeout two of these may be lost.
    pub keep_alive: Duration,
    /// What a peer may send on a channel before it is read, in bytes (1 MiB). It also bounds the
    /// speed of a channel to this per round trip.
    pub stream_window: u32,
    /// The longest messages.
    pub frames: FrameLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 64,
            handshakes_per_address: 8,
            handshakes_unvalidated: 16,
            connections: 128,
            connections_per_address: 16,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            stream_window: MIB,
            frames: FrameLimits::default(),
        }
    }
}

/// These limits leave no working endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// A keep-alive that comes later than the idle timeout keeps nothing.
    #[error("the keep-alive is not shorter than the idle timeout")]
    KeepAlive,
    /// QUIC counts the idle timeout in milliseconds below 2^62.
    #[error("the idle timeout is too long")]
    IdleTimeout,
    /// Nothing could ever be sent.
    #[error("the stream window is zero")]
    StreamWindow,
}

impl Limits {
    /// What QUIC is told. Streams are one per channel in each direction; whoever opens more, or a
    /// bidirectional one, breaks the protocol.
    pub(crate) fn transport(&self) -> Result<Arc<TransportConfig>, LimitsError> {
        if self.keep_alive >= self.idle_timeout {
            return Err(LimitsError::KeepAlive);
        }
        if self.stream_window == 0 {
            return Err(LimitsError::StreamWindow);
        }
        let idle =
            IdleTimeout::try_from(self.idle_timeout).map_err(|_| LimitsError::IdleTimeout)?;
        // Room for all channels at once, in both directions: one that is not read takes none of it
        // from the others.
        let window = u64::from(self.stream_window) * u64::from(CHANNELS);
        let mut config = TransportConfig::default();
        config
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(CHANNELS))
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX))
            .send_window(window)
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.keep_alive))
            .crypto_buffer_size(HANDSHAKE_BYTES)
            .datagram_receive_buffer_size(None)
            .datagram_send_buffer_size(0)
            // A bit that shows the round-trip time to whoever watches the network.
            .allow_spin(false);
        Ok(Arc::new(config))
    }

    /// Sets what holds for incoming connections alone.
    pub(crate) fn incoming(&self, config: &mut quinn::ServerConfig) {
        let mut tokens = ValidationTokenConfig::default();
        // Tokens would let a peer skip the proof of its address a week later.
        tokens.sent(0).log(Arc::new(quinn::NoneTokenLog));
        config
            .max_incoming(self.handshakes)
            .incoming_buffer_size(WAITING_BYTES)
            .incoming_buffer_size_total(WAITING_BYTES_TOTAL)
            .retry_token_lifetime(self.handshake_timeout)
            .validation_token_config(tokens)
            // A peer behind an address translator changes its port without knowing. Only one that
            // has been let in can move, and the new address is proved before much is sent to it.
            .migration(true);
    }
}
