//! Proposals: one's own, and what becomes of those of others.

use quipu_merge::{CheckpointId, quorum};

use super::certifier::{Certifier, Purpose};
use super::engine::{Engine, Step};
use super::log::{Judged, What};
use super::message::{CertifyMessage, Proposed};
use super::parts::Parts;
use super::signed::SignedProposal;
use super::task::{CertifyTask, Reports};
use super::values::{Candidate, Verdict};
use crate::time::Moment;

impl Certifier {
    /// Proposes, if it is this validator's turn.
    pub(super) fn propose(&mut self, now: Moment) {
        let Some(turn) = self.turn else { return };
        let Some(stand) = self.engine.as_ref().map(Engine::stand) else { return };
        if stand.round != turn || stand.step != Step::Propose {
            self.turn = None;
        } else if let Some(chosen) = self.values.chosen {
            self.turn = None;
            self.run(now, |engine| engine.propose(turn, chosen));
        } else if !self.choosing && self.retry.is_none_or(|at| at <= now) {
            self.choosing = true;
            self.retry = None;
            let (reports, quorum) = self.reports_and_quorum();
            let purpose = Purpose::Choose(self.height());
            self.task(purpose, |ticket| CertifyTask::Choose { ticket, reports, quorum });
        }
    }

    pub(super) fn reports_and_quorum(&self) -> (Reports, usize) {
        let validators = self.chain.validators();
        (self.reports.all(self.config.me, validators), quorum(validators.len()))
    }

    pub(super) fn tell_proposal(&mut self, proposal: SignedProposal) {
        let message = self.proposed(proposal);
        self.tell_validators(message);
    }

    pub(super) fn proposed(&self, proposal: SignedProposal) -> CertifyMessage {
        let parts = self.values.get(proposal.value).map(|candidate| candidate.parts.encode());
        CertifyMessage::Proposal(Proposed { proposal, parts })
    }

    /// A value has been judged.
    pub(super) fn judge(&mut self, value: CheckpointId, valid: bool, now: Moment) {
        let known = self.values.get_mut(value).filter(|candidate| !candidate.is_settled());
        let Some(candidate) = known else { return };
        candidate.verdict = if valid { Verdict::Same } else { Verdict::Differs };
        candidate.judged.valid = valid;
        let (judged, parts) = (candidate.judged.clone(), candidate.parts.encode());
        if self.engine.is_none() {
            return;
        }
        if valid {
            self.append(What::Parts(parts));
        }
        self.run(now, |engine| engine.judged(&judged));
    }

    /// What has been chosen is proposed, now and whenever it is this validator's turn in this height.
    pub(super) fn chosen(&mut self, parts: Parts, now: Moment) {
        let Some(stand) = self.engine.as_ref().map(Engine::stand) else { return };
        if !self.follows(&parts) {
            return;
        }
        let id = parts.id();
        self.values.chosen = Some(id);
        if self.values.get(id).is_none() {
            let (round, by) = (stand.round, self.config.me);
            let judged = Judged { round, pol_round: None, by, value: id, valid: false };
            let favourite = self.engine.as_ref().and_then(Engine::favourite);
            self.values.add(Candidate::new(parts, judged, Verdict::Ahead), favourite);
        }
        // The core has to know of it, whether it is proposed here or not: others may propose the same, and
        // a log in which it stands is replayed as if it had.
        self.judge(id, true, now);
        self.propose(now);
    }

    /// Whether a checkpoint can be the next at all.
    pub(super) fn follows(&self, parts: &Parts) -> bool {
        let checkpoint = parts.checkpoint();
        let tip = self.tip.as_ref().map(|tip| tip.parts.checkpoint());
        checkpoint.ledger == self.config.ledger
            && checkpoint.height == self.height()
            && checkpoint.prev == self.chain.tip()
            && tip.is_none_or(|tip| checkpoint.size > tip.size && checkpoint.time >= tip.time)
    }
}
