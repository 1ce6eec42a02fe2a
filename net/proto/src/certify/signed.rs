//! What validators sign, and how it is written.

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, CheckpointId, EventId, Height, MAX_ROUND, Round, Vote, VoteType};

use super::keys::Keys;
use crate::wire;

const PROPOSAL_DOMAIN: &[u8] = b"quipu/proposal/v1\0";

/// The id of a checkpoint where there may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Id(#[cbor(n(0), with = "wire::checkpoint")] pub CheckpointId);

/// A vote with its signature, which is over the encoding that certificates are made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct SignedVote {
    /// The height.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// The round.
    #[n(1)]
    pub round: u32,
    /// Whether it is a precommit.
    #[n(2)]
    pub precommit: bool,
    /// The checkpoint, or none of those proposed.
    #[n(3)]
    pub value: Option<Id>,
    /// Who votes.
    #[cbor(n(4), with = "wire::author")]
    pub by: AuthorKey,
    /// The signature.
    #[cbor(n(5), with = "wire::signature")]
    pub signature: [u8; 64],
}

impl SignedVote {
    /// What is signed. The ledger is not sent along: it is that of the connection.
    pub fn vote(&self, ledger: EventId) -> Vote {
        Vote {
            ledger,
            height: self.height,
            round: Round(self.round),
            vote_type: if self.precommit { VoteType::Precommit } else { VoteType::Prevote },
            value: self.value.map(|id| id.0),
        }
    }

    /// Whether the signature holds.
    pub fn holds(&self, ledger: EventId, keys: &dyn Keys) -> bool {
        let message = self.vote(ledger).signing_bytes();
        message.is_ok_and(|message| keys.verify(&self.by, &message, &self.signature))
    }
}

/// A proposal with its signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct SignedProposal {
    /// The height.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// The round.
    #[n(1)]
    pub round: u32,
    /// The round in which more than two thirds voted for the same before, if they did.
    #[n(2)]
    pub pol_round: Option<u32>,
    /// The checkpoint.
    #[cbor(n(3), with = "wire::checkpoint")]
    pub value: CheckpointId,
    /// Who proposes it.
    #[cbor(n(4), with = "wire::author")]
    pub by: AuthorKey,
    /// The signature.
    #[cbor(n(5), with = "wire::signature")]
    pub signature: [u8; 64],
}

impl SignedProposal {
    /// What is signed: `"quipu/proposal/v1" 0x00`, the ledger's 32 bytes, height, round and the
    /// earlier round (all bits set where there is none) as big-endian numbers of 8, 4 and 4 bytes, the
    /// checkpoint's 32 bytes.
    pub fn signing_bytes(&self, ledger: EventId) -> Vec<u8> {
        [
            PROPOSAL_DOMAIN,
            &ledger.0,
            &self.height.0.to_be_bytes(),
            &self.round.to_be_bytes(),
            &self.pol_round.unwrap_or(u32::MAX).to_be_bytes(),
            &self.value.0,
        ]
        .concat()
    }

    /// Whether the signature holds.
    pub fn holds(&self, ledger: EventId, keys: &dyn Keys) -> bool {
        self.is_in_range() && keys.verify(&self.by, &self.signing_bytes(ledger), &self.signature)
    }

    /// Whether its rounds are rounds.
    pub fn is_in_range(&self) -> bool {
        self.round <= MAX_ROUND && self.pol_round.is_none_or(|round| round < self.round)
    }
}

/// A validator and its signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Signed {
    /// Who.
    #[cbor(n(0), with = "wire::author")]
    pub by: AuthorKey,
    /// The signature.
    #[cbor(n(1), with = "wire::signature")]
    pub signature: [u8; 64],
}

/// Prevotes of more than two thirds for one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Polka {
    /// The height.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// The round.
    #[n(1)]
    pub round: u32,
    /// The checkpoint.
    #[cbor(n(2), with = "wire::checkpoint")]
    pub value: CheckpointId,
    /// The prevotes.
    #[n(3)]
    pub signatures: Vec<Signed>,
}

/// Votes that show that a round has been entered, or may be left.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RoundProof {
    /// The height.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// The round.
    #[n(1)]
    pub round: u32,
    /// Whether it is precommits of more than two thirds, so that the round may be left; otherwise
    /// votes of more than one third, so that it may be entered.
    #[n(2)]
    pub leave: bool,
    /// The votes.
    #[n(3)]
    pub votes: Vec<RoundVote>,
}

/// One vote of them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RoundVote {
    /// Whether it is a precommit.
    #[n(0)]
    pub precommit: bool,
    /// The checkpoint.
    #[n(1)]
    pub value: Option<Id>,
    /// Who votes.
    #[cbor(n(2), with = "wire::author")]
    pub by: AuthorKey,
    /// The signature.
    #[cbor(n(3), with = "wire::signature")]
    pub signature: [u8; 64],
}
