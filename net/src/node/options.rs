//! How a node is to run.

use std::net::SocketAddr;
use std::time::Duration;

use quipu_proto::Quota;

use super::address::{PeerAddress, Place};
use crate::Limits;

/// How a node is to run. Begin with [`NodeOptions::new`] and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeOptions {
    /// The UDP address that it listens on.
    pub listen: SocketAddr,
    /// Whether others may dial it.
    pub accept: bool,
    /// Peers to be connected to: they are entered in the address book.
    pub join: Vec<PeerAddress>,
    /// Where others may reach it, which peers tell each other. Without it they tell from where it
    /// dialled them, which is the same socket, if others may dial it.
    pub announce: Vec<Place>,
    /// Only blocks of long values below these keys are fetched; of all unless set. Events come all the
    /// same, and other values when they are read.
    pub only: Option<Vec<String>>,
    /// Whether it dials peers by itself: those of the address book, and those that it hears of.
    pub dial: bool,
    /// Whether what precedes the checkpoint from which the store starts is fetched, where it is to be had
    /// ([`Below`](quipu_store::Below)).
    pub fill: bool,
    /// How fast events of authors that hold no role are taken from peers, in a ledger that is open;
    /// without it, as fast as they come. They all come in the end.
    pub quota: Option<Quota>,
    /// What peers may make it hold.
    pub limits: Limits,
    /// The least time between two checkpoints, where this replica is a validator.
    pub interval: Duration,
}

impl NodeOptions {
    /// A node that listens, dials, and wants everything.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            accept: true,
            join: Vec::new(),
            announce: Vec::new(),
            only: None,
            dial: true,
            fill: true,
            quota: Some(Quota::default()),
            limits: Limits::default(),
            interval: Duration::from_secs(2),
        }
    }

    /// A node that only talks to whom it is told to, and takes what they have as fast as it comes.
    pub fn visitor(listen: SocketAddr) -> Self {
        Self { accept: false, dial: false, fill: false, quota: None, ..Self::new(listen) }
    }

    /// Whether it dials only whom it is told to, and lets nobody in.
    pub(super) const fn is_visitor(&self) -> bool {
        !self.dial && !self.accept
    }
}
