//! What is known of one peer.

use std::time::Duration;

use quipu_merge::AuthorKey;

use crate::addresses::Introductions;
use crate::exchange::Exchange;
use crate::frontier::FrontierDigest;
use crate::give::Giving;
use crate::limits::{MAX_CONTROL_FRAME, PATIENCE, PROBE_EVERY};
use crate::message::{Message, Version};
use crate::pull::Pulling;
use crate::score::Score;
use crate::serve::Serving;
use crate::time::Moment;

/// So many messages may overtake the greeting, which comes on a channel of its own.
const MAX_EARLY: usize = 16;

/// How it stands with a peer. Counts are since it connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// The version that is spoken with it, once it has greeted.
    pub version: Option<Version>,
    /// Whether its frontier, as it told it last, is the own one.
    pub level: bool,
    /// Since when it may hold events that are not here; nothing where it is level.
    pub unequal_since: Option<Moment>,
    /// The time that the last question and its answer took.
    pub round_trip: Option<Duration>,
    /// Whether something is being got from it, or is to be.
    pub pulling: bool,
    /// Length of the messages that have come from it, in bytes.
    pub received_bytes: u64,
    /// Events that were admitted because of what it sent.
    pub events_in: u64,
    /// Events that it was sent.
    pub events_out: u64,
}

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    /// The version that is spoken with it, once it has greeted.
    pub version: Option<Version>,
    /// How it stands with it, as far as it is noted as it goes.
    pub info: PeerInfo,
    /// The frontier that it told last.
    frontier: Option<FrontierDigest>,
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
    /// Who else is there.
    pub introductions: Introductions,
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
            info: PeerInfo::default(),
            frontier: None,
            early: Vec::new(),
            early_len: 0,
            exchange: Exchange::new(me, key),
            compare: true,
            pulling: Pulling::default(),
            serving: Serving::default(),
            giving: Giving::default(),
            introductions: Introductions::default(),
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

    /// It has told its frontier. Where that differs, or something is missing, frontiers are to be
    /// compared.
    pub fn told(&mut self, theirs: FrontierDigest, own: FrontierDigest, now: Moment) {
        self.note(theirs, own, now);
        self.compare |= theirs != own;
        self.compare |=
            self.exchange.is_idle(now) && self.exchange.is_short() && self.pulling.is_idle();
    }

    /// Notes the frontier that it has told.
    pub fn note(&mut self, theirs: FrontierDigest, own: FrontierDigest, now: Moment) {
        self.frontier = Some(theirs);
        self.info.unequal_since =
            if theirs == own { None } else { self.info.unequal_since.or(Some(now)) };
    }

    /// How it stands with it, by the own frontier.
    pub fn info(&self, own: FrontierDigest) -> PeerInfo {
        let level = self.frontier == Some(own);
        let unequal_since = self.info.unequal_since.filter(|_| !level);
        let pulling = !self.pulling.is_idle();
        PeerInfo { version: self.version, level, unequal_since, pulling, ..self.info }
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
