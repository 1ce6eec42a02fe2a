//! Getting what is missing.

use minicbor::{Decode, Encode};
use quipu_merge::EventId;

use super::event::Packet;
use crate::frontier::Tip;
use crate::wire;

/// Up to which events of an author something is wanted, and from where on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Want {
    /// The last events that are wanted, with what precedes them.
    #[cbor(n(0), with = "wire::events")]
    pub up_to: Vec<EventId>,
    /// Events of the same author that are held, with what precedes them.
    #[n(1)]
    pub held: Vec<Tip>,
}

impl Want {
    /// The most that its encoding may take, in bytes.
    pub(crate) const fn max_len(&self) -> usize {
        12 + self.up_to.len() * 34 + self.held.len() * Tip::MAX_LEN
    }
}

/// Asks for events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pull {
    /// Its number.
    #[n(0)]
    pub pull: u64,
    /// What is wanted.
    #[n(1)]
    pub wants: Vec<Want>,
}

/// Asks for events, some of which have been told of in a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PullTold {
    /// The number of the pull.
    #[n(0)]
    pub pull: u64,
    /// The comparison.
    #[n(1)]
    pub round: u64,
    /// Where, among the entries with one branch that it was told in this comparison, from 0, those are that
    /// are wanted, up to what the own entry of that author has told.
    #[n(2)]
    pub told: Vec<u64>,
    /// What else is wanted.
    #[n(3)]
    pub wants: Vec<Want>,
}

/// Events that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Batch {
    /// The number of the pull.
    #[n(0)]
    pub pull: u64,
    /// The events.
    #[n(1)]
    pub events: Vec<Packet>,
}

/// There are no more events for a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct End {
    /// The number of the pull.
    #[n(0)]
    pub pull: u64,
    /// Whether all has been sent that was asked for.
    #[n(1)]
    pub whole: bool,
}

/// What a pull may go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Credit {
    /// The number of the pull.
    #[n(0)]
    pub pull: u64,
    /// Length of what has been admitted, in bytes.
    #[n(1)]
    pub bytes: u64,
}
