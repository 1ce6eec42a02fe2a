//! The node: replicates a ledger with its peers.

mod address;
mod status;

pub use address::{PeerAddress, PeerAddressError, Place};
pub use status::{NodeStatus, PeerState, PeerStatus};
