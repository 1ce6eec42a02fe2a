//! Between what is written and what the core of consensus speaks.

use arc_malachitebft_core_consensus::{Input, ProposedValue};
use arc_malachitebft_core_types::{
    NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate, RoundCertificateType,
    RoundSignature, SignedMessage, Timeout, TimeoutKind, Validity, ValueOrigin, VoteType,
};
use quipu_merge::Height;

use super::context::{self, Address, Ctx, Value};
use super::log::{Judged, TimedOut, What};
use super::signed::{Id, Polka, RoundProof, RoundVote, Signed, SignedProposal, SignedVote};

type CoreVote = SignedMessage<Ctx, context::Vote>;
type CoreProposal = SignedMessage<Ctx, context::Proposal>;

/// The core never says a round that is none where one is wanted.
fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or(0)
}

const fn kind(precommit: bool) -> VoteType {
    if precommit { VoteType::Precommit } else { VoteType::Prevote }
}

fn value_in(value: Option<Id>) -> NilOrVal<quipu_merge::CheckpointId> {
    value.map_or(NilOrVal::Nil, |id| NilOrVal::Val(id.0))
}

const fn value_out(value: &NilOrVal<quipu_merge::CheckpointId>) -> Option<Id> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(id) => Some(Id(*id)),
    }
}

pub fn vote_in(vote: &SignedVote) -> CoreVote {
    let message = context::Vote {
        height: context::Height(vote.height.0),
        round: Round::new(vote.round),
        kind: kind(vote.precommit),
        value: value_in(vote.value),
        by: Address(vote.by),
    };
    SignedMessage::new(message, vote.signature)
}

pub fn vote_out(vote: &CoreVote) -> SignedVote {
    let signature = vote.signature;
    SignedVote { signature, ..unsigned_vote(&vote.message) }
}

/// A vote that is to be signed.
pub fn unsigned_vote(vote: &context::Vote) -> SignedVote {
    SignedVote {
        height: Height(vote.height.0),
        round: number(vote.round),
        precommit: vote.kind == VoteType::Precommit,
        value: value_out(&vote.value),
        by: vote.by.0,
        signature: [0; 64],
    }
}

pub fn proposal_in(proposal: &SignedProposal) -> CoreProposal {
    let message = context::Proposal {
        height: context::Height(proposal.height.0),
        round: Round::new(proposal.round),
        value: Value(proposal.value),
        pol_round: Round::from(proposal.pol_round),
        by: Address(proposal.by),
    };
    SignedMessage::new(message, proposal.signature)
}

pub fn proposal_out(proposal: &CoreProposal) -> SignedProposal {
    SignedProposal { signature: proposal.signature, ..unsigned_proposal(&proposal.message) }
}

/// A proposal that is to be signed.
pub fn unsigned_proposal(proposal: &context::Proposal) -> SignedProposal {
    SignedProposal {
        height: Height(proposal.height.0),
        round: number(proposal.round),
        pol_round: proposal.pol_round.as_u32(),
        value: proposal.value.0,
        by: proposal.by.0,
        signature: [0; 64],
    }
}

pub fn polka_in(polka: &Polka) -> PolkaCertificate<Ctx> {
    let signature = |signed: &Signed| PolkaSignature::new(Address(signed.by), signed.signature);
    PolkaCertificate {
        height: context::Height(polka.height.0),
        round: Round::new(polka.round),
        value_id: polka.value,
        polka_signatures: polka.signatures.iter().map(signature).collect(),
    }
}

pub fn polka_out(polka: &PolkaCertificate<Ctx>) -> Polka {
    let signed = |s: &PolkaSignature<Ctx>| Signed { by: s.address.0, signature: s.signature };
    Polka {
        height: Height(polka.height.0),
        round: number(polka.round),
        value: polka.value_id,
        signatures: polka.polka_signatures.iter().map(signed).collect(),
    }
}

pub fn round_in(proof: &RoundProof) -> RoundCertificate<Ctx> {
    let signature = |vote: &RoundVote| {
        let (kind, value) = (kind(vote.precommit), value_in(vote.value));
        RoundSignature::new(kind, value, Address(vote.by), vote.signature)
    };
    RoundCertificate {
        height: context::Height(proof.height.0),
        round: Round::new(proof.round),
        cert_type: if proof.leave {
            RoundCertificateType::Precommit
        } else {
            RoundCertificateType::Skip
        },
        round_signatures: proof.votes.iter().map(signature).collect(),
    }
}

pub fn round_out(proof: &RoundCertificate<Ctx>) -> RoundProof {
    let vote = |s: &RoundSignature<Ctx>| RoundVote {
        precommit: s.vote_type == VoteType::Precommit,
        value: value_out(&s.value_id),
        by: s.address.0,
        signature: s.signature,
    };
    RoundProof {
        height: Height(proof.height.0),
        round: number(proof.round),
        leave: proof.cert_type == RoundCertificateType::Precommit,
        votes: proof.round_signatures.iter().map(vote).collect(),
    }
}

pub fn judged_in(height: Height, judged: &Judged) -> Input<Ctx> {
    let value = ProposedValue {
        height: context::Height(height.0),
        round: Round::new(judged.round),
        valid_round: Round::from(judged.pol_round),
        proposer: Address(judged.by),
        value: Value(judged.value),
        validity: if judged.valid { Validity::Valid } else { Validity::Invalid },
    };
    Input::ProposedValue(value, ValueOrigin::Consensus)
}

/// What of the log the core is to be told again.
pub fn input(height: Height, what: &What) -> Option<Input<Ctx>> {
    Some(match what {
        What::Begun(_) | What::Opened(_) | What::Parts(_) | What::Faulty => return None,
        What::Vote(vote) => Input::Vote(vote_in(vote)),
        What::Proposal(proposal) => Input::Proposal(proposal_in(proposal)),
        What::Value(judged) => judged_in(height, judged),
        What::Timeout(timeout) => {
            let kind = match timeout.step {
                0 => TimeoutKind::Propose,
                1 => TimeoutKind::Prevote,
                _ => TimeoutKind::Precommit,
            };
            Input::TimeoutElapsed(Timeout::new(Round::new(timeout.round), kind))
        }
        What::Polka(polka) => Input::PolkaCertificate(polka_in(polka)),
    })
}

/// What of the core's inputs goes into the log.
pub fn what(input: &Input<Ctx>) -> Option<What> {
    Some(match input {
        Input::Vote(vote) => What::Vote(vote_out(vote)),
        Input::Proposal(proposal) => What::Proposal(proposal_out(proposal)),
        Input::ProposedValue(value, _) => What::Value(Judged {
            round: number(value.round),
            pol_round: value.valid_round.as_u32(),
            by: value.proposer.0,
            value: value.value.0,
            valid: value.validity.is_valid(),
        }),
        Input::TimeoutElapsed(timeout) => {
            let step = match timeout.kind {
                TimeoutKind::Propose => 0,
                TimeoutKind::Prevote => 1,
                TimeoutKind::Precommit => 2,
                TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
            };
            What::Timeout(TimedOut { step, round: number(timeout.round) })
        }
        Input::PolkaCertificate(polka) => What::Polka(polka_out(polka)),
        _ => return None,
    })
}
