//! What is known of one peer.

use std::collections::BTreeMap;
use std::time::Duration;

use quipu_merge::AuthorKey;

use crate::addresses::Introductions;
use crate::backing::Backing;
use crate::exchange::Exchange;
use crate::frontier::FrontierDigest;
use crate::give::Giving;
use crate::limits::{
    ABANDON_RATE, COMPARE_RATE, HAVE_RATE, MAX_CONTROL_FRAME, MAX_GOSSIP_PENDING,
    MAX_GOSSIP_PENDING_LEN, MAX_GOSSIP_PENDING_OF_AUTHOR, PATIENCE, PING_RATE, PROBE_EVERY,
    PULL_RATE, PUSH_RATE,
};
use crate::message::{Message, Packet, Version};
use crate::pull::Pulling;
use crate::rate::Bucket;
use crate::score::{Misbehaviour, Score};
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
    /// What it asks for of a start and of history.
    pub backing: Backing,
    /// Who else is there.
    pub introductions: Introductions,
    /// What it has done wrong.
    pub score: Score,
    /// Its events that are being admitted.
    pub pushed: Pushed,
    /// How often it says what.
    pub rates: Rates,
    /// Its questions for events that it was told of, which are being answered.
    pub grafting: usize,
    /// The number of the last question whether it is there, and when that was asked.
    pub asked: (u64, Moment),
    /// When it was heard of last.
    pub heard: Moment,
}

/// How often a peer says what costs the one that hears it.
#[derive(Debug, Default)]
pub struct Rates {
    compare: Bucket,
    pull: Bucket,
    abandon: Bucket,
    ping: Bucket,
    have: Bucket,
}

impl Rates {
    /// Whether an honest peer may say this by now.
    pub fn check(&mut self, message: &Message, now: Moment) -> Result<(), Misbehaviour> {
        let (bucket, rate) = match message {
            Message::Compare(_) => (&mut self.compare, COMPARE_RATE),
            Message::Pull(_) | Message::PullTold(_) => (&mut self.pull, PULL_RATE),
            Message::Ping(_) => (&mut self.ping, PING_RATE),
            Message::Have(_) => (&mut self.have, HAVE_RATE),
            _ => return Ok(()),
        };
        if bucket.take(rate, 1, now) { Ok(()) } else { Err(Misbehaviour::Flood) }
    }

    /// Whether an honest peer may give up by now what it has asked for, and ask for something else.
    pub fn abandons(&mut self, now: Moment) -> Result<(), Misbehaviour> {
        if self.abandon.take(ABANDON_RATE, 1, now) { Ok(()) } else { Err(Misbehaviour::Flood) }
    }
}

/// The events of a peer's gossip that are being admitted.
#[derive(Debug, Default)]
pub struct Pushed {
    count: usize,
    /// Their length, in bytes.
    len: usize,
    by_author: BTreeMap<AuthorKey, usize>,
    signatures: Bucket,
}

impl Pushed {
    /// One more is to be admitted. Tells whether there is room for it.
    pub fn start(&mut self, packet: &Packet, now: Moment) -> bool {
        let author = packet.author();
        let of_author = author.and_then(|author| self.by_author.get(&author)).copied();
        let room = self.count < MAX_GOSSIP_PENDING
            && self.len + packet.len() <= MAX_GOSSIP_PENDING_LEN
            && of_author.unwrap_or(0) < MAX_GOSSIP_PENDING_OF_AUTHOR
            && self.signatures.take(PUSH_RATE, 1, now);
        if room {
            self.count += 1;
            self.len += packet.len();
            if let Some(author) = author {
                *self.by_author.entry(author).or_default() += 1;
            }
        }
        room
    }

    /// One has been dealt with.
    pub fn end(&mut self, packet: &Packet) {
        self.count = self.count.saturating_sub(1);
        self.len = self.len.saturating_sub(packet.len());
        if let Some(author) = packet.author()
            && let Some(count) = self.by_author.get_mut(&author)
        {
            *count -= 1;
            if *count == 0 {
                self.by_author.remove(&author);
            }
        }
    }
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
            backing: Backing::default(),
            introductions: Introductions::default(),
            score: Score::default(),
            pushed: Pushed::default(),
            rates: Rates::default(),
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

    /// When there is something to do for it, if nothing else happens.
    pub fn due(&self) -> Moment {
        let compare = self.compare && self.version.is_some() && self.pulling.is_idle();
        let compare = compare.then(|| self.exchange.may_start_at());
        let probe = self.version.map(|_| self.probe_at());
        let others = [probe, compare, self.pulling.stalls_at(), self.introductions.ask_at()];
        others.into_iter().flatten().fold(self.gone_at(), Moment::min)
    }

    /// When it counts as gone.
    pub fn gone_at(&self) -> Moment {
        self.heard.after(PATIENCE)
    }
}
