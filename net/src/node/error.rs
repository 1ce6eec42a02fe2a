//! What can go wrong with a node.

use std::io;
use std::path::PathBuf;

use quipu_merge::EventId;
use quipu_proto::Version;
use quipu_store::{FillError, IdentityError, OpenError, ReadError};

use super::address::PeerAddress;
use super::book::BookError;
use crate::{BindError, ConnectError};

/// A node cannot start. Nothing runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The replica's key, with which it proves who it is, cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address book.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The store.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// What has come of what precedes the store's checkpoint cannot be opened.
    #[error(transparent)]
    Fill(Box<FillError>),
}

impl From<FillError> for StartError {
    fn from(error: FillError) -> Self {
        Self::Fill(Box::new(error))
    }
}

/// What a peer has could not be had, or not all of it. What has come stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The peer's host has no address.
    #[error("{place}: {why}")]
    Resolve {
        /// The place that was given.
        place: String,
        /// What the system says.
        why: String,
    },
    /// It cannot be reached, or does not let this node in.
    #[error("{peer}: {why}")]
    Connect {
        /// Who was dialled.
        peer: PeerAddress,
        /// Why there is no connection.
        why: Box<ConnectError>,
    },
    /// The connection ended before all had come.
    #[error("the connection with {peer} ended before all had come: {why}")]
    Ended {
        /// With whom.
        peer: PeerAddress,
        /// Why.
        why: String,
    },
    /// It serves another ledger.
    #[error("{peer} serves another ledger")]
    OtherLedger {
        /// Who.
        peer: PeerAddress,
    },
    /// Nothing has come for a minute.
    #[error("{peer} has sent nothing for a minute")]
    Stalled {
        /// Who.
        peer: PeerAddress,
    },
    /// The store here could not take in what came; its errors tell why.
    #[error("what {peer} sent could not be taken in: the store failed")]
    Store {
        /// Who sent it.
        peer: PeerAddress,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// A replica could not be made from a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The peer could not be talked to. The new replica's key is kept for the next attempt.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// The peer does not send the first event of the ledger.
    #[error("{peer} does not send the first event of ledger {ledger}")]
    NoGenesis {
        /// Who was asked.
        peer: PeerAddress,
        /// The ledger that it serves.
        ledger: EventId,
    },
    /// It serves another ledger than the one that was asked for.
    #[error("{peer} serves ledger {found}, not {expected}")]
    OtherLedger {
        /// Who was asked.
        peer: PeerAddress,
        /// What it serves.
        found: EventId,
        /// What was asked for.
        expected: EventId,
    },
    /// The peer speaks a version that knows of no starts from checkpoints.
    #[error(
        "{peer} speaks version {}.{} of the protocol, without starts from a checkpoint: clone all of it",
        version.major,
        version.minor
    )]
    Older {
        /// Who was asked.
        peer: PeerAddress,
        /// The version.
        version: Version,
    },
    /// The peer has no checkpoint to start from.
    #[error(
        "{peer} has no checkpoint to start from: nothing is certified there, or it has not all that precedes it"
    )]
    NoStart {
        /// Who was asked.
        peer: PeerAddress,
    },
    /// There is not enough room for the file to start from. Nothing has been fetched.
    #[error("starting takes a file of {len} bytes, and only {room} may be written here")]
    NoRoom {
        /// The length of the file, in bytes.
        len: u64,
        /// How many bytes may be written.
        room: u64,
    },
    /// The file to start from cannot be written here.
    #[error("{}: {why}", path.display())]
    File {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// The replica cannot be made here.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The node that fetches the rest cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
}
