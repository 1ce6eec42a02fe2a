//! The node: replicates a ledger with its peers.
//!
//! `core` is the one task that decides, by asking the protocol (`quipu_proto`): `meeting` is about
//! connections that come and go, `commands` about what the embedder asks for. `connected` and
//! `outgoing` carry messages, `work` does what the store is asked for on threads of its own, `book` and
//! `dialling` know where peers are and when to call them, `allowed` who may call. `handle` is what the
//! embedder holds, `fetch` gets what it reads, and `run` starts the task anew when the replica's key
//! changes; `opened` is what each time begins with. `certify` drives certification. `join` and `start` make replicas
//! of what peers have.

mod address;
mod allowed;
mod book;
mod certify;
mod clock;
mod commands;
mod connected;
mod convert;
mod core;
mod dial;
mod dialling;
mod error;
mod fetch;
mod handle;
mod join;
mod key;
mod meeting;
mod opened;
mod options;
mod outgoing;
mod overview;
mod run;
mod skew;
mod start;
mod status;
mod syncing;
mod work;

pub use address::{PeerAddress, PeerAddressError, Place};
pub use book::{BookError, KnownPeer, MAX_HEARD, MAX_PLACES, PeerBook};
pub use certify::{
    CertificationStatus, EvidenceInfo, Finality, TIME_BOUNDS, Times, WaitError, evidence,
};
pub use error::{JoinError, StartError, SyncError};
pub use fetch::{FetchError, Fetcher};
pub use handle::{Node, NodeError, Synced};
pub use join::join;
pub use options::NodeOptions;
pub use start::start_from;
pub use status::{FillingStatus, NodeStatus, PeerState, PeerStatus};
