//! Finding out in which entries two frontiers differ, by range-based set reconciliation as negentropy
//! does it.

use std::collections::BTreeMap;

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use quipu_merge::AuthorKey;

use crate::exchange::Nonsense;
use crate::frontier::{Frontier, LaneTips};
use crate::limits::{MAX_OFFERED, MAX_RECONCILE};

/// Reconciliation of few entries takes as many steps as there are levels, of which each has sixteen
/// times as many ranges as the one before. Of many entries, a step names several hundred.
const FEW_STEPS: u64 = 64;
const STEP_ENTRIES: u64 = 64;

/// A reconciliation of frontiers with one peer.
pub struct Reconciling {
    negentropy: Negentropy<'static, NegentropyStorageVector>,
    /// The own entries, by their digests.
    pub entries: BTreeMap<[u8; 32], AuthorKey>,
    /// What only the own frontier has, and what only the other's has, as far as the leader knows.
    pub have: Vec<Id>,
    pub need: Vec<Id>,
    /// So many steps there may be after the first, and how many there have been.
    steps: u64,
    said: u64,
}

impl std::fmt::Debug for Reconciling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciling").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

/// What comes next for the leader.
#[derive(Debug)]
pub enum Next {
    /// It says this.
    Say(Vec<u8>),
    /// It knows what differs: all of it, or as much as it may be.
    Found {
        /// Whether that is all.
        whole: bool,
    },
}

impl Reconciling {
    /// Of the own frontier, where the two have so many entries.
    pub fn new(own: &Frontier, one: u64, other: u64) -> Result<Self, Nonsense> {
        let (less, more) = (one.min(other), one.max(other));
        let entries = less.saturating_add(more.min(less.saturating_add(MAX_OFFERED as u64)));
        let steps = FEW_STEPS + entries / STEP_ENTRIES;
        let mut storage = NegentropyStorageVector::with_capacity(own.len());
        let mut entries = BTreeMap::new();
        for entry in own.since(None) {
            let digest = entry.digest();
            storage.insert(0, Id::from_byte_array(digest)).map_err(|_| Nonsense)?;
            entries.insert(digest, entry.author);
        }
        storage.seal().map_err(|_| Nonsense)?;
        let negentropy = Negentropy::owned(storage, MAX_RECONCILE as u64).map_err(|_| Nonsense)?;
        Ok(Self { negentropy, entries, have: Vec::new(), need: Vec::new(), steps, said: 0 })
    }

    /// An own entry by its digest, as it is now.
    pub fn entry(&self, digest: &[u8; 32], own: &Frontier) -> Option<LaneTips> {
        Some(own.entry(*self.entries.get(digest)?))
    }

    /// What the leader says first.
    pub fn initiate(&mut self) -> Result<Vec<u8>, Nonsense> {
        self.negentropy.initiate().map_err(|_| Nonsense)
    }

    /// What the other says to something of the leader's.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Nonsense> {
        // The leader says one thing before the first step.
        if self.said > self.steps {
            return Err(Nonsense);
        }
        self.said += 1;
        self.negentropy.reconcile(bytes).map_err(|_| Nonsense)
    }

    /// What the leader makes of an answer.
    pub fn lead(&mut self, bytes: &[u8]) -> Result<Next, Nonsense> {
        let (have, need) = (&mut self.have, &mut self.need);
        let next = self.negentropy.reconcile_with_ids(bytes, have, need).map_err(|_| Nonsense)?;
        let room = need.len() < MAX_OFFERED && self.said < self.steps;
        self.said += 1;
        Ok(match next {
            Some(bytes) if room => Next::Say(bytes),
            // What there is no room for is found by the next comparison.
            other => Next::Found { whole: other.is_none() },
        })
    }
}

#[cfg(test)]
mod tests {
    use quipu_merge::{EventId, Seq};

    use super::*;
    use crate::frontier::Tip;

    fn frontier(authors: std::ops::Range<u64>) -> Frontier {
        let id = |number: u64| *blake3::hash(&number.to_be_bytes()).as_bytes();
        let lane = |number| LaneTips {
            author: AuthorKey(id(number)),
            tips: vec![Tip { seq: Seq(1), id: EventId(id(number + 1)) }],
        };
        Frontier::new(authors.map(lane))
    }

    /// What the leader has and needs, whether that is all, and in how many steps.
    fn reconcile(lead: &Frontier, follow: &Frontier) -> (usize, usize, bool, u64) {
        let lanes = [lead.len() as u64, follow.len() as u64];
        let [mut leader, mut other] =
            [lead, follow].map(|own| Reconciling::new(own, lanes[0], lanes[1]).unwrap());
        let mut said = leader.initiate().unwrap();
        loop {
            let answer = other.answer(&said).unwrap();
            match leader.lead(&answer).unwrap() {
                Next::Say(bytes) => said = bytes,
                Next::Found { whole } => {
                    return (leader.have.len(), leader.need.len(), whole, leader.said);
                }
            }
        }
    }

    #[test]
    fn differences_are_found_in_fewer_steps_than_there_may_be() {
        for (one, other) in [(0..70, 0..71), (0..1_000, 500..3_000), (0..0, 0..20_000)] {
            let expected = (other.start - one.start, other.end - one.end);
            let (have, need, whole, said) = reconcile(&frontier(one), &frontier(other));
            assert_eq!((have as u64, need as u64, whole), (expected.0, expected.1, true));
            assert!(said < FEW_STEPS / 2, "{said} steps");
        }
    }

    #[test]
    fn more_differences_than_there_is_room_for_are_found_in_part() {
        let (few, many) = (frontier(0..100), frontier(0..MAX_OFFERED as u64 * 2));
        let (_, need, whole, said) = reconcile(&few, &many);
        assert!(!whole && said < 1_000, "{said} steps");
        assert!((MAX_OFFERED..MAX_OFFERED + 2_000).contains(&need), "{need}");
        // What only the own one has needs no room.
        let (have, need, whole, _) = reconcile(&many, &few);
        assert_eq!((have, need, whole), (MAX_OFFERED * 2 - 100, 0, true));
    }

    #[test]
    fn who_goes_on_without_end_talks_nonsense() {
        let (one, other) = (frontier(0..100), frontier(50..150));
        let mut leader = Reconciling::new(&one, 100, 100).unwrap();
        let mut follower = Reconciling::new(&other, 100, 100).unwrap();
        let said = leader.initiate().unwrap();
        let answered = (0..10_000).take_while(|_| follower.answer(&said).is_ok()).count();
        assert!(answered < 100, "{answered} times");
    }
}
