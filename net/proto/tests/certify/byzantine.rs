//! What a dishonest validator sends instead of what it ought to.

use std::collections::BTreeSet;

use ed25519_dalek::Signer;
use quipu_merge::{AuthorKey, Checkpoint, CheckpointId, EventId, Height};
use quipu_proto::{
    CertifyMessage, Id, Parts, PartsBytes, Proposed, Report, SignedProposal, SignedVote,
};

use super::forged;
use super::keys;
use super::liars::{self, Common};
use super::random::Random;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Other votes to the other half, or both to all.
    DoubleVote,
    /// Other proposals to the other half, or both to all.
    DoubleProposal,
    /// Proposals without their parts.
    Withhold,
    /// Proposals in which a field is wrong.
    WrongRoots,
    /// Proposals of cuts that are none, or not the next.
    WrongCut,
    /// Messages of other heights and rounds, and what was said long ago.
    Stale,
    /// Reports of what it does not hold.
    Lies,
    /// A crowd of proposals for each of its next turns.
    Crowd,
    /// What others propose, for each of its next turns.
    Borrow,
    /// Nothing.
    Silence,
}

pub const TRICKS: [Trick; 10] = [
    Trick::DoubleVote,
    Trick::DoubleProposal,
    Trick::Withhold,
    Trick::WrongRoots,
    Trick::WrongCut,
    Trick::Stale,
    Trick::Lies,
    Trick::Crowd,
    Trick::Borrow,
    Trick::Silence,
];

/// As many proposals as fit into what is kept of a peer that is early.
const CROWD: usize = 64;
/// Rounds that a proposal may be ahead.
const AHEAD: u32 = 10;

/// A dishonest validator.
pub struct Byzantine {
    pub number: usize,
    pub tricks: Vec<Trick>,
    pub random: Random,
    /// What it knows together with others.
    pub common: Common,
    /// Once in so many times it says both to everybody, where otherwise each half hears one thing.
    pub openly: u64,
    said: Vec<CertifyMessage>,
    /// What somebody else has proposed last.
    heard: Option<Parts>,
    /// How many validators there were at first, and the turns for which it has sent a crowd, or what it
    /// had heard.
    validators: usize,
    crowded: BTreeSet<(u64, u32)>,
    borrowed: BTreeSet<(u64, u32)>,
}

impl Byzantine {
    pub fn new(number: usize, validators: usize, tricks: Vec<Trick>, random: Random) -> Self {
        let (said, heard) = (Vec::new(), None);
        let (crowded, borrowed) = (BTreeSet::new(), BTreeSet::new());
        let (common, openly) = (Common::default(), 8);
        Self { number, tricks, random, common, openly, said, heard, validators, crowded, borrowed }
    }

    /// What somebody sends to it.
    pub fn hears(&mut self, message: &CertifyMessage) {
        if let CertifyMessage::Proposal(Proposed { parts: Some(parts), proposal }) = message {
            self.heard = parts.decode().ok();
            let mut common = self.common.lock().unwrap();
            if let Some(heard) = &self.heard
                && !common.liars.contains(&keys::number(proposal.by))
            {
                common.learn(heard);
            }
        }
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
        if let CertifyMessage::Proposal(Proposed { parts: Some(parts), .. }) = message {
            self.common.lock().unwrap().learn(&parts.decode().unwrap());
        }
        if let Some(sent) = self.forks(ledger, to, trick, message) {
            return sent;
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
        let more = match (trick, message) {
            (Trick::Crowd, CertifyMessage::Vote(vote)) => self.crowd(ledger, vote),
            (Trick::Borrow, CertifyMessage::Vote(vote)) => self.borrow(ledger, vote),
            _ => Vec::new(),
        };
        sent.extend(more.iter().flat_map(|one| to.iter().map(|peer| (*peer, one.clone()))));
        sent
    }

    /// One thing to one half and another to the other, or both to all.
    fn forks(
        &mut self,
        ledger: EventId,
        to: &[AuthorKey],
        trick: Trick,
        message: &CertifyMessage,
    ) -> Option<Vec<(AuthorKey, CertifyMessage)>> {
        let (round, pair) = match (trick, message) {
            (Trick::DoubleVote, CertifyMessage::Vote(vote)) => {
                (vote.round, self.votes(ledger, vote))
            }
            (Trick::DoubleProposal, CertifyMessage::Proposal(proposed)) => {
                let other = self.other(ledger, trick, message)?;
                (proposed.proposal.round, [message.clone(), other])
            }
            _ => return None,
        };
        let [one, other] = pair;
        if self.random.once_in(self.openly) {
            let both = |peer: &AuthorKey| [(*peer, one.clone()), (*peer, other.clone())];
            return Some(to.iter().flat_map(both).collect());
        }
        let part = |peer: &AuthorKey| match liars::half(*peer, round, self.validators) {
            0 => (*peer, one.clone()),
            _ => (*peer, other.clone()),
        };
        Some(to.iter().map(part).collect())
    }

    /// Two votes instead of one: for what is proposed, as far as something is.
    fn votes(&mut self, ledger: EventId, vote: &SignedVote) -> [CertifyMessage; 2] {
        let mut pair = self.common.lock().unwrap().votes(vote.height.0);
        if pair[0].is_none() {
            pair[0] = vote.value.or(Some(Id(CheckpointId(self.random.bytes32()))));
        }
        pair.map(|value| {
            CertifyMessage::Vote(self.vote(ledger, SignedVote { value, ..vote.clone() }))
        })
    }

    /// Whether it is its turn to propose.
    fn is_turn(&self, height: u64, round: u32) -> bool {
        (height - 1 + u64::from(round)) % self.validators as u64 == self.number as u64
    }

    /// What it has heard, for its next turns in the height of a vote of its own, each once.
    fn borrow(&mut self, ledger: EventId, vote: &SignedVote) -> Vec<CertifyMessage> {
        let heard = self.heard.clone().filter(|heard| heard.checkpoint().height == vote.height);
        let Some(parts) = heard else { return Vec::new() };
        let mut borrowed = Vec::new();
        for round in vote.round..=vote.round + AHEAD {
            let (height, of) = (vote.height, (vote.height.0, round));
            if self.is_turn(height.0, round) && self.borrowed.insert(of) {
                borrowed.push(self.proposes(ledger, (height, round), &parts));
            }
        }
        borrowed
    }

    /// Proposals for its next turns in the height of a vote of its own, and in the next, each once.
    fn crowd(&mut self, ledger: EventId, vote: &SignedVote) -> Vec<CertifyMessage> {
        let made = self.said.iter().find_map(|said| match said {
            CertifyMessage::Proposal(Proposed { parts, .. }) => parts.as_ref()?.decode().ok(),
            _ => None,
        });
        let Some(made) = made else { return Vec::new() };
        let (height, round) = (vote.height.0, vote.round);
        let turns = (round..=round + AHEAD).map(|round| (height, round));
        let turns = turns.chain((0..=AHEAD).map(|round| (height + 1, round)));
        let mut crowd = Vec::new();
        for (height, round) in turns.collect::<Vec<_>>() {
            if !self.is_turn(height, round) || !self.crowded.insert((height, round)) {
                continue;
            }
            for _ in 0..CROWD {
                let (state, height) = (self.random.bytes32(), Height(height));
                let checkpoint = Checkpoint { state, height, ..made.checkpoint().clone() };
                let parts = Parts::new(checkpoint, made.cut().clone(), made.validators().clone());
                let Ok(parts) = parts else { continue };
                crowd.push(self.proposes(ledger, (height, round), &parts));
            }
        }
        crowd
    }

    fn proposes(
        &self,
        ledger: EventId,
        (height, round): (Height, u32),
        parts: &Parts,
    ) -> CertifyMessage {
        let (by, value) = (keys::key(self.number), parts.id());
        let (pol_round, signature) = (None, [0; 64]);
        let proposal = SignedProposal { height, round, pol_round, value, by, signature };
        let proposal = self.proposal(ledger, proposal);
        CertifyMessage::Proposal(Proposed { proposal, parts: Some(parts.encode()) })
    }

    fn other(
        &mut self,
        ledger: EventId,
        trick: Trick,
        message: &CertifyMessage,
    ) -> Option<CertifyMessage> {
        match (trick, message) {
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
        let common = self.common.lock().unwrap();
        let random = &mut self.random;
        match trick {
            Trick::DoubleProposal => {
                let another = common.another(&parts).cloned();
                another.or_else(|| forged::of_another_field(random, &parts))
            }
            Trick::WrongCut => {
                let before = parts.checkpoint().prev.and_then(|id| common.get(id));
                forged::of_another_cut(random, &parts, before)
            }
            _ => forged::of_another_field(random, &parts),
        }
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
