//! A node's part in certifying checkpoints.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_malachitebft_core_types::{ThresholdParam, ThresholdParams, Timeout};
use quipu_merge::{AuthorKey, Chain, CheckpointId, EventId, Height};

use super::engine::Engine;
use super::evidence::Evidence;
use super::keys::Keys;
use super::limits::BEAT_EVERY;
use super::log::{Entry, Mark, What};
use super::message::{CertifyMessage, Report, TipOf};
use super::parts::Certified;
use super::peers::Peers;
use super::recall::{Recall, is_quorum};
use super::reports::Reports;
use super::signed::SignedVote;
use super::status::{CertifyState, CertifyStatus, Divergence, Stopped};
use super::task::{CertifyAnswer, CertifyTask};
use super::values::Values;
use crate::score::Misbehaviour;
use crate::task::Ticket;
use crate::time::Moment;

/// How a node certifies.
#[derive(Clone, Debug)]
pub struct CertifyConfig {
    /// The key of this replica.
    pub me: AuthorKey,
    /// The ledger.
    pub ledger: EventId,
    /// Another number at every start, so that answers to questions of an earlier one do not count.
    pub number: u64,
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
        Self { me, ledger, number, interval: Duration::from_secs(2), patience, sabotage }
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
    /// The mark that was made durable last, wherever it is kept.
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

/// A checkpoint that is certified and not kept yet.
#[derive(Debug)]
pub(super) struct Keeping {
    pub certified: Box<Certified>,
    /// The chain with it.
    pub chain: Chain,
    /// When the store is to be asked again, if it is not being asked.
    pub retry: Option<Moment>,
}

/// Why the store was asked for something.
#[derive(Debug)]
pub(super) enum Purpose {
    Grows(Height),
    Choose(Height),
    Derive(Height, CheckpointId),
    Keep(Height),
    Read(AuthorKey),
}

/// A node's part in certifying checkpoints: it votes if it is a validator, and follows if not.
///
/// It asks for nothing to be sent that is not durable, so whoever drives it may do its outputs as they
/// come.
pub struct Certifier {
    pub(super) config: CertifyConfig,
    pub(super) keys: Arc<dyn Keys>,
    pub(super) chain: Chain,
    pub(super) tip: Option<Certified>,
    pub(super) certifiers: Vec<AuthorKey>,
    /// The last checkpoints with the validators that certified them, to notice another history.
    pub(super) recent: VecDeque<(Certified, Vec<AuthorKey>)>,
    pub(super) peers: Peers,
    pub(super) reports: Reports,
    pub(super) recall: Recall,
    /// The height that is being voted on, once it has begun.
    pub(super) engine: Option<Engine>,
    /// What the log holds of the height, until it begins.
    pub(super) replay: Vec<What>,
    pub(super) values: Values,
    /// By height, kind and round: one that is not of the height and the round in which it runs out is
    /// dropped.
    pub(super) timers: BTreeMap<(Height, u8, u32), (Moment, Timeout)>,
    /// The round in which this validator is to propose something.
    pub(super) turn: Option<u32>,
    pub(super) choosing: bool,
    pub(super) keeping: Option<Keeping>,
    /// The last vote of each validator.
    pub(super) seen: BTreeMap<AuthorKey, SignedVote>,
    pub(super) sync: super::chain_sync::ChainSync,
    /// When the next height may begin by itself.
    pub(super) not_before: Moment,
    pub(super) looking: bool,
    pub(super) retry: Option<Moment>,
    pub(super) beat: Moment,
    pub(super) stopped: Option<Stopped>,
    pub(super) tasks: BTreeMap<Ticket, Purpose>,
    /// What the log holds of this validator's, and the mark did not come to.
    pub(super) unmarked: Option<Mark>,
    last_ticket: u64,
    appended: u64,
    durable: u64,
    ready: VecDeque<CertifyOutput>,
    /// What waits until the log is durable up to an entry.
    held: VecDeque<(u64, CertifyOutput)>,
}

impl Certifier {
    /// A node with nobody around it.
    pub fn new(
        config: CertifyConfig,
        keys: Arc<dyn Keys>,
        start: CertifyStart,
        now: Moment,
    ) -> Self {
        let recent = start.tip.iter().map(|tip| (tip.clone(), start.certifiers.clone())).collect();
        let mut certifier = Self {
            config,
            keys,
            chain: start.chain,
            tip: start.tip,
            certifiers: start.certifiers,
            recent,
            peers: Peers::default(),
            reports: Reports::default(),
            recall: Recall::default(),
            engine: None,
            replay: Vec::new(),
            values: Values::default(),
            timers: BTreeMap::new(),
            turn: None,
            choosing: false,
            keeping: None,
            seen: BTreeMap::new(),
            sync: super::chain_sync::ChainSync::default(),
            not_before: now,
            looking: false,
            retry: None,
            beat: now.after(BEAT_EVERY),
            stopped: None,
            tasks: BTreeMap::new(),
            unmarked: None,
            last_ticket: 0,
            appended: 0,
            durable: 0,
            ready: VecDeque::new(),
            held: VecDeque::new(),
        };
        certifier.reports.hold(start.heads);
        certifier.read_log(start.log, start.mark);
        certifier.do_what_is_due(now);
        certifier
    }

    /// Takes an input.
    pub fn handle(&mut self, input: CertifyInput, now: Moment) {
        match input {
            CertifyInput::Connected(peer) => self.connected(peer),
            CertifyInput::Disconnected(peer) => self.disconnected(peer),
            CertifyInput::Received(peer, message) => self.received(peer, *message, now),
            CertifyInput::Done(ticket, answer) => self.done(ticket, answer, now),
            CertifyInput::Durable(entry) => self.is_durable(entry),
            CertifyInput::Heads(heads) => {
                self.reports.hold(heads);
                self.look_again(now);
            }
            CertifyInput::Vouched => {
                if std::mem::take(&mut self.recall.lost) {
                    self.append(What::Opened(true));
                }
            }
            CertifyInput::Tick => {}
        }
        self.do_what_is_due(now);
    }

    /// The next thing that is to be done.
    pub fn output(&mut self) -> Option<CertifyOutput> {
        self.ready.pop_front()
    }

    /// When it is to be told that it is later.
    pub fn next(&self) -> Option<Moment> {
        if self.stopped.is_some() {
            return Some(self.beat);
        }
        let timers = self.timers.values().map(|(at, _)| *at);
        let keeping = self.keeping.as_ref().and_then(|keeping| keeping.retry);
        let reporting = if self.is_validator() { self.reports.due() } else { None };
        let asking = if self.is_validator() { self.recall.due() } else { None };
        let growing = self.may_begin() && self.reports.changed && !self.looking;
        let growing = growing.then_some(self.not_before);
        let others = [
            Some(self.beat),
            self.values.due(),
            self.sync.due(),
            self.retry,
            keeping,
            reporting,
            asking,
            growing,
        ];
        timers.chain(others.into_iter().flatten()).min()
    }

    /// The last checkpoint.
    pub const fn tip(&self) -> Option<&Certified> {
        self.tip.as_ref()
    }

    /// The validators of the height that is worked on.
    pub fn validators(&self) -> &[AuthorKey] {
        self.chain.validators()
    }

    /// Where it stands.
    pub fn status(&self) -> CertifyStatus {
        let validators = self.chain.validators();
        let stand = self.engine.as_ref().map(Engine::stand);
        let voted = |key: &AuthorKey| {
            let mut votes = self
                .engine
                .iter()
                .flat_map(|engine| engine.votes(stand.map_or(0, |stand| stand.round)));
            votes.any(|vote| vote.by == *key)
        };
        let there = |key: &AuthorKey| *key == self.config.me || self.peers.get(key).is_some();
        let here = |key: &AuthorKey| if stand.is_some() { voted(key) } else { there(key) };
        CertifyStatus {
            height: self.height(),
            round: stand.map(|stand| (stand.round, stand.step)),
            validators: validators.len(),
            missing: validators.iter().filter(|key| !here(key)).copied().collect(),
            state: self.state(validators.iter().filter(|key| there(key)).count()),
        }
    }

    fn state(&self, there: usize) -> CertifyState {
        let validators = self.chain.validators();
        let needed = super::recall::quorum(validators.len());
        if let Some(stopped) = &self.stopped {
            return CertifyState::Stopped(stopped.clone());
        }
        if let Some(keeping) = &self.keeping {
            let lacks = keeping.retry.is_some();
            return if lacks { CertifyState::Lacks } else { CertifyState::Keeps };
        }
        if validators.is_empty() {
            CertifyState::NoValidators
        } else if !self.is_validator() {
            CertifyState::Follows
        } else if !is_quorum(there, validators.len()) {
            CertifyState::NoQuorum(there, needed)
        } else if self.recall.lost {
            CertifyState::Abstains
        } else if !self.recall.done {
            CertifyState::Asking(self.recall.answers(self.config.me, validators), needed)
        } else if self.engine.is_some() {
            CertifyState::Votes
        } else {
            CertifyState::Idle
        }
    }

    /// The height that is worked on. Behind the last, nothing is.
    pub(super) fn height(&self) -> Height {
        self.chain.height().map_or(Height::FIRST, |height| Height(height.0.saturating_add(1)))
    }

    pub(super) fn is_validator(&self) -> bool {
        self.chain.validators().binary_search(&self.config.me).is_ok()
    }

    /// Whether voting on this height could begin.
    pub(super) fn may_begin(&self) -> bool {
        let knows_itself = self.recall.lost || self.recall.done;
        self.engine.is_none() && self.keeping.is_none() && self.is_validator() && knows_itself
    }

    pub(super) fn thresholds(&self) -> ThresholdParams {
        let mut thresholds = ThresholdParams::default();
        if self.config.sabotage.two_thirds {
            thresholds.quorum = ThresholdParam::new(199, 300);
        }
        thresholds
    }

    pub(super) fn stop(&mut self, why: Stopped) {
        self.stopped.get_or_insert(why);
        self.engine = None;
        self.keeping = None;
        self.timers.clear();
        // What has not left will not.
        self.held.retain(|(_, output)| matches!(output, CertifyOutput::Evidence(_)));
    }

    pub(super) fn task(&mut self, purpose: Purpose, task: impl FnOnce(Ticket) -> CertifyTask) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tasks.insert(ticket, purpose);
        self.out(CertifyOutput::Do(task(ticket)));
    }

    pub(super) fn append(&mut self, what: What) {
        let entry = Entry { height: self.height(), what };
        self.append_entry(&entry);
    }

    pub(super) fn append_entry(&mut self, entry: &Entry) {
        self.appended += 1;
        let mark = Mark::of(entry, self.config.me).or_else(|| self.unmarked.take());
        let (number, height, bytes) = (self.appended, entry.height, entry.encode());
        self.out(CertifyOutput::Append { entry: number, height, bytes, mark });
    }

    /// Whatever follows from what has been logged waits until it is durable.
    pub(super) fn out(&mut self, output: CertifyOutput) {
        let waits = match &output {
            CertifyOutput::Append { .. } | CertifyOutput::Misbehaved(..) => false,
            CertifyOutput::Do(task) => matches!(task, CertifyTask::Keep { .. }),
            _ => true,
        };
        if waits && self.appended > self.durable && !self.config.sabotage.hasty {
            self.held.push_back((self.appended, output));
        } else {
            self.ready.push_back(output);
        }
    }

    fn is_durable(&mut self, entry: u64) {
        self.durable = self.durable.max(entry.min(self.appended));
        while let Some((_, output)) = self.held.pop_front_if(|(needs, _)| *needs <= self.durable) {
            self.ready.push_back(output);
        }
    }

    pub(super) fn send(&mut self, to: AuthorKey, message: CertifyMessage) {
        self.out(CertifyOutput::Send(vec![to], message));
    }

    /// Sends to the validators of this height that are there.
    pub(super) fn tell_validators(&mut self, message: CertifyMessage) {
        let there = |key: &&AuthorKey| self.peers.get(key).is_some();
        let to: Vec<_> = self.chain.validators().iter().filter(there).copied().collect();
        if !to.is_empty() {
            self.out(CertifyOutput::Send(to, message));
        }
    }

    pub(super) fn tip_message(&self) -> Option<CertifyMessage> {
        let tip = self.tip.as_ref()?;
        let (height, id) = (tip.parts.checkpoint().height, tip.parts.id());
        Some(CertifyMessage::Tip(TipOf { height, id }))
    }

    pub(super) fn report_message(&self) -> Option<CertifyMessage> {
        let heads = self.reports.own().to_vec();
        self.is_validator().then_some(CertifyMessage::Report(Report { heads }))
    }

    fn disconnected(&mut self, peer: AuthorKey) {
        self.peers.remove(&peer);
        self.sync.forget(peer);
        // What is being read for it would reach it on another connection, which has not asked.
        let is_for = |purpose: &Purpose| matches!(purpose, Purpose::Read(of) if *of == peer);
        self.tasks.retain(|_, purpose| !is_for(purpose));
    }

    fn connected(&mut self, peer: AuthorKey) {
        self.disconnected(peer);
        self.peers.insert(peer);
        if let Some(tip) = self.tip_message() {
            self.send(peer, tip);
        }
        if self.stopped.is_some() || self.chain.validators().binary_search(&peer).is_err() {
            return;
        }
        if let Some(report) = self.report_message() {
            self.send(peer, report);
        }
        if self.is_validator() && self.recall.due().is_some() {
            self.send(peer, CertifyMessage::AskClaim(self.config.number));
        }
    }
}
