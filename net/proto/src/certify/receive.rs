//! What peers say.

use quipu_merge::{AuthorKey, Height};

use super::certifier::{Certifier, Purpose};
use super::engine::Engine;
use super::interface::CertifyOutput;
use super::limits::RETRY_EVERY;
use super::log::{Judged, What};
use super::message::{
    AskProposal, CertifyMessage, Claim, MAX_CHECKPOINTS, MAX_CHECKPOINTS_LEN, Proposed,
};
use super::parts::{Parts, PartsBytes};
use super::signed::SignedVote;
use super::status::{Divergence, Stopped};
use super::task::{CertifyAnswer, CertifyTask, Derived};
use super::values::{Candidate, Verdict};
use crate::score::Misbehaviour;
use crate::task::Ticket;
use crate::time::Moment;

impl Certifier {
    pub(super) fn received(&mut self, from: AuthorKey, message: CertifyMessage, now: Moment) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if !peer.may_speak(now) {
            return self.blame(from, Misbehaviour::Flood);
        }
        match message {
            CertifyMessage::Tip(tip) => peer.tip = Some(tip),
            CertifyMessage::AskCheckpoints(height) => {
                if peer.may_ask(now) {
                    peer.reading = true;
                    let from_height = Height(height);
                    self.task(Purpose::Read(from), |ticket| CertifyTask::Read {
                        ticket,
                        from: from_height,
                        count: MAX_CHECKPOINTS,
                        max_len: MAX_CHECKPOINTS_LEN,
                    });
                }
            }
            // Another part of the node gathers these.
            CertifyMessage::Cosigned(_) | CertifyMessage::AskCosigned(_) => {}
            CertifyMessage::Checkpoints(some) => self.checkpoints(from, &some),
            // Whoever has stopped does not vote, or help others to.
            _ if self.stopped.is_some() || self.config.follows => {}
            _ if self.chain.validators().binary_search(&from).is_err() => {}
            CertifyMessage::Report(report) => self.reports.report(from, report.heads),
            // Who does not know where it stands itself is of no help.
            CertifyMessage::AskClaim(number) if !self.recall.lost => {
                let (height, yours) = (self.height(), self.seen.get(&from).cloned());
                self.send(from, CertifyMessage::Claim(Claim { number, height, yours }));
            }
            CertifyMessage::AskClaim(_) => {}
            CertifyMessage::Claim(claim) => self.claimed(from, claim, now),
            CertifyMessage::AskProposal(ask) => self.asked_for(from, ask),
            CertifyMessage::Vote(_)
            | CertifyMessage::Proposal(_)
            | CertifyMessage::Polka(_)
            | CertifyMessage::RoundProof(_) => self.consensus_message(from, message, now),
        }
    }

    pub(super) fn blame(&mut self, peer: AuthorKey, what: Misbehaviour) {
        self.out(CertifyOutput::Misbehaved(peer, what));
    }

    fn claimed(&mut self, from: AuthorKey, claim: Claim, now: Moment) {
        if claim.number != self.config.number {
            return;
        }
        self.recall.claim(from, claim.height);
        // Whatever others have seen must be in the log, or have been signed since.
        let forgotten = |vote: &SignedVote| {
            vote.by == self.config.me
                && vote.height >= self.height()
                && vote.holds(self.config.ledger, &*self.keys)
                && !self.remembers(vote)
        };
        if !self.recall.lost
            && let Some(vote) = claim.yours.filter(forgotten)
        {
            self.recall.lost = true;
            if vote.height == self.height() {
                self.keep_own(&What::Vote(vote));
            }
            self.begin_anew(now);
        }
    }

    /// Whether the log holds a vote of this validator's.
    fn remembers(&self, vote: &SignedVote) -> bool {
        let same = |what: &What| matches!(what, What::Vote(logged) if logged == vote);
        vote.height == self.height() && self.own.iter().any(same)
    }

    fn asked_for(&mut self, from: AuthorKey, ask: AskProposal) {
        if ask.height != self.height() {
            return;
        }
        let known = self.values.proposal(ask.round, ask.value).cloned();
        if let Some(proposal) = known.filter(|_| self.values.get(ask.value).is_some()) {
            let message = self.proposed(proposal);
            self.send(from, message);
        }
    }

    /// A message of voting: for this height it is taken, for the next it is kept.
    pub(super) fn consensus_message(
        &mut self,
        from: AuthorKey,
        message: CertifyMessage,
        now: Moment,
    ) {
        let (of, height) = match &message {
            CertifyMessage::Vote(vote) => (vote.height, self.height()),
            CertifyMessage::Proposal(proposed) => (proposed.proposal.height, self.height()),
            CertifyMessage::Polka(polka) => (polka.height, self.height()),
            CertifyMessage::RoundProof(proof) => (proof.height, self.height()),
            _ => return,
        };
        if matches!(&message, CertifyMessage::Vote(vote) if vote.by != from) {
            return self.blame(from, Misbehaviour::Unasked);
        }
        if of < height {
            // Who votes on what is certified does not know it.
            if let (CertifyMessage::Vote(_), Some(tip)) = (&message, self.tip_message()) {
                self.send(from, tip);
            }
        } else if of == height && self.engine.is_some() {
            let held = match message {
                CertifyMessage::Vote(vote) => self.run(now, |engine| engine.vote(&vote)),
                CertifyMessage::Polka(polka) => self.run(now, |engine| engine.polka(&polka)),
                CertifyMessage::RoundProof(proof) => {
                    self.run(now, |engine| engine.round_proof(&proof))
                }
                CertifyMessage::Proposal(proposed) => self.proposal(&proposed, now),
                _ => true,
            };
            if !held {
                self.blame(from, Misbehaviour::Bogus);
            }
        } else if of.0 <= height.0.saturating_add(1) {
            self.peers.keep(from, of, message);
        }
    }

    /// A proposal for this height. Whether it is one.
    fn proposal(&mut self, proposed: &Proposed, now: Moment) -> bool {
        let Proposed { proposal, parts } = proposed;
        let validators = self.chain.validators();
        let turn = super::context::proposer(validators, proposal.height.0, proposal.round);
        if turn != Some(proposal.by) || !proposal.holds(self.config.ledger, &*self.keys) {
            return false;
        }
        let parts = match parts.as_ref().map(PartsBytes::decode) {
            Some(Err(_)) => return false,
            Some(Ok(parts)) if parts.id() != proposal.value => return false,
            Some(Ok(parts)) => Some(parts),
            None => None,
        };
        let known = self.values.proposal(proposal.round, proposal.value).cloned();
        let was_known = known.is_some();
        if let Some(known) = known {
            // The core would apply it once more, without a trace in the log.
            let evidence = self.engine.as_mut().and_then(|engine| engine.twice(known, proposal));
            self.tell_evidence(evidence.into_iter().collect());
        } else {
            self.run(now, |engine| engine.proposal(proposal));
        }
        // The core takes few of one round, and none that is far ahead: whatever it has not taken is not
        // looked at.
        let is_known = self.values.proposal(proposal.round, proposal.value).is_some();
        if self.engine.is_some() && is_known {
            let judged = Judged {
                round: proposal.round,
                pol_round: proposal.pol_round,
                by: proposal.by,
                value: proposal.value,
                valid: false,
            };
            self.candidate(judged, parts, !was_known, now);
        }
        true
    }

    /// A proposal has been taken, perhaps not for the first time.
    fn candidate(&mut self, judged: Judged, parts: Option<Parts>, is_new: bool, now: Moment) {
        match (self.values.get_mut(judged.value), parts) {
            (Some(known), _) if known.is_settled() => {
                // Proposed for one round more, it may be one that the core had no room for.
                let judged = Judged { valid: known.judged.valid, ..judged };
                if is_new {
                    self.run(now, |engine| engine.judged(&judged));
                }
            }
            (Some(known), _) => {
                // Its round may have come.
                if judged.round < known.judged.round {
                    known.judged = judged;
                }
            }
            (None, Some(parts)) => {
                let (value, follows) = (judged.value, self.follows(&parts));
                let favourite = self.engine.as_ref().and_then(Engine::favourite);
                let candidate = Candidate::new(parts, judged, Verdict::Ahead);
                // What it asks of the store has to wait for its turn: one that lies may propose for many
                // rounds.
                if self.values.add(candidate, favourite) && !follows {
                    self.judge(value, false, now);
                }
            }
            (None, None) => {}
        }
    }

    /// The store has answered.
    pub(super) fn done(&mut self, ticket: Ticket, answer: CertifyAnswer, now: Moment) {
        let height = self.height();
        match (self.tasks.remove(&ticket), answer) {
            (Some(Purpose::Read(peer)), answer) => {
                let Some(there) = self.peers.get_mut(&peer) else { return };
                there.reading = false;
                if let CertifyAnswer::Read(some) = answer {
                    let some = some.iter().map(super::parts::Certified::encode).collect();
                    self.send(peer, CertifyMessage::Checkpoints(some));
                }
            }
            _ if self.stopped.is_some() => {}
            (Some(Purpose::Grows(of)), answer) if of == height => {
                self.looking = false;
                match answer {
                    CertifyAnswer::Grows(true) => self.begin(now),
                    CertifyAnswer::Grows(false) => {}
                    _ => {
                        self.reports.changed = true;
                        self.not_before = now.after(RETRY_EVERY);
                    }
                }
            }
            (Some(Purpose::Choose(of)), answer) if of == height => {
                self.choosing = false;
                match answer {
                    CertifyAnswer::Chosen(Some(parts)) => self.chosen(*parts, now),
                    // Others may hold more, or the store can do it later.
                    _ => self.retry = Some(now.after(RETRY_EVERY)),
                }
            }
            (Some(Purpose::Derive(of, value)), answer) if of == height => match answer {
                CertifyAnswer::Derived(Derived::Same) => self.judge(value, true, now),
                CertifyAnswer::Derived(Derived::Differs(_)) => {
                    self.judge(value, self.config.sabotage.blind, now);
                }
                _ => {
                    if let Some(candidate) = self.values.get_mut(value) {
                        candidate.verdict = Verdict::Lacks(now.after(RETRY_EVERY));
                    }
                }
            },
            (Some(Purpose::Keep(of)), answer) if of == height => self.keep_answered(answer, now),
            _ => {}
        }
    }

    fn keep_answered(&mut self, answer: CertifyAnswer, now: Moment) {
        match answer {
            CertifyAnswer::Derived(Derived::Same) => self.kept(now),
            CertifyAnswer::Derived(Derived::Differs(own)) => {
                let Some(keeping) = self.keeping.take() else { return };
                let divergence = Divergence::Derived(*keeping.certified, own.map(|own| *own));
                self.diverged(divergence);
            }
            _ => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.retry = Some(now.after(RETRY_EVERY));
                }
            }
        }
    }

    pub(super) fn diverged(&mut self, divergence: Divergence) {
        let (Divergence::Twice(certified, _) | Divergence::Derived(certified, _)) = &divergence;
        let height = certified.parts.checkpoint().height;
        self.stop(Stopped::Diverged(height));
        self.out(CertifyOutput::Diverged(Box::new(divergence)));
    }
}
