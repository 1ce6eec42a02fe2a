//! One height of consensus: the core, its signatures, and what it wants done.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_malachitebft_core_consensus::{
    Error, Input, LocallyProposedValue, Params, State, ValuePayload, process,
};
use arc_malachitebft_core_types::{Round, ThresholdParams, Timeout, VoteExtensionPolicy};
use quipu_merge::{AuthorKey, CheckpointId, EventId, Height};

use super::context::{self, Address, Ctx, ValidatorSet, Value};
use super::convert;
use super::evidence::Evidence;
use super::keys::Keys;
use super::log::{Judged, What};
use super::shell::{Act, Fault, Shell};
use super::signed::{Polka, RoundProof, SignedProposal, SignedVote};

/// A height that is being decided.
pub struct Engine {
    state: State<Ctx>,
    shell: Shell,
    shown: BTreeSet<(AuthorKey, u32, u8)>,
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
        let shell = Shell::new(ledger, height, keys);
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
