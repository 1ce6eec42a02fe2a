//! What both halves of a connection share.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quipu_merge::AuthorKey;
use tokio::sync::mpsc;

use super::cause;
use super::channel::PerChannel;
use super::close::CloseCode;
use super::error::{ConnectionError, Violation};
use super::limits::FrameLimits;
use super::verify::Admission;

/// A connection as QUIC has it, and how this side ended it.
pub(crate) struct Wire {
    pub quic: quinn::Connection,
    here: OnceLock<ConnectionError>,
}

impl Wire {
    pub fn new(quic: quinn::Connection) -> Arc<Self> {
        Arc::new(Self { quic, here: OnceLock::new() })
    }

    /// Ends the connection, unless it has ended.
    pub fn close(&self, code: CloseCode, reason: &str) {
        // The first word stands; QUIC ignores later ones too.
        let _ = self.here.set(ConnectionError::ClosedHere { code, reason: reason.to_owned() });
        self.quic.close(code.to_wire(), reason.as_bytes());
    }

    /// Ends the connection with a peer that broke the rules.
    pub fn violated(&self, violation: Violation) -> ConnectionError {
        let (code, words) = cause::of_violation(&violation);
        let error = self.here.get_or_init(|| violation.into());
        self.quic.close(code, words.as_bytes());
        self.ended().unwrap_or_else(|| error.clone())
    }

    /// Why the connection has ended, if it has.
    pub fn ended(&self) -> Option<ConnectionError> {
        Some(cause::of_connection(self.quic.close_reason()?, self.here.get()))
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) -> ConnectionError {
        cause::of_connection(self.quic.closed().await, self.here.get())
    }
}

/// Bytes of UDP payload, with all that QUIC adds and repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Sent to the peer.
    pub sent: u64,
    /// Received from the peer.
    pub received: u64,
}

/// What can be asked of a connection, and how it is closed, whichever part of it one has.
///
/// [`Connection`](crate::Connection), [`Sender`](crate::Sender) and
/// [`Receiver`](crate::Receiver) all deref to this.
pub struct Link {
    pub(crate) wire: Arc<Wire>,
    pub(crate) peer: AuthorKey,
    pub(crate) admission: Admission,
    pub(crate) frames: FrameLimits,
    /// Where the task that writes takes messages from.
    pub(crate) queues: PerChannel<mpsc::Sender<Bytes>>,
}

impl Link {
    /// Whose connection this is. The peer has proved that it has the key.
    pub const fn peer(&self) -> AuthorKey {
        self.peer
    }

    /// Where the peer is. It may change while the connection lasts.
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.wire.quic.remote_address())
    }

    /// How long a packet and its answer take, as estimated now.
    pub fn rtt(&self) -> Duration {
        self.wire.quic.rtt()
    }

    /// What has gone over the network so far.
    pub fn traffic(&self) -> Traffic {
        let stats = self.wire.quic.stats();
        Traffic { sent: stats.udp_tx.bytes, received: stats.udp_rx.bytes }
    }

    /// Whether the peer is admitted now. Being dialled by this node does not make it so.
    ///
    /// Nobody is disconnected by itself when [`Admission`] changes its mind: ask, and
    /// [`close`](Self::close) with [`CloseCode::NotAllowed`].
    pub fn admitted(&self) -> bool {
        (self.admission)(self.peer)
    }

    /// Ends the connection at once and tells the peer why; does nothing if it has ended.
    ///
    /// What has been sent and not yet arrived is lost, so the side that receives last closes.
    /// Of the reason the peer keeps 200 characters.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.wire.close(code, reason);
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> ConnectionError {
        self.wire.closed().await
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (peer, address) = (self.peer, self.remote_address());
        f.debug_struct("Link")
            .field("peer", &peer)
            .field("address", &address)
            .finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.wire.close(CloseCode::Done, "");
    }
}

/// IPv4 addresses as such, also where they come through an IPv6 socket.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
