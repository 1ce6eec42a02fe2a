//! What is known of one peer.

use quipu_merge::AuthorKey;

use crate::exchange::Exchange;
use crate::give::Giving;
use crate::limits::{MAX_CONTROL_FRAME, PATIENCE, PROBE_EVERY};
use crate::message::{Message, Version};
use crate::pull::Pulling;
use crate::score::Score;
use crate::serve::Serving;
use crate::time::Moment;

/// So many messages may overtake the greeting, which comes on a channel of its own.
const MAX_EARLY: usize = 16;

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    /// The version that is spoken with it, once it has greeted.
    pub version: Option<Version>,
    /// What came before its greeting.
    early: Vec<Message>,
    early_len: usize,
    /// The comparisons of frontiers.
    pub exchange: Exchange,
    /// Whether frontiers are to be compared as soon as may be.
    pub compare: bool,
    /// What comes from it.
    pub pulling: Pulling,
    /// What goes to it.
    pub serving: Serving,
    /// The values that it asks for.
    pub giving: Giving,
    /// What it has done wrong.
    pub score: Score,
    /// Its events that are being admitted.
    pub pushed: usize,
    /// Its questions for events that it was told of, which are being answered.
    pub grafting: usize,
    /// The number of the last question whether it is there, and when that was asked.
    pub asked: (u64, Moment),
    /// When it was heard of last.
    pub heard: Moment,
}

impl Peer {
    /// A peer that has just connected.
    pub fn new(me: AuthorKey, key: AuthorKey, now: Moment) -> Self {
        Self {
            version: None,
            early: Vec::new(),
            early_len: 0,
            exchange: Exchange::new(me, key),
            compare: true,
            pulling: Pulling::default(),
            serving: Serving::default(),
            giving: Giving::default(),
            score: Score::default(),
            pushed: 0,
            grafting: 0,
            asked: (0, now),
            heard: now,
        }
    }

    /// Keeps a message until the greeting has come. Tells whether there is room for it.
    pub fn keep(&mut self, message: Message, len: usize) -> bool {
        self.early_len += len;
        self.early.push(message);
        self.early.len() <= MAX_EARLY && self.early_len <= MAX_CONTROL_FRAME as usize
    }

    /// What came before the greeting.
    pub fn take_early(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.early)
    }

    /// When to ask whether it is still there.
    pub fn probe_at(&self) -> Moment {
        self.asked.1.after(PROBE_EVERY)
    }

    /// When it counts as gone.
    pub fn gone_at(&self) -> Moment {
        self.heard.after(PATIENCE)
    }
}
