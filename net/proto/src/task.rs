//! What a node asks of its store, and the answers.

use quipu_merge::{EventId, Height};

use crate::certify::Certified;
use crate::frontier::{LaneTips, Placed};
use crate::message::{Item, Packet, Start, StartFile, Want};

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
    /// What a replica may start from, at the last checkpoint that counts. Where that takes a while, it is
    /// begun, and the answer is [`Start::Later`].
    Start {
        /// Comes back with the answer.
        ticket: Ticket,
    },
    /// A part of a file to start from.
    ReadStart {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The file, as it was answered.
        file: StartFile,
        /// Where the part begins, in bytes.
        offset: u64,
        /// So many bytes, or those up to the end of the file.
        max_len: usize,
    },
    /// What precedes a checkpoint: events in the order of the certified log, and after the last of each
    /// certified cut its checkpoint.
    ReadHistory {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The place of the first event in the log.
        from: u64,
        /// The checkpoint.
        up_to: Height,
        /// So many bytes, or one event.
        max_len: usize,
    },
    /// Check what precedes the checkpoint that this replica has started from, as far as it can be
    /// checked, and take it in.
    TakeHistory {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The place of the first event in the log: where it goes on.
        from: u64,
        /// The events and checkpoints. A checkpoint certifies as many events as it says; who has signed is
        /// not checked.
        entries: Vec<HistoryEntry>,
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
    /// To [`Task::Start`].
    Start(Start),
    /// To [`Task::ReadStart`]; nothing where the file is not there any more.
    StartPart(Option<Vec<u8>>),
    /// To [`Task::ReadHistory`]; nothing where it cannot be had here.
    History(Option<Vec<HistoryEntry>>),
    /// To [`Task::TakeHistory`].
    HistoryTaken {
        /// Where it goes on: the place of the next event. After something false it may be farther back.
        next: u64,
        /// Whether all of it was taken. If not, it does not lead to what is certified, or what was taken
        /// since the last checkpoint does not.
        good: bool,
    },
    /// The store could not do it: the disk is full, say. Nothing has changed.
    Failed,
}

/// What history consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryEntry {
    /// The next event of the certified log.
    Event(Packet),
    /// The checkpoint whose cut ends with the event before.
    Checkpoint(Box<Certified>),
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
