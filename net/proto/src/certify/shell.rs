//! What the effects of the core reach: signatures, the log, and what is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_malachitebft_core_consensus::{Effect, LivenessMsg, Resumable, Resume, SignedConsensusMsg};
use arc_malachitebft_core_types::{CommitCertificate, SignedMessage, Timeout};
use quipu_merge::{AuthorKey, EventId, Height};

use super::context::{self, Ctx};
use super::convert;
use super::keys::Keys;
use super::log::{Entry, What};
use super::quorum::Checker;
use super::signed::{Polka, RoundProof, SignedProposal, SignedVote};

/// What the core wants done, in this order.
#[derive(Debug)]
pub enum Act {
    Log(Entry),
    Vote(SignedVote),
    Proposal(SignedProposal),
    Polka(Polka),
    RoundProof(RoundProof),
    /// It is this validator's turn, and it has nothing to propose yet.
    GetValue(u32),
    Schedule(Timeout),
    Cancel(Timeout),
    CancelAll,
    Decide(CommitCertificate<Ctx>),
}

/// Why nothing may be signed any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The log leads to another vote or proposal than it holds.
    #[error("the log of height {0} leads to another vote or proposal than the one in it")]
    Diverged(Height),
    /// One of these was found before the node was started.
    #[error("the log says that signing on could mean to sign twice")]
    Before,
    /// Something else has been signed for this height and round.
    #[error("another vote or proposal of round {1} of height {0} has been signed before")]
    Twice(Height, u32),
    /// The key is not to be had.
    #[error("the key is not to be had")]
    NoKey,
    /// The core of consensus says that something cannot be.
    #[error("the core of consensus has failed: {0}")]
    Core(String),
}

/// What the core's effects reach.
pub struct Shell {
    pub ledger: EventId,
    pub height: Height,
    keys: Arc<dyn Keys>,
    pub acts: Vec<Act>,
    /// What has been signed in this height, by round and step. The core keeps to it, and if ever it
    /// does not, nothing leaves.
    pub signed: BTreeMap<(u32, u8), Signature>,
    /// What the log holds, while it is replayed: it is not appended again.
    pub recorded: BTreeSet<Vec<u8>>,
    pub fault: Option<Fault>,
    /// Something that is checked here did not hold.
    pub bad: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    message: Vec<u8>,
    signature: [u8; 64],
}

impl Shell {
    pub fn new(ledger: EventId, height: Height, keys: Arc<dyn Keys>) -> Self {
        Self {
            ledger,
            height,
            keys,
            acts: Vec::new(),
            signed: BTreeMap::new(),
            recorded: BTreeSet::new(),
            fault: None,
            bad: false,
        }
    }

    fn checker(&self) -> Checker<'_> {
        Checker { ledger: self.ledger, keys: &*self.keys }
    }

    /// Notes what the log holds.
    pub fn record(&mut self, what: &What, me: AuthorKey) {
        let entry = Entry { height: self.height, what: what.clone() };
        self.recorded.insert(entry.encode());
        self.remember(what, me);
    }

    /// Notes what has been signed.
    pub fn remember(&mut self, what: &What, me: AuthorKey) {
        let (at, message, signature) = match what {
            What::Vote(vote) if vote.by == me => {
                let message = vote.vote(self.ledger).signing_bytes().unwrap_or_default();
                ((vote.round, 1 + u8::from(vote.precommit)), message, vote.signature)
            }
            What::Proposal(proposal) if proposal.by == me => {
                let message = proposal.signing_bytes(self.ledger);
                ((proposal.round, 0), message, proposal.signature)
            }
            _ => return,
        };
        self.signed.entry(at).or_insert(Signature { message, signature });
    }

    fn sign(&mut self, round: u32, step: u8, message: Vec<u8>) -> [u8; 64] {
        if let Some(before) = self.signed.get(&(round, step)) {
            if before.message != message {
                self.fault.get_or_insert(Fault::Twice(self.height, round));
            }
            return before.signature;
        }
        let Some(signature) = self.keys.sign(&message) else {
            self.fault.get_or_insert(Fault::NoKey);
            return [0; 64];
        };
        self.signed.insert((round, step), Signature { message, signature });
        signature
    }

    /// Does what an effect asks for. It never fails: what goes wrong is noted, and then nothing of
    /// the whole input leaves.
    pub fn handle(&mut self, effect: Effect<Ctx>) -> Resume<Ctx> {
        let act = match effect {
            Effect::SignVote(vote, resume) => return resume.resume_with(self.sign_vote(vote)),
            Effect::SignProposal(proposal, resume) => {
                let unsigned = convert::unsigned_proposal(&proposal);
                let message = unsigned.signing_bytes(self.ledger);
                let signature = self.sign(unsigned.round, 0, message);
                return resume.resume_with(SignedMessage::new(proposal, signature));
            }
            Effect::VerifySignature(message, key, resume) => {
                let holds = self.holds(&message, key);
                self.bad |= !holds;
                return resume.resume_with(holds);
            }
            Effect::VerifyCommitCertificate(certificate, validators, thresholds, resume) => {
                let checked = self.checker().commit(&certificate, &validators, thresholds);
                return resume.resume_with(checked);
            }
            Effect::VerifyPolkaCertificate(certificate, validators, thresholds, resume) => {
                let checked = self.checker().polka(&certificate, &validators, thresholds);
                self.bad |= checked.is_err();
                return resume.resume_with(checked);
            }
            Effect::VerifyRoundCertificate(certificate, validators, thresholds, resume) => {
                let checked = self.checker().round(&certificate, &validators, thresholds);
                self.bad |= checked.is_err();
                return resume.resume_with(checked);
            }
            // Checkpoints of others are checked outside, and votes carry nothing else.
            Effect::VerifyExtendedCommitCertificate(certificate, validators, thresholds, _, r) => {
                let certificate = certificate.trim_vote_extensions();
                return r.resume_with(self.checker().commit(&certificate, &validators, thresholds));
            }
            Effect::ExtendVote(.., resume) => return resume.resume_with(None),
            Effect::VerifyVoteExtension(.., resume) => return resume.resume_with(Ok(())),
            Effect::WalAppend(_, input, _) => {
                let Some(what) = convert::what(&input) else { return Resume::Continue };
                let entry = Entry { height: self.height, what };
                if !self.recorded.is_empty() && self.recorded.contains(&entry.encode()) {
                    return Resume::Continue;
                }
                Act::Log(entry)
            }
            Effect::PublishConsensusMsg(SignedConsensusMsg::Vote(vote), _)
            | Effect::PublishLivenessMsg(LivenessMsg::Vote(vote), _)
            | Effect::RepublishVote(vote, _) => Act::Vote(convert::vote_out(&vote)),
            Effect::PublishConsensusMsg(SignedConsensusMsg::Proposal(proposal), _) => {
                Act::Proposal(convert::proposal_out(&proposal))
            }
            Effect::PublishLivenessMsg(LivenessMsg::PolkaCertificate(polka), _) => {
                Act::Polka(convert::polka_out(&polka))
            }
            Effect::PublishLivenessMsg(LivenessMsg::SkipRoundCertificate(proof), _)
            | Effect::RepublishRoundCertificate(proof, _) => {
                Act::RoundProof(convert::round_out(&proof))
            }
            Effect::GetValue(_, round, ..) => Act::GetValue(round.as_u32().unwrap_or(0)),
            Effect::ScheduleTimeout(timeout, _) => Act::Schedule(timeout),
            Effect::CancelTimeout(timeout, _) => Act::Cancel(timeout),
            Effect::CancelAllTimeouts(_) => Act::CancelAll,
            Effect::Decide(certificate, ..) => Act::Decide(certificate),
            // A proposal always travels with its parts, and a height ends with its decision.
            Effect::RestreamProposal(..)
            | Effect::StartRound(..)
            | Effect::CertVerifiedSyncValue(..)
            | Effect::CertRejectedSyncValue(..)
            | Effect::Finalize(..) => return Resume::Continue,
        };
        self.acts.push(act);
        Resume::Continue
    }

    fn sign_vote(&mut self, vote: context::Vote) -> SignedMessage<Ctx, context::Vote> {
        let unsigned = convert::unsigned_vote(&vote);
        let message = match unsigned.vote(self.ledger).signing_bytes() {
            Ok(message) => message,
            Err(error) => {
                self.fault.get_or_insert(Fault::Core(error.to_string()));
                return SignedMessage::new(vote, [0; 64]);
            }
        };
        let signature = self.sign(unsigned.round, 1 + u8::from(unsigned.precommit), message);
        SignedMessage::new(vote, signature)
    }

    fn holds(
        &self,
        message: &SignedMessage<Ctx, arc_malachitebft_core_consensus::ConsensusMsg<Ctx>>,
        key: AuthorKey,
    ) -> bool {
        use arc_malachitebft_core_consensus::ConsensusMsg;
        let signature = message.signature;
        match &message.message {
            ConsensusMsg::Vote(vote) => {
                let vote = convert::vote_out(&SignedMessage::new(vote.clone(), signature));
                vote.by == key && vote.holds(self.ledger, &*self.keys)
            }
            ConsensusMsg::Proposal(proposal) => {
                let proposal = SignedMessage::new(proposal.clone(), signature);
                let proposal = convert::proposal_out(&proposal);
                proposal.by == key && proposal.holds(self.ledger, &*self.keys)
            }
        }
    }
}
