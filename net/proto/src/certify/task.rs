//! What is asked of the store, and the answers.

use quipu_merge::{AuthorKey, Checkpoint, EventId, Height};

use super::parts::{Certified, Parts};
use crate::task::Ticket;

/// What a validator has reported to hold: its last two reports together. Events in it that are not
/// held here are to be passed over.
pub type Reports = Vec<(AuthorKey, Vec<EventId>)>;

/// What is asked of the store. Each is answered once, in any order. "The last checkpoint" is the
/// last that the store has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertifyTask {
    /// Whether a cut that is chosen as for [`Self::Choose`] would hold more than the last checkpoint.
    /// Nothing is derived for it.
    Grows {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What the validators of this height report.
        reports: Reports,
        /// How many of them are more than two thirds.
        quorum: usize,
    },
    /// Choose a cut and derive the next checkpoint: on each branch up to the `quorum`-th largest
    /// position that validators report (who reports an event holds what precedes it), as far as it is
    /// held here and due, together with all of the last checkpoint. So more than a third hold each
    /// event of it and do not lie.
    Choose {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What the validators of this height report.
        reports: Reports,
        /// How many of them are more than two thirds.
        quorum: usize,
    },
    /// Derive a checkpoint that has been proposed, from the heads of its cut and what is held here.
    Derive {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The checkpoint.
        parts: Box<Parts>,
    },
    /// Derive a certified checkpoint, the one after the last, and keep it: with its blocks and its
    /// certificate, durably and at once, so that it is the last from then on.
    Keep {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The checkpoint.
        certified: Box<Certified>,
    },
    /// Checkpoints that are kept, from a height on.
    Read {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The first.
        from: Height,
        /// So many at most.
        count: usize,
        /// So many bytes at most, or one.
        max_len: usize,
    },
}

/// What the store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertifyAnswer {
    /// To [`CertifyTask::Grows`].
    Grows(bool),
    /// To [`CertifyTask::Choose`]: nothing where the cut would not be larger.
    Chosen(Option<Box<Parts>>),
    /// To [`CertifyTask::Grows`] and [`CertifyTask::Choose`]: what the cut would hold more is not due yet. It
    /// is asked again.
    NotDue,
    /// To [`CertifyTask::Derive`], and to [`CertifyTask::Keep`]: kept only where it is the same.
    Derived(Derived),
    /// To [`CertifyTask::Read`].
    Read(Vec<Certified>),
    /// The store could not do it: the disk is full, say. Nothing has changed. It is asked again.
    Failed,
}

/// What has been derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Derived {
    /// The same.
    Same,
    /// Events of the cut are not held here, or not due.
    Lacks,
    /// Something else, whatever events will come; this checkpoint, if the cut has one.
    Differs(Option<Box<Checkpoint>>),
}
