//! A node's part in certifying checkpoints.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_malachitebft_core_types::{ThresholdParam, ThresholdParams, Timeout};
use quipu_merge::{AuthorKey, Certificate, Chain, CheckpointId, Height};

use super::engine::Engine;
use super::interface::{CertifyConfig, CertifyInput, CertifyOutput, CertifyStart};
use super::keys::Keys;
use super::limits::BEAT_EVERY;
use super::log::{Entry, Mark, What};
use super::message::{CertifyMessage, Report, TipOf};
use super::parts::Certified;
use super::peers::Peers;
use super::recall::Recall;
use super::reports::Reports;
use super::signed::SignedVote;
use super::status::Stopped;
use super::task::CertifyTask;
use super::values::Values;
use crate::task::Ticket;
use crate::time::Moment;

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
    /// What the log holds of the height from when this validator signed in it, while it abstains.
    pub(super) abandoned: Vec<What>,
    /// What this validator has signed of the height.
    pub(super) own: Vec<What>,
    pub(super) values: Values,
    /// By height, kind and round: one that is not of the height and the round in which it runs out is
    /// dropped.
    pub(super) timers: BTreeMap<(Height, u8, u32), (Moment, Timeout)>,
    /// The round in which this validator is to propose something.
    pub(super) turn: Option<u32>,
    pub(super) choosing: bool,
    pub(super) keeping: Option<Keeping>,
    /// The height is decided, by a checkpoint that has to come from others.
    pub(super) decided: bool,
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
            abandoned: Vec::new(),
            own: Vec::new(),
            values: Values::default(),
            timers: BTreeMap::new(),
            turn: None,
            choosing: false,
            keeping: None,
            decided: false,
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
        if !certifier.config.follows {
            certifier.read_log(start.log, start.mark);
        }
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
            CertifyInput::Counted(certified) => {
                if self.stopped.is_none()
                    && certified.parts.checkpoint().height == self.height()
                    && let Ok(chain) = self.continued(&certified)
                {
                    self.keep(*certified, chain);
                }
            }
            CertifyInput::Vouched => {
                if self.stopped.is_none() && std::mem::take(&mut self.recall.lost) {
                    self.begin_anew(now);
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
        let asking = self.recall.due().into_iter().chain(self.recall.ends()).min();
        let asking = asking.filter(|_| self.is_validator());
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

    /// The store says that the ledger has two histories: nothing is certified here any more. Two
    /// certificates of one height, where that is why, may show who has signed both.
    pub fn halt(&mut self, diverged: Height, certificates: Option<&(Certificate, Certificate)>) {
        self.stop(Stopped::Diverged(diverged));
        if let Some((one, other)) = certificates {
            self.tell_conflicts(one, other);
        }
    }

    /// The last checkpoint.
    pub const fn tip(&self) -> Option<&Certified> {
        self.tip.as_ref()
    }

    /// The validators of the height of the last checkpoint.
    pub fn certifiers(&self) -> &[AuthorKey] {
        &self.certifiers
    }

    /// Whether a height is being voted on here.
    pub const fn is_voting(&self) -> bool {
        self.engine.is_some()
    }

    /// The validators of the height that is worked on.
    pub fn validators(&self) -> &[AuthorKey] {
        self.chain.validators()
    }

    /// The height that is worked on. Behind the last, nothing is.
    pub(super) fn height(&self) -> Height {
        self.chain.height().map_or(Height::FIRST, |height| Height(height.0.saturating_add(1)))
    }

    pub(super) fn is_validator(&self) -> bool {
        !self.config.follows && self.chain.validators().binary_search(&self.config.me).is_ok()
    }

    /// Whether voting on this height could begin.
    pub(super) fn may_begin(&self) -> bool {
        let knows_itself = self.recall.lost || self.recall.done;
        let begun = self.engine.is_some() || self.decided || self.keeping.is_some();
        !begun && self.is_validator() && knows_itself
    }

    pub(super) fn thresholds(&self) -> ThresholdParams {
        let mut thresholds = ThresholdParams::default();
        if self.config.sabotage.two_thirds {
            thresholds.quorum = ThresholdParam::new(199, 300);
        }
        thresholds
    }

    pub(super) fn stop(&mut self, why: Stopped) {
        if self.stopped.is_none() && matches!(why, Stopped::Fault(_)) {
            self.append(What::Faulty);
        }
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
        if self.config.follows {
            return;
        }
        self.appended += 1;
        let mark = Mark::of(entry, self.config.me).max(self.unmarked.take());
        let (number, height, bytes) = (self.appended, entry.height, entry.encode());
        self.out(CertifyOutput::Append { entry: number, height, bytes, mark });
    }

    /// Whatever follows from what has been logged waits until it is durable; what others have signed, and
    /// what nobody has, does not.
    pub(super) fn out(&mut self, output: CertifyOutput) {
        let waits = match &output {
            CertifyOutput::Append { .. } | CertifyOutput::Misbehaved(..) => false,
            CertifyOutput::Do(task) => matches!(task, CertifyTask::Keep { .. }),
            CertifyOutput::Send(_, message) => message.is_signed_by(&self.config.me),
            _ => true,
        };
        if waits && self.appended > self.durable && !self.config.sabotage.hasty {
            // What is said again while it waits is said once.
            if !self.held.iter().any(|(_, held)| *held == output) {
                self.held.push_back((self.appended, output));
            }
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
        if self.is_validator() && !self.recall.has_answered(&peer) {
            self.send(peer, CertifyMessage::AskClaim(self.config.number));
        }
    }
}
