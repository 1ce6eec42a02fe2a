//! A height from its beginning to its end.

use arc_malachitebft_core_types::{CommitCertificate, Timeout, TimeoutKind};
use quipu_merge::{AuthorKey, Certificate, Chain, CheckpointId, Height, Round};

use super::certifier::{Certifier, Keeping, Purpose};
use super::context::Ctx;
use super::engine::Engine;
use super::evidence::Evidence;
use super::interface::CertifyOutput;
use super::limits::MAX_RECENT;
use super::log::What;
use super::message::{AskProposal, CertifyMessage};
use super::parts::Certified;
use super::shell::{Act, Fault};
use super::status::Stopped;
use super::task::CertifyTask;
use super::values::Values;
use crate::time::Moment;

impl Certifier {
    /// Begins the height, if this node is a validator of it and knows what it needs to know of itself.
    pub(super) fn begin(&mut self, now: Moment) {
        let (me, height) = (self.config.me, self.height());
        let begun = self.engine.is_some() || self.decided || self.keeping.is_some();
        if begun || !self.is_validator() || !height_is_valid(height) {
            return;
        }
        if self.recall.lost && self.recall.is_past(height, &self.certifiers, me) {
            self.recall.lost = false;
        }
        let signs = !self.recall.lost;
        if signs && !self.recall.is_done(me, self.chain.validators(), now) {
            return;
        }
        let begun = self.begun_at();
        let mut log = std::mem::take(&mut self.replay);
        log.drain(..begun.unwrap_or(log.len()));
        if log.is_empty() {
            self.append(What::Begun(signs));
        }
        self.take_values(&log);
        let engine = Engine::new(
            (me, self.config.ledger, height),
            self.chain.validators(),
            self.keys.clone(),
            signs,
            self.thresholds(),
        );
        self.engine = Some(engine);
        self.looking = false;
        let own = self.own.clone();
        self.run(now, |engine| engine.start(&own, &log));
        for (from, message) in self.peers.take(height) {
            self.consensus_message(from, message, now);
        }
    }

    /// Tells the core something, and does what it wants. Whether all that was checked held.
    pub(super) fn run(
        &mut self,
        now: Moment,
        feed: impl FnOnce(&mut Engine) -> Result<Vec<Act>, Fault>,
    ) -> bool {
        let Some(engine) = self.engine.as_mut() else { return true };
        let result = feed(engine);
        let (bad, evidence) = (engine.was_bad(), engine.evidence());
        match result {
            Ok(acts) => acts.into_iter().for_each(|act| self.act(act, now)),
            Err(Fault::NoKey) => self.stop(Stopped::NoKey),
            Err(fault) => self.stop(Stopped::Fault(fault)),
        }
        self.tell_evidence(evidence);
        self.propose(now);
        !bad
    }

    pub(super) fn tell_evidence(&mut self, evidence: Vec<Evidence>) {
        for evidence in evidence {
            self.out(CertifyOutput::Evidence(evidence));
        }
    }

    fn act(&mut self, act: Act, now: Moment) {
        match act {
            Act::Log(entry) => {
                self.append_entry(&entry);
                self.keep_own(&entry.what);
                match entry.what {
                    What::Vote(vote) => {
                        self.mark_voted(&vote);
                        self.saw(&vote);
                    }
                    What::Proposal(proposal) => self.values.proposed(proposal),
                    _ => {}
                }
            }
            Act::Vote(vote) => self.tell_validators(CertifyMessage::Vote(vote)),
            Act::Proposal(proposal) => self.tell_proposal(proposal),
            Act::Polka(polka) => self.tell_validators(CertifyMessage::Polka(polka)),
            Act::RoundProof(proof) => self.tell_validators(CertifyMessage::RoundProof(proof)),
            Act::GetValue(round) => self.turn = Some(round),
            Act::Schedule(timeout) => {
                let at = now.after(self.patience(timeout));
                self.timers.insert(timer(self.height(), timeout), (at, timeout));
            }
            Act::Cancel(timeout) if !self.config.sabotage.stale_timers => {
                self.timers.remove(&timer(self.height(), timeout));
            }
            Act::CancelAll if !self.config.sabotage.stale_timers => self.timers.clear(),
            Act::Cancel(_) | Act::CancelAll => {}
            Act::Decide(certificate) => self.decide(&certificate),
        }
    }

    fn patience(&self, timeout: Timeout) -> std::time::Duration {
        let patience = self.config.patience;
        let round = timeout.round.as_u32().unwrap_or(0);
        let base = match timeout.kind {
            TimeoutKind::Propose => patience.propose,
            TimeoutKind::Rebroadcast => return patience.again,
            _ => patience.vote,
        };
        base.saturating_add(patience.more.saturating_mul(round)).min(patience.most)
    }

    /// A timer of the core has run out.
    pub(super) fn timed_out(&mut self, of: Height, timeout: Timeout, now: Moment) {
        let Some(stand) = self.engine.as_ref().map(Engine::stand) else { return };
        let round = stand.round.into();
        if (of != self.height() || timeout.round != round) && !self.config.sabotage.stale_timers {
            return;
        }
        let timeout = Timeout::new(round, timeout.kind);
        if timeout.kind == TimeoutKind::Rebroadcast {
            self.say_again(stand.round);
        }
        self.run(now, |engine| engine.timeout(timeout));
    }

    /// Says again what may have been lost, and asks for what has not come.
    fn say_again(&mut self, round: u32) {
        let me = self.config.me;
        let own = self.values.proposals(round).find(|proposal| proposal.by == me).cloned();
        if let Some(own) = own.filter(|_| !self.recall.lost) {
            self.tell_proposal(own);
        }
        let mut asks: Vec<(CheckpointId, AuthorKey)> = Vec::new();
        for vote in self.engine.iter().flat_map(|engine| engine.votes(round)) {
            let Some(value) = vote.value.map(|id| id.0).filter(|_| vote.by != me) else { continue };
            let lacks =
                self.values.get(value).is_none() || self.values.proposal(round, value).is_none();
            // One of those who have voted for it is asked, and next time perhaps another.
            let there = self.peers.get(&vote.by).is_some();
            if lacks && there && !asks.iter().any(|(of, _)| *of == value) && asks.len() < 4 {
                asks.push((value, vote.by));
            }
        }
        let height = self.height();
        for (value, from) in asks {
            self.send(from, CertifyMessage::AskProposal(AskProposal { height, round, value }));
        }
    }

    fn decide(&mut self, certificate: &CommitCertificate<Ctx>) {
        let Some(candidate) = self.values.get(certificate.value_id) else {
            // It had to make room for those of later rounds. Others have it, with its certificate.
            (self.engine, self.decided) = (None, true);
            return self.timers.clear();
        };
        let signed = certificate.commit_signatures.iter();
        let mut signatures: Vec<_> = signed.map(|s| (s.address.0, s.signature)).collect();
        signatures.sort_unstable();
        let certificate = Certificate {
            checkpoint: certificate.value_id,
            height: self.height(),
            round: Round(certificate.round.as_u32().unwrap_or(0)),
            signatures,
        };
        let certified = Certified { parts: candidate.parts.clone(), certificate };
        match self.continued(&certified) {
            Ok(chain) => self.keep(certified, chain),
            Err(error) => self.stop(Stopped::Fault(Fault::Core(error.to_string()))),
        }
    }

    /// The chain with one checkpoint more, if that continues it.
    pub(super) fn continued(
        &self,
        certified: &Certified,
    ) -> Result<Chain, quipu_merge::ChainError> {
        let (parts, mut chain) = (&certified.parts, self.chain.clone());
        if self.config.sabotage.two_thirds {
            return Chain::trusting(parts.checkpoint(), parts.validators());
        }
        chain.accept(parts.checkpoint(), &certified.certificate, parts.validators())?;
        Ok(chain)
    }

    /// Has the store keep what has been certified.
    pub(super) fn keep(&mut self, certified: Certified, chain: Chain) {
        if self.keeping.is_none() {
            let certified = Box::new(certified);
            self.keeping = Some(Keeping { certified: certified.clone(), chain, retry: None });
            let purpose = Purpose::Keep(self.height());
            self.task(purpose, |ticket| CertifyTask::Keep { ticket, certified });
        }
    }

    /// A checkpoint is kept: on to the next height.
    pub(super) fn kept(&mut self, now: Moment) {
        let Some(Keeping { certified, chain, .. }) = self.keeping.take() else { return };
        self.certifiers = self.chain.validators().to_vec();
        self.recent.push_back(((*certified).clone(), self.certifiers.clone()));
        if self.recent.len() > MAX_RECENT {
            self.recent.pop_front();
        }
        self.chain = chain;
        (self.engine, self.decided) = (None, false);
        self.replay.clear();
        self.abandoned.clear();
        self.own.clear();
        self.values = Values::default();
        if !self.config.sabotage.stale_timers {
            self.timers.clear();
        }
        (self.turn, self.choosing, self.retry, self.looking) = (None, false, None, false);
        let (height, of_before) = (self.height(), certified.parts.checkpoint().height);
        self.seen.retain(|_, vote| vote.height >= of_before);
        self.reports.keep_only(self.chain.validators());
        self.reports.changed = true;
        self.recall.keep_only([self.chain.validators(), &self.certifiers]);
        self.not_before = now.after(self.config.interval);
        self.append(What::Opened(!self.recall.lost));
        self.out(CertifyOutput::Trim(height));
        self.tip = Some((*certified).clone());
        self.out(CertifyOutput::Certified(certified));
        let there: Vec<_> = self.peers.keys().copied().collect();
        if let Some(tip) = self.tip_message().filter(|_| !there.is_empty()) {
            self.out(CertifyOutput::Send(there, tip));
        }
    }
}

fn height_is_valid(height: Height) -> bool {
    height.0 < quipu_merge::HEIGHT_LIMIT
}

/// What tells a timer from others.
fn timer(height: Height, timeout: Timeout) -> (Height, u8, u32) {
    let kind = match timeout.kind {
        TimeoutKind::Propose => 0,
        TimeoutKind::Prevote => 1,
        TimeoutKind::Precommit => 2,
        TimeoutKind::Rebroadcast => 3,
        TimeoutKind::FinalizeHeight(_) => 4,
    };
    (height, kind, timeout.round.as_u32().unwrap_or(0))
}
