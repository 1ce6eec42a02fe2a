//! One height of consensus: the core, its signatures, and what it wants done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_malachitebft_core_consensus::{
    Effect, Error, Input, LivenessMsg, LocallyProposedValue, Params, Resumable, Resume,
    SignedConsensusMsg, State, ValuePayload, process,
};
use arc_malachitebft_core_types::{
    CommitCertificate, Round, SignedMessage, ThresholdParams, Timeout, VoteExtensionPolicy,
};
use quipu_merge::{AuthorKey, CheckpointId, EventId, Height};

use super::context::{self, Address, Ctx, ValidatorSet, Value};
use super::convert;
use super::evidence::Evidence;
use super::keys::Keys;
use super::log::{Entry, Judged, What};
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

/// A height that is being decided.
pub struct Engine {
    state: State<Ctx>,
    shell: Shell,
    shown: BTreeSet<(AuthorKey, u32, u8)>,
}

/// What the core's effects reach.
struct Shell {
    ledger: EventId,
    height: Height,
    keys: Arc<dyn Keys>,
    acts: Vec<Act>,
    /// What has been signed in this height, by round and step. The core keeps to it, and if ever it
    /// does not, nothing leaves.
    signed: BTreeMap<(u32, u8), Signature>,
    /// What the log holds, while it is replayed: it is not appended again.
    recorded: BTreeSet<Vec<u8>>,
    fault: Option<Fault>,
    /// Something that is checked here did not hold.
    bad: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    message: Vec<u8>,
    signature: [u8; 64],
}

/// Where consensus stands within a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    pub round: u32,
    pub step: Step,
}

/// What a validator is doing in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Waiting for a proposal, or making one.
    Propose,
    /// It has prevoted.
    Prevote,
    /// It has precommitted.
    Precommit,
    /// It has decided.
    Commit,
}

impl Engine {
    /// A height that has not been started. Nothing is signed in it unless `signs`.
    pub fn new(
        (me, ledger, height): (AuthorKey, EventId, Height),
        validators: &[AuthorKey],
        keys: Arc<dyn Keys>,
        signs: bool,
        quorum: ThresholdParams,
    ) -> Self {
        let params = Params {
            address: Address(me),
            threshold_params: quorum,
            value_payload: ValuePayload::ProposalAndParts,
            enabled: signs,
        };
        let set = ValidatorSet::new(validators);
        // Nothing is buffered inside: what comes early is kept, and counted, outside.
        let state = State::new(Ctx, context::Height(height.0), set, params, 0, 0);
        let shell = Shell {
            ledger,
            height,
            keys,
            acts: Vec::new(),
            signed: BTreeMap::new(),
            recorded: BTreeSet::new(),
            fault: None,
            bad: false,
        };
        Self { state, shell, shown: BTreeSet::new() }
    }

    /// Starts it, with what the log holds of it; and what has been signed `before` voting began anew.
    pub fn start(&mut self, before: &[What], log: &[What]) -> Result<Vec<Act>, Fault> {
        let height = self.shell.height;
        for what in before {
            self.shell.remember(what, self.state.address().0);
        }
        let inputs: Vec<_> = log.iter().filter_map(|what| convert::input(height, what)).collect();
        for what in log {
            self.shell.record(what, self.state.address().0);
        }
        self.state.index_wal_entries(&inputs);
        let set = self.state.validator_set().clone();
        let policy = VoteExtensionPolicy::Disabled;
        // Not as a restart: that would throw away what is replayed.
        let start = Input::StartHeight(context::Height(height.0), set, false, None, policy);
        let mut acts = self.feed(start)?;
        for input in inputs {
            acts.extend(self.feed(input)?);
        }
        self.state.reset_entries_index();
        self.shell.recorded.clear();
        Ok(acts)
    }

    pub fn vote(&mut self, vote: &SignedVote) -> Result<Vec<Act>, Fault> {
        self.feed(Input::Vote(convert::vote_in(vote)))
    }

    pub fn proposal(&mut self, proposal: &SignedProposal) -> Result<Vec<Act>, Fault> {
        self.feed(Input::Proposal(convert::proposal_in(proposal)))
    }

    pub fn polka(&mut self, polka: &Polka) -> Result<Vec<Act>, Fault> {
        self.feed(Input::PolkaCertificate(convert::polka_in(polka)))
    }

    pub fn round_proof(&mut self, proof: &RoundProof) -> Result<Vec<Act>, Fault> {
        self.feed(Input::RoundCertificate(convert::round_in(proof)))
    }

    pub fn judged(&mut self, judged: &Judged) -> Result<Vec<Act>, Fault> {
        self.feed(convert::judged_in(self.shell.height, judged))
    }

    pub fn timeout(&mut self, timeout: Timeout) -> Result<Vec<Act>, Fault> {
        self.feed(Input::TimeoutElapsed(timeout))
    }

    /// Proposes a checkpoint, if it is still this validator's turn.
    pub fn propose(&mut self, round: u32, value: CheckpointId) -> Result<Vec<Act>, Fault> {
        if self.shell.signed.contains_key(&(round, 0)) || !self.state.driver.step_is_propose() {
            return Ok(Vec::new());
        }
        let height = context::Height(self.shell.height.0);
        let value = LocallyProposedValue::new(height, Round::new(round), Value(value));
        self.feed(Input::Propose(value))
    }

    pub fn stand(&self) -> Stand {
        let driver = &self.state.driver;
        let step = if driver.step_is_prevote() {
            Step::Prevote
        } else if driver.step_is_precommit() {
            Step::Precommit
        } else if driver.step_is_commit() {
            Step::Commit
        } else {
            Step::Propose
        };
        Stand { round: driver.round().as_u32().unwrap_or(0), step }
    }

    /// The votes of a round that have been counted.
    pub fn votes(&self, round: u32) -> impl Iterator<Item = SignedVote> + '_ {
        let votes = self.state.driver.votes().per_round(Round::new(round));
        votes.into_iter().flat_map(|votes| votes.received_votes()).map(convert::vote_out)
    }

    /// The checkpoint that more than two thirds have prevoted for last, where some did.
    pub fn favourite(&self) -> Option<CheckpointId> {
        self.state.driver.valid_value().map(|valid| valid.value.0)
    }

    /// Whether something that was fed did not hold, since this was asked last.
    pub fn was_bad(&mut self) -> bool {
        std::mem::take(&mut self.shell.bad)
    }

    /// What has been found of others that voted or proposed twice, and was not told before.
    pub fn evidence(&mut self) -> Vec<Evidence> {
        let driver = &self.state.driver;
        let (votes, proposals) = (driver.votes().evidence(), driver.proposals().evidence());
        if votes.is_empty() && proposals.is_empty() {
            return Vec::new();
        }
        let ledger = self.shell.ledger;
        let votes = votes.iter().flat_map(|(_, pairs)| pairs).map(|(one, other)| {
            Evidence::votes(ledger, convert::vote_out(one), convert::vote_out(other))
        });
        let proposals = proposals.iter().flat_map(|(_, pairs)| pairs).map(|(one, other)| {
            let (one, other) = (convert::proposal_out(one), convert::proposal_out(other));
            Evidence::proposals(ledger, one, other)
        });
        let all = votes.chain(proposals);
        all.filter(|evidence| self.shown.insert(evidence.key())).collect()
    }

    /// Evidence that somebody has proposed one checkpoint twice for a round, referring to different rounds
    /// before, if it has not been told. Both signatures hold.
    pub fn twice(&mut self, one: SignedProposal, other: &SignedProposal) -> Option<Evidence> {
        if one.pol_round == other.pol_round {
            return None;
        }
        let evidence = Evidence::proposals(self.shell.ledger, one, other.clone());
        self.shown.insert(evidence.key()).then_some(evidence)
    }

    fn feed(&mut self, input: Input<Ctx>) -> Result<Vec<Act>, Fault> {
        let (state, shell) = (&mut self.state, &mut self.shell);
        let result: Result<(), Error<Ctx>> = process!(
            input: input,
            state: state,
            metrics: &(),
            with: effect => Ok::<_, Error<Ctx>>(shell.handle(effect))
        );
        let acts = std::mem::take(&mut shell.acts);
        if let Some(fault) = shell.fault.clone() {
            return Err(fault);
        }
        match result {
            Ok(()) => Ok(acts),
            Err(Error::ReplayDivergence(..)) => Err(Fault::Diverged(shell.height)),
            Err(error) => Err(Fault::Core(error.to_string())),
        }
    }
}

impl Shell {
    fn checker(&self) -> Checker<'_> {
        Checker { ledger: self.ledger, keys: &*self.keys }
    }

    /// Notes what the log holds.
    fn record(&mut self, what: &What, me: AuthorKey) {
        let entry = Entry { height: self.height, what: what.clone() };
        self.recorded.insert(entry.encode());
        self.remember(what, me);
    }

    /// Notes what has been signed.
    fn remember(&mut self, what: &What, me: AuthorKey) {
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
    fn handle(&mut self, effect: Effect<Ctx>) -> Resume<Ctx> {
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
