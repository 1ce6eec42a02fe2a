//! The checkpoints that are proposed in a height.

use std::collections::BTreeMap;

use quipu_merge::CheckpointId;

use super::limits::{MAX_PROPOSALS, MAX_VALUES};
use super::log::Judged;
use super::parts::Parts;
use super::signed::SignedProposal;
use crate::time::Moment;

/// The checkpoints that are proposed in a height.
#[derive(Debug, Default)]
pub struct Values {
    all: BTreeMap<CheckpointId, Candidate>,
    proposals: BTreeMap<(u32, CheckpointId), SignedProposal>,
    /// What this validator proposes whenever it is its turn.
    pub chosen: Option<CheckpointId>,
}

/// One of them.
#[derive(Debug)]
pub struct Candidate {
    pub parts: Parts,
    /// How the core is told of it.
    pub judged: Judged,
    pub verdict: Verdict,
}

/// What the store says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is being asked.
    Asked,
    /// It lacks events; it is asked again then, or when some have come.
    Lacks(Moment),
    /// It has derived the same.
    Same,
    /// It has derived something else.
    Differs,
}

impl Values {
    /// Adds one that is not known. Where there are too many, that of the lowest round goes, unless
    /// more than two thirds have voted for it; and if this would be the one, it is passed over.
    pub fn add(&mut self, candidate: Candidate, favourite: Option<CheckpointId>) -> bool {
        let id = candidate.parts.id();
        if self.all.len() >= MAX_VALUES {
            let kept = |of: CheckpointId| Some(of) == favourite || Some(of) == self.chosen;
            let others = self.all.iter().filter(|(of, _)| !kept(**of));
            let lowest = others.min_by_key(|(of, other)| (other.judged.round, **of));
            match lowest.map(|(of, other)| (*of, other.judged.round)) {
                Some((of, round)) if round < candidate.judged.round => {
                    self.all.remove(&of);
                }
                _ => return false,
            }
        }
        self.all.insert(id, candidate);
        true
    }

    pub fn get(&self, id: CheckpointId) -> Option<&Candidate> {
        self.all.get(&id)
    }

    pub fn get_mut(&mut self, id: CheckpointId) -> Option<&mut Candidate> {
        self.all.get_mut(&id)
    }

    /// Those that the store lacks events for and is to be asked about again; all where `all`.
    pub fn lacking(&mut self, all: bool, now: Moment) -> Vec<Parts> {
        let due = self.all.values_mut().filter_map(|candidate| match candidate.verdict {
            Verdict::Lacks(at) if all || at <= now => {
                candidate.verdict = Verdict::Asked;
                Some(candidate.parts.clone())
            }
            _ => None,
        });
        due.collect()
    }

    /// When the store is to be asked again.
    pub fn due(&self) -> Option<Moment> {
        let at = |candidate: &Candidate| match candidate.verdict {
            Verdict::Lacks(at) => Some(at),
            _ => None,
        };
        self.all.values().filter_map(at).min()
    }

    /// A proposal whose signature holds.
    pub fn proposed(&mut self, proposal: SignedProposal) {
        self.proposals.insert((proposal.round, proposal.value), proposal);
        if self.proposals.len() > MAX_PROPOSALS {
            self.proposals.pop_first();
        }
    }

    pub fn proposal(&self, round: u32, value: CheckpointId) -> Option<&SignedProposal> {
        self.proposals.get(&(round, value))
    }

    /// The proposals of a round.
    pub fn proposals(&self, round: u32) -> impl Iterator<Item = &SignedProposal> {
        self.proposals.values().filter(move |proposal| proposal.round == round)
    }
}
