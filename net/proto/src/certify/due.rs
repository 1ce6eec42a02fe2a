//! What is done when it is time.

use quipu_merge::AuthorKey;

use super::certifier::{Certifier, Purpose};
use super::interface::CertifyOutput;
use super::limits::BEAT_EVERY;
use super::message::CertifyMessage;
use super::task::CertifyTask;
use crate::time::Moment;

impl Certifier {
    pub(super) fn do_what_is_due(&mut self, now: Moment) {
        if self.beat <= now {
            self.beat = now.after(BEAT_EVERY);
            self.beat();
        }
        if self.stopped.is_some() {
            return;
        }
        self.catch_up(now);
        while let Some(timer) =
            self.timers.iter().find(|(_, (at, _))| *at <= now).map(|(timer, _)| *timer)
        {
            if let Some((_, timeout)) = self.timers.remove(&timer) {
                self.timed_out(timer.0, timeout, now);
            }
        }
        if self.retry.is_some_and(|at| at <= now) {
            self.propose(now);
            self.retry = None;
        }
        self.keep_again(false, now);
        self.begin_if_due(now);
        self.derive_due(false, now);
        if self.is_validator() {
            self.ask_and_report(now);
        }
    }

    /// More events are held, or due.
    pub(super) fn look_again(&mut self, now: Moment) {
        if self.stopped.is_none() {
            self.retry = None;
            self.derive_due(true, now);
            self.keep_again(true, now);
            self.propose(now);
        }
    }

    /// Tells everybody where this node stands, in case somebody has missed it.
    fn beat(&mut self) {
        let there: Vec<_> = self.peers.keys().copied().collect();
        if let Some(tip) = self.tip_message().filter(|_| !there.is_empty()) {
            self.out(CertifyOutput::Send(there, tip));
        }
        if let Some(report) = self.report_message().filter(|_| self.stopped.is_none()) {
            self.tell_validators(report);
        }
    }

    fn derive_due(&mut self, all: bool, now: Moment) {
        let height = self.height();
        let round = self.engine.as_ref().map_or(0, |engine| engine.stand().round);
        for parts in self.values.take_due(round, all, now) {
            let (purpose, parts) = (Purpose::Derive(height, parts.id()), Box::new(parts));
            self.task(purpose, |ticket| CertifyTask::Derive { ticket, parts });
        }
    }

    fn keep_again(&mut self, all: bool, now: Moment) {
        let Some(keeping) = &mut self.keeping else { return };
        if keeping.retry.is_some_and(|at| all || at <= now) {
            keeping.retry = None;
            let certified = keeping.certified.clone();
            let purpose = Purpose::Keep(self.height());
            self.task(purpose, |ticket| CertifyTask::Keep { ticket, certified });
        }
    }

    /// A height begins when the last one is some time ago and the next would hold more, or when so many
    /// vote on it that one of them does not lie.
    fn begin_if_due(&mut self, now: Moment) {
        if self.is_validator() {
            self.recall.is_done(self.config.me, self.chain.validators(), now);
        }
        if !self.may_begin() {
            return;
        }
        let (height, validators) = (self.height(), self.chain.validators());
        let votes = |key: &&AuthorKey| validators.binary_search(key).is_ok();
        let voters = self.peers.early_voters(height).filter(votes).count();
        if self.has_begun() || voters.saturating_mul(3) > validators.len() {
            self.begin(now);
        } else if self.reports.changed && !self.looking && self.not_before <= now {
            self.looking = true;
            self.reports.changed = false;
            let (reports, quorum) = self.reports_and_quorum();
            let purpose = Purpose::Grows(height);
            self.task(purpose, |ticket| CertifyTask::Grows { ticket, reports, quorum });
        }
    }

    fn ask_and_report(&mut self, now: Moment) {
        if self.recall.due().is_some_and(|at| at <= now) {
            let validators = self.chain.validators();
            let is_validator = |key: &&AuthorKey| validators.binary_search(key).is_ok();
            let there: Vec<_> = self.peers.keys().filter(is_validator).copied().collect();
            let to = self.recall.ask(there.iter(), now);
            if !to.is_empty() {
                let ask = CertifyMessage::AskClaim(self.config.number);
                self.out(CertifyOutput::Send(to, ask));
            }
        }
        if self.reports.due().is_some_and(|at| at <= now) {
            self.reports.tell(now);
            if let Some(report) = self.report_message() {
                self.tell_validators(report);
            }
        }
    }
}
