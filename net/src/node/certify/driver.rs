//! Feeding the state machine, and doing what it wants of the store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quipu_merge::{AuthorKey, CheckpointNote, Height};
use quipu_proto::{
    CatchingUp, Certifier, CertifyConfig, CertifyInput, CertifyMessage, CertifyOutput,
    CertifyState, CosignOutput, Cosigning, Misbehaviour, Moment,
};

use quipu_store::VotingKey;

use super::begin::{Begin, KeptNote};
use super::keys::ReplicaKeys;
use super::status::{CertificationStatus, Times};
use super::work::{CertifyReport, Doing, Logging, Threads};
use crate::node::clock;
use crate::node::error::StartError;
use crate::node::work::Reports;

/// What certification wants of the rest of the node.
pub enum Wish {
    /// A message is to be sent to those of these peers that are there.
    Send(Vec<AuthorKey>, Box<CertifyMessage>),
    /// A peer has done what an honest one does not do.
    Misbehaved(AuthorKey, Misbehaviour),
    /// The checkpoint of this height counts.
    Certified(Height),
}

/// Certification in a ledger with validators, whether this replica is one or not.
pub struct Driver {
    certifier: Certifier,
    me: AuthorKey,
    threads: Threads,
    cosigning: Cosigning,
    /// Where it votes.
    key: Option<VotingKey>,
    wishes: VecDeque<Wish>,
    /// Since when the height has been voted on here.
    begun: Option<Moment>,
    checkpoints: u64,
    times: Times,
    evidence: usize,
    broken: Option<String>,
    hindered: Option<String>,
    /// Whether the store's divergence has been taken up.
    diverged: bool,
    /// Whether it was told that validators are missing.
    lacks_quorum: bool,
}

impl Driver {
    /// Starts it, where there is something to begin with.
    pub fn start(
        begin: Option<Begin>,
        interval: Duration,
        reports: Reports,
        now: Moment,
    ) -> Result<Option<Self>, StartError> {
        let Some(begin) = begin else { return Ok(None) };
        let Begin { ledger, start, me, voting, evidence, mut notes, diverged } = begin;
        let (key, votes) = voting.unzip();
        // Answers to an earlier start do not count; without randomness two starts may be taken for one.
        let number = getrandom::u64().unwrap_or_default();
        let mut config = CertifyConfig::new(me, ledger.id(), number);
        (config.interval, config.follows) = (interval, key.is_none());
        let threads = Threads::start(ledger, votes, evidence, reports)?;
        let mut cosigning = Cosigning::new(me);
        let last = notes.pop();
        for KeptNote { note, validators, lines } in notes {
            cosigning.followed(note, validators, lines, now);
        }
        if let Some(KeptNote { note, validators, lines }) = last {
            cosigning.certified(note, validators, lines, now);
        }
        let keys = Arc::new(ReplicaKeys(key.clone()));
        let mut certifier = Certifier::new(config, keys, start, now);
        if let Some(height) = diverged {
            certifier.halt(height, None);
        }
        let mut driver = Self {
            certifier,
            me,
            threads,
            cosigning,
            key,
            wishes: VecDeque::new(),
            begun: None,
            checkpoints: 0,
            times: Times::none(),
            evidence,
            broken: None,
            hindered: None,
            diverged: false,
            lacks_quorum: false,
        };
        driver.do_outputs(now);
        Ok(Some(driver))
    }

    /// Takes an input.
    pub fn handle(&mut self, input: CertifyInput, now: Moment) {
        match input {
            CertifyInput::Received(peer, message) => self.received(peer, message, now),
            input => {
                match input {
                    CertifyInput::Connected(peer) => self.cosigning.connected(peer),
                    CertifyInput::Disconnected(peer) => self.cosigning.disconnected(peer),
                    _ => {}
                }
                self.certifier.handle(input, now);
            }
        }
        self.do_outputs(now);
        if self.begun.is_none() && self.certifier.is_voting() {
            self.begun = Some(now);
        }
    }

    fn received(&mut self, peer: AuthorKey, message: Box<CertifyMessage>, now: Moment) {
        match *message {
            CertifyMessage::Cosigned(some) => self.cosigning.cosigned(peer, some, now),
            CertifyMessage::AskCosigned(height) => self.cosigning.asked(peer, height, now),
            _ => self.certifier.handle(CertifyInput::Received(peer, message), now),
        }
    }

    /// Takes what the store's threads report.
    pub fn reported(&mut self, report: CertifyReport, now: Moment) {
        match report {
            CertifyReport::Done(ticket, answer) => {
                self.handle(CertifyInput::Done(ticket, answer), now);
            }
            CertifyReport::Counted(certified) => {
                self.handle(CertifyInput::Counted(certified), now);
            }
            CertifyReport::Durable(entry) => self.handle(CertifyInput::Durable(entry), now),
            CertifyReport::Broken(why) => self.broken = Some(why),
            CertifyReport::Hindered(why) => self.hindered = why,
            CertifyReport::Evidence(count) => self.evidence = count,
            CertifyReport::Diverged(height, certificates) => {
                if !std::mem::replace(&mut self.diverged, true) {
                    tracing::error!(%height, "the ledger has diverged: nothing is certified any more");
                    self.certifier.halt(height, certificates.as_deref());
                    self.do_outputs(now);
                }
            }
        }
    }

    /// Looks what the store has learnt another way, and whether there are enough validators.
    pub fn look(&mut self) {
        self.tell_of_quorum();
        self.look_at_store();
    }

    /// Tells the operator when validators are missing, and when they are back.
    fn tell_of_quorum(&mut self) {
        let lacks = match self.certifier.status().state {
            CertifyState::NoQuorum(there, needed) => Some((there, needed)),
            _ => None,
        };
        match lacks {
            Some((there, needed)) if !self.lacks_quorum => {
                tracing::warn!(there, needed, "too few validators can be reached to certify");
            }
            None if self.lacks_quorum => tracing::info!("enough validators can be reached again"),
            _ => {}
        }
        self.lacks_quorum = lacks.is_some();
    }

    fn look_at_store(&self) {
        let next = self
            .certifier
            .tip()
            .map_or(Some(Height::FIRST), |tip| tip.parts.checkpoint().height.next());
        if let Some(next) = next {
            self.threads.start_task(Doing::Look(next));
        }
    }

    /// The next thing that the rest of the node is to do.
    pub fn wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// When it is to be told that it is later.
    pub fn next(&self) -> Option<Moment> {
        self.certifier.next().into_iter().chain(self.cosigning.next()).min()
    }

    /// Whether this validator is to be connected with another.
    pub fn wants(&self, key: AuthorKey) -> bool {
        let validators = self.certifier.validators();
        let is_one = |key: &AuthorKey| validators.binary_search(key).is_ok();
        key != self.me && is_one(&key) && is_one(&self.me)
    }

    /// How far the checkpoints are here that a peer is known to have, and up to which they are. `None`
    /// where it does not speak of them.
    pub fn catching_up(&self, with: AuthorKey) -> Option<(CatchingUp, Option<Height>)> {
        let height = self.certifier.tip().map(|tip| tip.parts.checkpoint().height);
        self.certifier.catching_up(with).map(|stands| (stands, height))
    }

    /// Where it stands.
    pub fn status(&self) -> CertificationStatus {
        let status = self.certifier.status();
        let tip = self.certifier.tip().map(|tip| tip.parts.checkpoint());
        let validators = self.certifier.validators().to_vec();
        CertificationStatus {
            broken: self.broken.clone(),
            hindered: self.hindered.clone(),
            certified: tip.map(|tip| tip.height),
            events: tip.map_or(0, |tip| tip.size),
            height: status.height,
            round: status.round,
            missing: status.missing,
            quorum: quipu_merge::quorum(validators.len()),
            is_validator: validators.binary_search(&self.me).is_ok(),
            is_revoked: false,
            validators,
            checkpoints: self.checkpoints,
            times: self.times,
            evidence: self.evidence,
            log_bytes: self.threads.shared.log_len.load(Ordering::Relaxed),
            state: status.state,
        }
    }

    /// Ends the threads after what they are doing, and waits for them. Whoever takes their reports has to
    /// have stopped for good.
    pub fn stop(self) {
        self.threads.stop();
    }

    fn do_outputs(&mut self, now: Moment) {
        self.do_certify_outputs(now);
        self.cosigning.tick(now);
        while let Some(output) = self.cosigning.output() {
            match output {
                CosignOutput::Send(to, message) => {
                    self.wishes.push_back(Wish::Send(to, Box::new(message)));
                }
                CosignOutput::Sign(note) => {
                    let Some(key) = &self.key else { continue };
                    match key.cosign(&note, clock::wall().0 / 1_000_000) {
                        Ok(signature) => self.cosigning.signed(note.height, signature, now),
                        Err(error) => tracing::error!(%error, "a note was not signed"),
                    }
                }
                CosignOutput::Keep(height, signatures) => {
                    self.threads.start_task(Doing::Cosigned(height, signatures));
                }
                CosignOutput::Misbehaved(peer, what) => {
                    self.wishes.push_back(Wish::Misbehaved(peer, what));
                }
            }
        }
    }

    fn do_certify_outputs(&mut self, now: Moment) {
        while let Some(output) = self.certifier.output() {
            match output {
                CertifyOutput::Send(to, message) => {
                    self.wishes.push_back(Wish::Send(to, Box::new(message)));
                }
                CertifyOutput::Append { entry, height, bytes, mark } => {
                    self.threads.log(Logging::Append { entry, height, bytes, mark });
                }
                CertifyOutput::Trim(below) => self.threads.log(Logging::Trim(below)),
                CertifyOutput::Do(task) => self.threads.start_task(Doing::Task(task)),
                CertifyOutput::Certified(certified) => {
                    let checkpoint = certified.parts.checkpoint();
                    let (height, events) = (checkpoint.height, checkpoint.size);
                    self.checkpoints += 1;
                    self.hindered = None;
                    let took = self.begun.take().map(|begun| now.0.saturating_sub(begun.0));
                    if let Some(took) = took {
                        self.times.add(Duration::from_micros(took));
                    }
                    tracing::debug!(%height, events, "certified");
                    let certifiers = self.certifier.certifiers().to_vec();
                    let note = CheckpointNote::of(checkpoint, certified.parts.id());
                    self.cosigning.certified(note, certifiers, [], now);
                    self.wishes.push_back(Wish::Certified(height));
                    self.look_at_store();
                }
                CertifyOutput::Evidence(evidence) => {
                    let (validator, height) = (evidence.validator(), evidence.height());
                    let (round, what) = (evidence.round(), evidence.kind());
                    tracing::error!(
                        %validator, %height, round, what,
                        "a validator has signed two things of which it may sign one"
                    );
                    self.threads.start_task(Doing::Evidence(Box::new(evidence)));
                }
                CertifyOutput::Diverged(divergence) => {
                    if let CertifyState::Stopped(why) = self.certifier.status().state {
                        tracing::error!("{why}");
                    }
                    self.threads.start_task(Doing::Diverged(divergence));
                }
                CertifyOutput::Misbehaved(peer, what) => {
                    self.wishes.push_back(Wish::Misbehaved(peer, what));
                }
            }
        }
    }
}
