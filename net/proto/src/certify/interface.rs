//! What a certifier starts from, takes, and gives.

use std::time::Duration;

use quipu_merge::{AuthorKey, Chain, EventId, Height};

use super::evidence::Evidence;
use super::log::Mark;
use super::message::CertifyMessage;
use super::parts::Certified;
use super::status::Divergence;
use super::task::{CertifyAnswer, CertifyTask};
use crate::score::Misbehaviour;
use crate::task::Ticket;

/// How a node certifies.
#[derive(Clone, Debug)]
pub struct CertifyConfig {
    /// The key of this replica.
    pub me: AuthorKey,
    /// The ledger.
    pub ledger: EventId,
    /// Another number at every start, so that answers to questions of an earlier one do not count.
    pub number: u64,
    /// Whether it only follows, validator or not: for a node that is there for a while beside others. It
    /// signs nothing, logs nothing, and says nothing to those who ask what they have signed.
    pub follows: bool,
    /// The least time between two checkpoints.
    pub interval: Duration,
    /// What is waited for in a round.
    pub patience: Patience,
    /// Faults that tests must notice.
    #[doc(hidden)]
    pub sabotage: Sabotage,
}

impl CertifyConfig {
    /// A node with the usual times.
    pub fn new(me: AuthorKey, ledger: EventId, number: u64) -> Self {
        let (patience, sabotage) = (Patience::default(), Sabotage::default());
        let interval = Duration::from_secs(2);
        Self { me, ledger, number, follows: false, interval, patience, sabotage }
    }
}

/// How long is waited in a round before it goes on without what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a proposal.
    pub propose: Duration,
    /// For the votes that are missing when more than two thirds have voted.
    pub vote: Duration,
    /// So much longer for both in each further round.
    pub more: Duration,
    /// No longer than this.
    pub most: Duration,
    /// Until what has been said is said again.
    pub again: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            propose: Duration::from_secs(3),
            vote: Duration::from_secs(1),
            more: Duration::from_millis(500),
            most: Duration::from_secs(20),
            again: Duration::from_secs(2),
        }
    }
}

/// Faults that tests must notice.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sabotage {
    /// Sends before the log is durable.
    pub hasty: bool,
    /// Takes other roots for the same.
    pub blind: bool,
    /// Takes two thirds for more than that.
    pub two_thirds: bool,
    /// Obeys timers of rounds and heights that are over.
    pub stale_timers: bool,
}

/// What a node starts from.
#[derive(Debug)]
pub struct CertifyStart {
    /// The checkpoints that are kept.
    pub chain: Chain,
    /// The last of them.
    pub tip: Option<Certified>,
    /// The validators of its height. Without one, nobody.
    pub certifiers: Vec<AuthorKey>,
    /// What has been logged.
    pub log: Log,
    /// The mark that was made durable last, wherever it is kept. Without one, a log counts as lost.
    pub mark: Option<Mark>,
    /// The events that no other follows, of what is held here, at most
    /// [`MAX_REPORTED_HEADS`](super::MAX_REPORTED_HEADS) of them.
    pub heads: Vec<EventId>,
}

/// What a store knows of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// The key was made with this store, which has never appended anything for it.
    New,
    /// All that was appended and not trimmed, in order: nothing is missing but what was not said to
    /// be durable.
    Kept(Vec<Vec<u8>>),
    /// It may not be all: the store is a copy, was restored, or has lost something.
    Lost,
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum CertifyInput {
    /// A peer is there that speaks of certification; its key has been proven.
    Connected(AuthorKey),
    /// A peer is gone.
    Disconnected(AuthorKey),
    /// A peer has sent a message.
    Received(AuthorKey, Box<CertifyMessage>),
    /// The store has done a task.
    Done(Ticket, CertifyAnswer),
    /// The log is durable up to this entry, and so is its mark.
    Durable(u64),
    /// These are the events now that no other follows, of what is held here, at most
    /// [`MAX_REPORTED_HEADS`](super::MAX_REPORTED_HEADS) of them.
    Heads(Vec<EventId>),
    /// A checkpoint counts at the store that has come another way: in a file, say. Where it is not the
    /// next, it is passed over.
    Counted(Box<Certified>),
    /// Somebody who answers for it says that this key has signed nothing but what the log holds.
    Vouched,
    /// It is later.
    Tick,
}

/// What a node wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertifyOutput {
    /// A message is to be sent. Who is not there does not get it.
    Send(Vec<AuthorKey>, CertifyMessage),
    /// An entry is to be appended to the log, after all before it. When it is durable, and so is its
    /// mark, that is to be said. Several may be made durable at once.
    Append {
        /// Its number: one more than that of the one before, from 1 at every start.
        entry: u64,
        /// Its height.
        height: Height,
        /// The entry.
        bytes: Vec<u8>,
        /// Takes the place of the mark, outside of the database.
        mark: Option<Mark>,
    },
    /// Entries of heights below this are not needed any more.
    Trim(Height),
    /// The store is to do something.
    Do(CertifyTask),
    /// A checkpoint is certified and kept.
    Certified(Box<Certified>),
    /// Another validator has signed what it must not. After a start it may be told again.
    Evidence(Evidence),
    /// The ledger has two histories. Nothing is certified here any more.
    Diverged(Box<Divergence>),
    /// A peer has done what an honest one does not do.
    Misbehaved(AuthorKey, Misbehaviour),
}
