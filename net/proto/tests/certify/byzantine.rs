//! What a dishonest validator sends instead of what it ought to.

use ed25519_dalek::Signer;
use quipu_merge::{AuthorKey, Checkpoint, CheckpointId, CutBlock, EventId};
use quipu_proto::{
    CertifyMessage, Id, Parts, PartsBytes, Proposed, Report, SignedProposal, SignedVote,
};

use super::keys;
use super::random::Random;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Other votes to some.
    DoubleVote,
    /// Other proposals to some.
    DoubleProposal,
    /// Proposals without their parts.
    Withhold,
    /// Proposals of other roots.
    WrongRoots,
    /// Proposals of cuts that nobody holds.
    WrongCut,
    /// Messages of other heights and rounds, and what was said long ago.
    Stale,
    /// Reports of what it does not hold.
    Lies,
    /// Nothing.
    Silence,
}

pub const TRICKS: [Trick; 8] = [
    Trick::DoubleVote,
    Trick::DoubleProposal,
    Trick::Withhold,
    Trick::WrongRoots,
    Trick::WrongCut,
    Trick::Stale,
    Trick::Lies,
    Trick::Silence,
];

/// A dishonest validator.
pub struct Byzantine {
    pub number: usize,
    pub tricks: Vec<Trick>,
    pub random: Random,
    said: Vec<CertifyMessage>,
}

impl Byzantine {
    pub fn new(number: usize, tricks: Vec<Trick>, random: Random) -> Self {
        Self { number, tricks, random, said: Vec::new() }
    }

    /// What it sends to each.
    pub fn twist(
        &mut self,
        ledger: EventId,
        to: &[AuthorKey],
        message: &CertifyMessage,
    ) -> Vec<(AuthorKey, CertifyMessage)> {
        let tricks = self.tricks.clone();
        let trick = self.random.pick(&tricks);
        if self.said.len() < 64 {
            self.said.push(message.clone());
        }
        let mut sent = Vec::new();
        let other = self.other(ledger, trick, message);
        for peer in to {
            let twisted =
                trick == Trick::WrongRoots || trick == Trick::WrongCut || self.random.once_in(2);
            match &other {
                _ if trick == Trick::Silence => {}
                Some(other) if twisted => sent.push((*peer, other.clone())),
                _ => sent.push((*peer, message.clone())),
            }
            if trick == Trick::Stale && !self.said.is_empty() {
                let at = self.random.below(self.said.len() as u64);
                sent.push((*peer, self.said[usize::try_from(at).unwrap()].clone()));
            }
        }
        sent
    }

    fn other(
        &mut self,
        ledger: EventId,
        trick: Trick,
        message: &CertifyMessage,
    ) -> Option<CertifyMessage> {
        match (trick, message) {
            (Trick::DoubleVote, CertifyMessage::Vote(vote)) => {
                let value = match vote.value {
                    Some(_) => None,
                    None => Some(Id(CheckpointId(self.random.bytes32()))),
                };
                Some(CertifyMessage::Vote(self.vote(ledger, SignedVote { value, ..vote.clone() })))
            }
            (Trick::Stale, CertifyMessage::Vote(vote)) => {
                let mut vote = vote.clone();
                vote.height.0 = (vote.height.0 + self.random.below(4)).saturating_sub(1).max(1);
                vote.round += u32::try_from(self.random.below(30)).unwrap();
                Some(CertifyMessage::Vote(self.vote(ledger, vote)))
            }
            (Trick::Withhold, CertifyMessage::Proposal(proposed)) => {
                let proposal = proposed.proposal.clone();
                Some(CertifyMessage::Proposal(Proposed { proposal, parts: None }))
            }
            (
                Trick::DoubleProposal | Trick::WrongRoots | Trick::WrongCut,
                CertifyMessage::Proposal(proposed),
            ) => {
                let parts = self.wrong(trick, proposed.parts.as_ref()?)?;
                let mut proposal = proposed.proposal.clone();
                if proposal.by != keys::key(self.number) {
                    return None;
                }
                proposal.value = parts.id();
                let parts = Some(parts.encode());
                let proposal = self.proposal(ledger, proposal);
                Some(CertifyMessage::Proposal(Proposed { proposal, parts }))
            }
            (Trick::Lies, CertifyMessage::Report(_)) => {
                let heads = (0..self.random.below(3)).map(|_| EventId(self.random.bytes32()));
                Some(CertifyMessage::Report(Report { heads: heads.collect() }))
            }
            _ => None,
        }
    }

    fn wrong(&mut self, trick: Trick, parts: &PartsBytes) -> Option<Parts> {
        let parts = parts.decode().unwrap();
        let (checkpoint, mut cut) = (parts.checkpoint().clone(), parts.cut().clone());
        let checkpoint = if trick == Trick::WrongCut {
            let unknown = EventId(self.random.bytes32());
            cut = CutBlock::new(vec![unknown]).unwrap();
            Checkpoint { cut: cut.seal().0, ..checkpoint }
        } else {
            Checkpoint { state: self.random.bytes32(), ..checkpoint }
        };
        Parts::new(checkpoint, cut, parts.validators().clone()).ok()
    }

    fn vote(&self, ledger: EventId, vote: SignedVote) -> SignedVote {
        let message = vote.vote(ledger).signing_bytes().unwrap();
        SignedVote { signature: keys::secret(self.number).sign(&message).to_bytes(), ..vote }
    }

    fn proposal(&self, ledger: EventId, proposal: SignedProposal) -> SignedProposal {
        let message = proposal.signing_bytes(ledger);
        let signature = keys::secret(self.number).sign(&message).to_bytes();
        SignedProposal { signature, ..proposal }
    }
}
