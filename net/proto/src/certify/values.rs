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
    /// How the core is told of it: as the candidate of the first round that somebody proposes it for.
    pub judged: Judged,
    pub verdict: Verdict,
    /// Whether this validator has voted for it.
    pub voted: bool,
}

impl Candidate {
    /// One that nobody has voted for here.
    pub const fn new(parts: Parts, judged: Judged, verdict: Verdict) -> Self {
        Self { parts, judged, verdict, voted: false }
    }

    /// Whether the store has said what it is.
    pub const fn is_settled(&self) -> bool {
        matches!(self.verdict, Verdict::Same | Verdict::Differs)
    }
}

/// What the store says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is for a round to come: it is asked then.
    Ahead,
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
    /// Adds one that is not known. Where there are too many, that of the lowest round goes, and first one
    /// for which this validator has not voted.
    pub fn add(&mut self, candidate: Candidate, favourite: Option<CheckpointId>) -> bool {
        let id = candidate.parts.id();
        if self.all.len() >= MAX_VALUES {
            let kept = |of: CheckpointId| Some(of) == favourite || Some(of) == self.chosen;
            let others = self.all.iter().filter(|(of, _)| !kept(**of));
            let lowest = others.min_by_key(|(of, other)| (other.voted, other.judged.round, **of));
            let Some(lowest) = lowest.map(|(of, _)| *of) else { return false };
            self.all.remove(&lowest);
        }
        self.all.insert(id, candidate);
        true
    }

    /// This validator has voted for one.
    pub fn voted(&mut self, id: CheckpointId) {
        if let Some(candidate) = self.all.get_mut(&id) {
            candidate.voted = true;
        }
    }

    pub fn get(&self, id: CheckpointId) -> Option<&Candidate> {
        self.all.get(&id)
    }

    pub fn get_mut(&mut self, id: CheckpointId) -> Option<&mut Candidate> {
        self.all.get_mut(&id)
    }

    /// Those that the store is to be asked about: their round has come; or it lacked events, and it is
    /// time to ask again, or `all` are to be.
    pub fn take_due(&mut self, round: u32, all: bool, now: Moment) -> Vec<Parts> {
        let due = self.all.values_mut().filter_map(|candidate| {
            let asks = match candidate.verdict {
                Verdict::Ahead => candidate.judged.round <= round,
                Verdict::Lacks(at) => all || at <= now,
                _ => false,
            };
            asks.then(|| {
                candidate.verdict = Verdict::Asked;
                candidate.parts.clone()
            })
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

#[cfg(test)]
mod tests {
    use quipu_merge::{AuthorKey, Checkpoint, CutBlock, EventId, Height, Micros, ValidatorsBlock};

    use super::*;

    fn candidate(round: u32, number: u8) -> Candidate {
        let cut = CutBlock::new(vec![EventId([1; 32])]).unwrap();
        let validators = ValidatorsBlock::new(vec![AuthorKey([1; 32])]).unwrap();
        let mut state = [number; 32];
        state[..4].copy_from_slice(&round.to_be_bytes());
        let checkpoint = Checkpoint {
            ledger: EventId([0; 32]),
            height: Height(1),
            prev: None,
            cut: cut.seal().0,
            size: 1,
            root: [0; 32],
            state,
            validators: validators.seal().0,
            time: Micros(1),
        };
        let parts = Parts::new(checkpoint, cut, validators).unwrap();
        let (by, value) = (AuthorKey([1; 32]), parts.id());
        let judged = Judged { round, pol_round: None, by, value, valid: false };
        Candidate::new(parts, judged, Verdict::Ahead)
    }

    #[test]
    fn what_was_voted_for_stays_longest() {
        let mut values = Values::default();
        let [voted, favourite] = [candidate(0, 0), candidate(1, 0)].map(|one| {
            let id = one.parts.id();
            assert!(values.add(one, None));
            id
        });
        values.voted(voted);
        for round in 2..200 {
            assert!(values.add(candidate(round, 0), Some(favourite)));
        }
        assert_eq!(values.all.len(), MAX_VALUES);
        assert!(values.get(voted).is_some() && values.get(favourite).is_some());
        let ids: Vec<_> = values.all.keys().copied().collect();
        ids.into_iter().for_each(|id| values.voted(id));
        // Something has to go, or nothing new would ever be looked at.
        assert!(values.add(candidate(200, 0), Some(favourite)));
        assert!(values.get(voted).is_none() && values.get(favourite).is_some());
    }
}
