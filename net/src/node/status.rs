//! How a node and its peers are doing.

use std::net::SocketAddr;
use std::time::Duration;

use quipu_merge::AuthorKey;

use super::address::Place;
use super::certify::CertificationStatus;

/// How a node is doing. Counts are since it started, or its key changed.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Its key.
    pub key: AuthorKey,
    /// Where it listens.
    pub listen: SocketAddr,
    /// For how long it has been running.
    pub up: Duration,
    /// Its peers, ascending by key: those that are connected, and those that it would like to be.
    pub peers: Vec<PeerStatus>,
    /// Events that came from peers and were admitted.
    pub events_in: u64,
    /// Events that were sent to peers.
    pub events_out: u64,
    /// What peers have done that honest ones do not do, by what it was; ascending.
    pub misbehaviour: Vec<(&'static str, u64)>,
    /// Events of authors that hold no role that came faster than they are taken, each as often as it came:
    /// see [`NodeOptions::quota`](super::NodeOptions::quota).
    pub deferred: u64,
    /// How many of them wait to be taken. Others are asked for again.
    pub deferred_waiting: usize,
    /// Connections that were refused: strangers, and those that failed to prove their key.
    pub refused: u64,
    /// Values that are known to be missing here and wanted, up to a thousand.
    pub lacking: usize,
    /// Whether all that is wanted is known, and everybody who is there has said that it does not have
    /// what is lacking.
    pub settled: bool,
    /// Values that are missing and not wanted, when they were last counted: see
    /// [`NodeOptions::only`](super::NodeOptions::only).
    pub left_out: u64,
    /// How far the events have come that precede the checkpoint from which the store starts; nothing where
    /// none are to come.
    pub filling: Option<FillingStatus>,
    /// Where certification stands.
    pub certification: CertificationStatus,
}

/// How far the events have come that precede a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillingStatus {
    /// How many have come.
    pub events: u64,
    /// How many there are.
    pub total: u64,
    /// Whether all that belongs to them is on the disk, and counts when the ledger is opened next.
    pub whole: bool,
}

impl NodeStatus {
    /// A node that has just started.
    pub(super) const fn new(key: AuthorKey, listen: SocketAddr) -> Self {
        Self {
            key,
            listen,
            up: Duration::ZERO,
            peers: Vec::new(),
            events_in: 0,
            events_out: 0,
            misbehaviour: Vec::new(),
            deferred: 0,
            deferred_waiting: 0,
            refused: 0,
            lacking: 0,
            settled: false,
            left_out: 0,
            filling: None,
            certification: CertificationStatus::none(),
        }
    }
}

/// How it stands with one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its key.
    pub key: AuthorKey,
    /// Whether somebody asked for it to be kept; otherwise it was heard of, or dialled in.
    pub kept: bool,
    /// Where it may be reached, the best first.
    pub places: Vec<Place>,
    /// Whether it is there.
    pub state: PeerState,
    /// Bytes received from it and sent to it, on all connections since the node started.
    pub received_bytes: u64,
    /// See `received_bytes`.
    pub sent_bytes: u64,
    /// Events that came from it and were admitted.
    pub events_in: u64,
    /// Events that were sent to it.
    pub events_out: u64,
}

/// Whether a peer is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It is.
    Connected {
        /// For how long.
        since: Duration,
        /// From where.
        address: SocketAddr,
        /// Whether it dialled.
        inbound: bool,
        /// How long ago all that it had was known to be here; zero where it is known to have nothing
        /// else. It is looked at every five seconds, and after each pull.
        lag: Duration,
        /// The time that a question and its answer take.
        round_trip: Duration,
        /// How far its clock is ahead of this node's, in microseconds.
        clock_ahead: i64,
    },
    /// It is being dialled.
    Dialling,
    /// It could not be reached, and is dialled again later.
    Waiting {
        /// When.
        retry_in: Duration,
        /// Why it could not be reached.
        why: String,
    },
    /// It is not known where it is.
    Away,
}
