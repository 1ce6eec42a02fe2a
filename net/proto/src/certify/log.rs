//! The log: what a validator must remember of a height to go on after a crash as if there had been
//! none.

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, CheckpointId, Height};

use super::parts::PartsBytes;
use super::signed::{Polka, SignedProposal, SignedVote};
use crate::wire;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    #[n(1)]
    pub what: What,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum What {
    /// Voting has begun. Whether something is signed.
    #[n(0)]
    Begun(#[n(0)] bool),
    #[n(1)]
    Vote(#[n(0)] SignedVote),
    #[n(2)]
    Proposal(#[n(0)] SignedProposal),
    #[n(3)]
    Value(#[n(0)] Judged),
    #[n(4)]
    Timeout(#[n(0)] TimedOut),
    #[n(5)]
    Polka(#[n(0)] Polka),
    /// What a value stands for; before the first entry that calls it valid.
    #[n(6)]
    Parts(#[n(0)] PartsBytes),
    /// The height is the next, or this was settled anew: whether something may be signed.
    #[n(7)]
    Opened(#[n(0)] bool),
    /// Signing on could mean to sign twice: nothing is signed any more.
    #[n(8)]
    Faulty,
}

/// The verdict on a value.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Judged {
    #[n(0)]
    pub round: u32,
    #[n(1)]
    pub pol_round: Option<u32>,
    #[cbor(n(2), with = "wire::author")]
    pub by: AuthorKey,
    #[cbor(n(3), with = "wire::checkpoint")]
    pub value: CheckpointId,
    #[n(4)]
    pub valid: bool,
}

/// A timer that ran out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TimedOut {
    /// 0 proposing, 1 prevoting, 2 precommitting.
    #[n(0)]
    pub step: u8,
    #[n(1)]
    pub round: u32,
}

impl Entry {
    pub fn encode(&self) -> Vec<u8> {
        wire::to_bytes(self)
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        minicbor::decode(bytes).ok()
    }
}

/// Of the log of a height, what was logged when this validator last signed in it.
pub fn last_signing(log: impl Iterator<Item = What>) -> Vec<What> {
    let (mut last, mut signs) = (Vec::new(), false);
    for what in log {
        match what {
            What::Begun(true) => (last, signs) = (vec![what], true),
            What::Begun(false) | What::Opened(false) => signs = false,
            what if signs => last.push(what),
            _ => {}
        }
    }
    last
}

/// The last that a validator has signed. It is kept outside of the log, to notice when the log is
/// not the latest. Orders as signing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Mark {
    /// The height.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// The round.
    #[n(1)]
    pub round: u32,
    /// What was signed: 1 a proposal, 2 a prevote, 3 a precommit; 0 nothing, but it may be.
    #[n(2)]
    pub step: u8,
}

impl Mark {
    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        wire::to_bytes(self)
    }

    /// Reads it; `None` where it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        minicbor::decode(bytes).ok()
    }

    /// The mark that this entry leaves, where it is of something that `me` has signed, or may.
    pub fn of(entry: &Entry, me: AuthorKey) -> Option<Self> {
        let height = entry.height;
        match &entry.what {
            // Where a mark ought to be and is none, it has been lost.
            What::Opened(true) | What::Begun(true) => Some(Self { height, round: 0, step: 0 }),
            What::Proposal(proposal) if proposal.by == me => {
                Some(Self { height, round: proposal.round, step: 1 })
            }
            What::Vote(vote) if vote.by == me => {
                Some(Self { height, round: vote.round, step: 2 + u8::from(vote.precommit) })
            }
            _ => None,
        }
    }
}
