//! Proof that a validator has signed two things of which it may sign one.

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, EventId, Height};

use super::keys::Keys;
use super::signed::{SignedProposal, SignedVote};
use crate::wire;

/// Length of an encoded piece of evidence, in bytes.
pub const MAX_EVIDENCE_LEN: usize = 1024;

/// Proof that a validator has signed two things of which it may sign one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Evidence {
    #[cbor(n(0), with = "wire::event")]
    ledger: EventId,
    #[n(1)]
    pair: Pair,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
enum Pair {
    #[n(0)]
    Votes(#[n(0)] SignedVote, #[n(1)] SignedVote),
    #[n(1)]
    Proposals(#[n(0)] SignedProposal, #[n(1)] SignedProposal),
}

/// It proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// It cannot be read, or is longer than [`MAX_EVIDENCE_LEN`].
    #[error("not evidence")]
    Malformed,
    /// Both are the same, or of different validators, heights, rounds or kinds: both may be signed.
    #[error("both may be signed")]
    NoConflict,
    /// A signature does not hold.
    #[error("a signature does not hold")]
    Signature,
}

impl Evidence {
    /// Two votes, the lesser first, so that it is written in one way. Whether they prove anything,
    /// [`check`](Self::check) tells.
    pub fn votes(ledger: EventId, one: SignedVote, other: SignedVote) -> Self {
        let (one, other) = if one <= other { (one, other) } else { (other, one) };
        Self { ledger, pair: Pair::Votes(one, other) }
    }

    /// Two proposals, in the same way.
    pub fn proposals(ledger: EventId, one: SignedProposal, other: SignedProposal) -> Self {
        let (one, other) = if one <= other { (one, other) } else { (other, one) };
        Self { ledger, pair: Pair::Proposals(one, other) }
    }

    /// What of a validator's it is about: the round and 0 for a proposal, 1 for a prevote, 2 for a
    /// precommit.
    pub(super) const fn key(&self) -> (AuthorKey, u32, u8) {
        match &self.pair {
            Pair::Votes(vote, _) => (vote.by, vote.round, if vote.precommit { 2 } else { 1 }),
            Pair::Proposals(proposal, _) => (proposal.by, proposal.round, 0),
        }
    }

    /// Who has done it.
    pub const fn validator(&self) -> AuthorKey {
        self.key().0
    }

    /// In which height.
    pub const fn height(&self) -> Height {
        match &self.pair {
            Pair::Votes(vote, _) => vote.height,
            Pair::Proposals(proposal, _) => proposal.height,
        }
    }

    /// In which round.
    pub const fn round(&self) -> u32 {
        self.key().1
    }

    /// What was signed twice: `proposal`, `prevote` or `precommit`.
    pub const fn kind(&self) -> &'static str {
        match self.key().2 {
            0 => "proposal",
            1 => "prevote",
            _ => "precommit",
        }
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        wire::to_bytes(self)
    }

    /// Reads it, and checks that it proves what it says of a ledger.
    ///
    /// # Errors
    /// It proves nothing.
    pub fn decode(bytes: &[u8], ledger: EventId) -> Result<Self, EvidenceError> {
        if bytes.len() > MAX_EVIDENCE_LEN {
            return Err(EvidenceError::Malformed);
        }
        let evidence: Self = minicbor::decode(bytes).map_err(|_| EvidenceError::Malformed)?;
        evidence.check(ledger)?;
        Ok(evidence)
    }

    /// Checks that it proves what it says of a ledger. Whether the validator is one of its height is
    /// for whoever has the checkpoints to say.
    ///
    /// # Errors
    /// It proves nothing.
    pub fn check(&self, ledger: EventId) -> Result<(), EvidenceError> {
        let (conflict, hold) = match &self.pair {
            Pair::Votes(one, other) => {
                let place = |vote: &SignedVote| (vote.by, vote.height, vote.round, vote.precommit);
                let conflict = place(one) == place(other) && one.value != other.value;
                (conflict, one.holds(ledger, &Strict) && other.holds(ledger, &Strict))
            }
            Pair::Proposals(one, other) => {
                let place =
                    |proposal: &SignedProposal| (proposal.by, proposal.height, proposal.round);
                let content = |proposal: &SignedProposal| (proposal.value, proposal.pol_round);
                let conflict = place(one) == place(other) && content(one) != content(other);
                (conflict, one.holds(ledger, &Strict) && other.holds(ledger, &Strict))
            }
        };
        if self.ledger != ledger || !conflict {
            return Err(EvidenceError::NoConflict);
        }
        if !hold {
            return Err(EvidenceError::Signature);
        }
        Ok(())
    }
}

/// Checks by the strict rule, and signs nothing.
struct Strict;

impl Keys for Strict {
    fn sign(&self, _: &[u8]) -> Option<[u8; 64]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use quipu_merge::CheckpointId;

    use super::*;
    use crate::certify::signed::Id;

    const LEDGER: EventId = EventId([1; 32]);

    fn vote(round: u32, precommit: bool, value: Option<u8>) -> SignedVote {
        let key = SigningKey::from_bytes(&[7; 32]);
        let value = value.map(|byte| Id(CheckpointId([byte; 32])));
        let by = AuthorKey(key.verifying_key().to_bytes());
        let unsigned =
            SignedVote { height: Height(3), round, precommit, value, by, signature: [0; 64] };
        let signature = key.sign(&unsigned.vote(LEDGER).signing_bytes().unwrap()).to_bytes();
        SignedVote { signature, ..unsigned }
    }

    #[test]
    fn evidence_stands_alone() {
        let evidence = Evidence::votes(LEDGER, vote(1, true, Some(2)), vote(1, true, None));
        let bytes = evidence.encode();
        assert!(bytes.len() <= MAX_EVIDENCE_LEN);
        assert_eq!(Evidence::decode(&bytes, LEDGER), Ok(evidence.clone()));
        assert_eq!(
            (evidence.height(), evidence.round(), evidence.kind()),
            (Height(3), 1, "precommit")
        );
        let other = Evidence::decode(&bytes, EventId([2; 32]));
        assert_eq!(other, Err(EvidenceError::NoConflict));
        for (one, another) in [
            (vote(1, true, Some(2)), vote(1, true, Some(2))),
            (vote(1, true, Some(2)), vote(2, true, None)),
            (vote(1, true, Some(2)), vote(1, false, None)),
        ] {
            let none = Evidence::votes(LEDGER, one, another);
            assert_eq!(none.check(LEDGER), Err(EvidenceError::NoConflict));
        }
        let forged = SignedVote { value: None, ..vote(1, true, Some(2)) };
        let forged = Evidence::votes(LEDGER, vote(1, true, Some(2)), forged);
        assert_eq!(forged.check(LEDGER), Err(EvidenceError::Signature));
        let long = [bytes, vec![0; MAX_EVIDENCE_LEN]].concat();
        assert_eq!(Evidence::decode(&long, LEDGER), Err(EvidenceError::Malformed));
    }
}
