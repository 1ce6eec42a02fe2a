//! What nodes say to each other about certification.

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, CheckpointId, EventId, Height, MAX_ROUND, MAX_VALIDATORS};

use super::cosign::Cosigned;
use super::parts::{CertifiedBytes, PartsBytes};
use super::signed::{Polka, RoundProof, SignedProposal, SignedVote};
use crate::channel::Channel;
use crate::wire;

/// Heads in one report. A validator that has more reports these; a merge event ties them together.
pub const MAX_REPORTED_HEADS: usize = 1024;
/// Checkpoints in one answer.
pub const MAX_CHECKPOINTS: usize = 64;
/// Length of the checkpoints in one answer, in bytes. One may be more.
pub const MAX_CHECKPOINTS_LEN: usize = 512 << 10;

/// What nodes say to each other about certification. Since 1.2.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CertifyMessage {
    /// A vote, by who sends it.
    #[n(0)]
    Vote(#[n(0)] SignedVote),
    /// A proposal, with its parts.
    #[n(1)]
    Proposal(#[n(0)] Proposed),
    /// More than two thirds have prevoted for a checkpoint.
    #[n(2)]
    Polka(#[n(0)] Polka),
    /// A round has been entered, or may be left.
    #[n(3)]
    RoundProof(#[n(0)] RoundProof),
    /// What a validator holds.
    #[n(4)]
    Report(#[n(0)] Report),
    /// The last checkpoint that is held.
    #[n(5)]
    Tip(#[n(0)] TipOf),
    /// Asks a validator where it stands, after a start.
    #[n(6)]
    AskClaim(#[n(0)] u64),
    /// The answer.
    #[n(7)]
    Claim(#[n(0)] Claim),
    /// Asks for a proposal that somebody has voted for.
    #[n(8)]
    AskProposal(#[n(0)] AskProposal),
    /// Asks for the checkpoints from a height on.
    #[n(9)]
    AskCheckpoints(#[n(0)] u64),
    /// The answer: consecutive heights, as many as fit.
    #[n(10)]
    Checkpoints(#[n(0)] Vec<CertifiedBytes>),
    /// Lines of the note of one of the last checkpoints.
    #[n(11)]
    Cosigned(#[n(0)] Cosigned),
    /// Asks for the lines of a checkpoint.
    #[n(12)]
    AskCosigned(#[n(0)] u64),
}

/// A proposal, with its parts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Proposed {
    /// What is signed.
    #[n(0)]
    pub proposal: SignedProposal,
    /// The checkpoint and its blocks.
    #[n(1)]
    pub parts: Option<PartsBytes>,
}

/// What a validator holds: these events and all that precede them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// The events.
    #[cbor(n(0), with = "wire::events")]
    pub heads: Vec<EventId>,
}

/// A checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TipOf {
    /// Its height.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// Its id.
    #[cbor(n(1), with = "wire::checkpoint")]
    pub id: CheckpointId,
}

/// Where a validator stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// The number that was asked with.
    #[n(0)]
    pub number: u64,
    /// The height that it works on.
    #[cbor(n(1), with = "wire::height")]
    pub height: Height,
    /// The last vote that it has seen of who asks.
    #[n(2)]
    pub yours: Option<SignedVote>,
}

/// Asks for a proposal that somebody has voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskProposal {
    /// The height.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// The round.
    #[n(1)]
    pub round: u32,
    /// The checkpoint.
    #[cbor(n(2), with = "wire::checkpoint")]
    pub value: CheckpointId,
}

impl CertifyMessage {
    /// The channel that it is sent on: what may be long does not hold up votes.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Proposal(_)
            | Self::Polka(_)
            | Self::RoundProof(_)
            | Self::Checkpoints(_)
            | Self::Cosigned(_) => Channel::Sync,
            _ => Channel::Control,
        }
    }

    /// Whether something in it is signed with this key, for a vote or a proposal.
    pub(crate) fn is_signed_by(&self, key: &AuthorKey) -> bool {
        match self {
            Self::Vote(vote) => vote.by == *key,
            Self::Proposal(proposed) => proposed.proposal.by == *key,
            Self::Polka(polka) => polka.signatures.iter().any(|signed| signed.by == *key),
            Self::RoundProof(proof) => proof.votes.iter().any(|vote| vote.by == *key),
            _ => false,
        }
    }

    /// What breaks a limit, where something does.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let at_most =
            |count: usize, most: usize, what| if count > most { Err(what) } else { Ok(()) };
        let round = |round: u32| if round <= MAX_ROUND { Ok(()) } else { Err("rounds") };
        match self {
            Self::Polka(polka) => {
                round(polka.round)?;
                at_most(polka.signatures.len(), MAX_VALIDATORS, "signatures")
            }
            Self::RoundProof(proof) => {
                round(proof.round)?;
                at_most(proof.votes.len(), MAX_VALIDATORS, "votes")
            }
            Self::Vote(vote) => round(vote.round),
            Self::Proposal(proposed) => round(proposed.proposal.round),
            Self::Report(report) => at_most(report.heads.len(), MAX_REPORTED_HEADS, "heads"),
            Self::Cosigned(some) => at_most(some.lines.len(), MAX_VALIDATORS, "lines"),
            Self::Checkpoints(some) => at_most(some.len(), MAX_CHECKPOINTS, "checkpoints"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn read(message: CertifyMessage) -> bool {
        let channel = message.channel();
        let message = Message::Certify(message);
        match Message::decode(channel, &message.encode()) {
            Ok(read) => {
                assert_eq!(read, Some(message));
                true
            }
            Err(_) => false,
        }
    }

    #[test]
    fn what_peers_can_make_large_is_bounded() {
        let report = |count| {
            let heads = vec![EventId([1; 32]); count];
            CertifyMessage::Report(Report { heads })
        };
        assert!(read(report(MAX_REPORTED_HEADS)) && !read(report(MAX_REPORTED_HEADS + 1)));
        let polka = |count, round| {
            let (by, signature) = (AuthorKey([1; 32]), [2; 64]);
            let signatures = vec![super::super::signed::Signed { by, signature }; count];
            let (height, value) = (Height(1), CheckpointId([3; 32]));
            CertifyMessage::Polka(Polka { height, round, value, signatures })
        };
        assert!(read(polka(MAX_VALIDATORS, 0)) && !read(polka(MAX_VALIDATORS + 1, 0)));
        assert!(read(polka(1, MAX_ROUND)) && !read(polka(1, MAX_ROUND + 1)));
        let parts = PartsBytes { checkpoint: vec![1], cut: vec![2], validators: vec![3] };
        let one = CertifiedBytes { parts, certificate: vec![4] };
        let some = |count| CertifyMessage::Checkpoints(vec![one.clone(); count]);
        assert!(read(some(MAX_CHECKPOINTS)) && !read(some(MAX_CHECKPOINTS + 1)));
    }
}
