//! What keeps two peers in step.

use minicbor::{Decode, Encode};
use quipu_merge::{EventId, Micros};

use crate::frontier::FrontierDigest;
use crate::wire;

/// The version of the protocol that is spoken here.
pub const VERSION: Version = Version { major: 1, minor: 3 };

/// A version of the protocol. Peers of one major version understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Version {
    /// Differs where peers cannot talk.
    #[n(0)]
    pub major: u16,
    /// Grows with what is added. The lesser of both is spoken.
    #[n(1)]
    pub minor: u16,
}

impl Version {
    /// Whether entries of frontiers are told apart by marks, authors are named by the first bytes of their
    /// keys, and events that have been told of by their place in that.
    pub(crate) const fn is_brief(self) -> bool {
        self.minor >= 2
    }

    /// Whether starts and what precedes them can be asked for.
    pub(crate) const fn gives_history(self) -> bool {
        self.minor >= 3
    }
}

/// Who speaks, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The version that is spoken.
    #[n(0)]
    pub version: Version,
    /// The ledger.
    #[cbor(n(1), with = "wire::event")]
    pub ledger: EventId,
    /// The wall clock.
    #[cbor(n(2), with = "wire::micros")]
    pub time: Micros,
    /// Whether nobody can dial it where it comes from. Older peers do not say.
    #[cbor(n(3), default)]
    pub hidden: bool,
}

/// A question with the state of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ping {
    /// Comes back with the answer.
    #[n(0)]
    pub number: u64,
    /// The frontier.
    #[n(1)]
    pub frontier: FrontierDigest,
    /// The wall clock.
    #[cbor(n(2), with = "wire::micros")]
    pub time: Micros,
}
