//! What a node asks of its store, and the answers.

use quipu_merge::EventId;

use crate::frontier::{LaneTips, Placed};
use crate::message::{Item, Packet, Want};

/// Ties an answer to its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A run through events for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedId(pub u64);

/// Which value: an operation of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValuePlace {
    /// The event.
    pub event: EventId,
    /// The index of the operation in its body.
    pub slot: u16,
}

/// What is asked of the store. Every task with a ticket is answered once, in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Of what is on offer, what is not held: up to which events, and which others of the same author
    /// are held. What is at hand and waits for nothing but its time counts as held. Of an author whose tip on offer is neither held nor later than all that is held,
    /// events farther back are named as well, so that the peer finds where the branches part.
    Plan {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The tips on offer.
        offered: Vec<LaneTips>,
    },
    /// Check these events and admit them, in this order; what misses ancestors waits in the store's
    /// pool.
    Admit {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The events.
        packets: Vec<Packet>,
    },
    /// Start a run through what is wanted, in an order that follows causality.
    Open {
        /// The run.
        feed: FeedId,
        /// What is wanted.
        wants: Vec<Want>,
    },
    /// The next events of a run.
    Read {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The run.
        feed: FeedId,
        /// So many bytes, or one event.
        max_len: usize,
    },
    /// The run is no longer needed.
    Close {
        /// The run.
        feed: FeedId,
    },
    /// What of values is not at hand and could be had: openings that did not come along, and blocks of
    /// long values that are wanted here. Value by value, in an order of the store's own.
    Lacking {
        /// Comes back with the answer.
        ticket: Ticket,
        /// Go on after this value, which an answer has named.
        after: Option<ValuePlace>,
        /// About so many: what one value lacks is not divided.
        limit: usize,
    },
    /// Something of a value.
    Provide {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What is asked for.
        item: Item,
    },
    /// Check this and take it in. A block is what its id says; whether an opening is, the store
    /// knows.
    Take {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What it is.
        item: Item,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Which of these events are not held.
    Missing {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The ids.
        events: Vec<EventId>,
    },
    /// These events, as far as they are held.
    Fetch {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The ids.
        events: Vec<EventId>,
        /// So many bytes at most; the rest is left out.
        max_len: usize,
    },
}

/// What the store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Task::Plan`]: what is to be asked for.
    Plan(Vec<Want>),
    /// To [`Task::Admit`]: what has become of each event, in their order.
    Admitted {
        /// What has become of each.
        outcomes: Vec<Outcome>,
        /// All that is held now and was not before, in the order of admission: those that had been
        /// waiting included.
        new: Vec<Placed>,
    },
    /// To [`Task::Read`]: the next events, and whether they are the last.
    Read {
        /// The events.
        packets: Vec<Packet>,
        /// Whether the run has ended.
        last: bool,
    },
    /// To [`Task::Lacking`].
    Lacking {
        /// What is lacking.
        items: Vec<Item>,
        /// The last value that was looked at, where there may be more after it.
        next: Option<ValuePlace>,
    },
    /// To [`Task::Provide`]; nothing where it is not at hand or has been erased.
    Provided(Option<Vec<u8>>),
    /// To [`Task::Take`]: whether it was what it ought to be.
    Taken(bool),
    /// To [`Task::Missing`].
    Missing(Vec<EventId>),
    /// To [`Task::Fetch`].
    Fetched(Vec<Packet>),
    /// The store could not do it: the disk is full, say. Nothing has changed.
    Failed,
}

/// What has become of an event that was to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is held from now on.
    Admitted,
    /// It was held before.
    Known,
    /// It waits for others, or for its time.
    Waits,
    /// It breaks a rule that no honest peer breaks.
    Refused(String),
}
