//! Section 3: cuts, certified cuts and the total order.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, EventId};

use super::{Index, Model, Set};

/// The number of events that no certified cut holds.
pub(super) const UNCERTIFIED: usize = usize::MAX;

/// How a cut is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelCut {
    /// Everything that is held.
    All,
    /// These events and their ancestors; ids that are not held name nothing.
    Heads(Vec<EventId>),
    /// Every event whose clock is at most this one, absent authors counting 0.
    Clock(BTreeMap<AuthorKey, u64>),
    /// Every event with at most this time, in microseconds.
    Time(u64),
}

impl Model {
    /// The events of a cut in the total order that these certified cuts give.
    pub fn order(&self, cut: &ModelCut, certified: &[Vec<EventId>]) -> Vec<EventId> {
        let order = self.sorted(&self.events_of(cut), &self.numbers(certified));
        order.into_iter().map(|e| self.held[e].id).collect()
    }

    /// The heads of a cut, ascending by binary CID.
    pub fn heads(&self, cut: &ModelCut) -> Vec<EventId> {
        self.heads_of(&self.events_of(cut))
    }

    /// The forked authors of a cut, each with the lowest `seq` that two of its events share.
    pub fn forks(&self, cut: &ModelCut) -> BTreeMap<AuthorKey, u64> {
        let set = self.events_of(cut);
        let mut forks = BTreeMap::new();
        for (&a, &b) in set.iter().flat_map(|a| set.iter().map(move |b| (a, b))) {
            let (a, b) = (&self.held[a], &self.held[b]);
            if a.id != b.id && a.event.author == b.event.author && a.event.seq == b.event.seq {
                let lowest = forks.entry(a.event.author).or_insert(a.event.seq.0);
                *lowest = a.event.seq.0.min(*lowest);
            }
        }
        forks
    }

    /// The events of a cut.
    pub(crate) fn events_of(&self, cut: &ModelCut) -> Set {
        let all = 0..self.held.len();
        match cut {
            ModelCut::All => all.collect(),
            ModelCut::Heads(heads) => {
                self.closure(&heads.iter().filter_map(|id| self.index.get(id).copied()).collect())
            }
            ModelCut::Clock(limit) => {
                let within = |author, seq| seq <= limit.get(&author).copied().unwrap_or(0);
                all.filter(|&e| self.clock(e).into_iter().all(|(a, seq)| within(a, seq))).collect()
            }
            ModelCut::Time(limit) => all.filter(|&e| self.held[e].event.time.0 <= *limit).collect(),
        }
    }

    /// The ids of the events of a set that no other event of it follows, ascending.
    pub(crate) fn heads_of(&self, set: &Set) -> Vec<EventId> {
        let followed = |e: Index| set.iter().any(|&later| self.precedes(e, later));
        let mut heads = set
            .iter()
            .filter(|&&e| !followed(e))
            .map(|&e| self.held[e].id)
            .collect::<Vec<EventId>>();
        heads.sort();
        heads
    }

    /// n(e) for every held event e. A certified cut that is not held, and those after it, do not
    /// count.
    pub(super) fn numbers(&self, certified: &[Vec<EventId>]) -> Vec<usize> {
        let mut numbers = vec![UNCERTIFIED; self.held.len()];
        for (i, heads) in certified.iter().enumerate() {
            if !heads.iter().all(|head| self.index.contains_key(head)) {
                break;
            }
            for e in self.events_of(&ModelCut::Heads(heads.clone())) {
                numbers[e] = numbers[e].min(i + 1);
            }
        }
        numbers
    }

    /// A set in the total order: by (n, `time`, CID).
    pub(super) fn sorted(&self, set: &Set, numbers: &[usize]) -> Vec<Index> {
        let mut order = set.iter().copied().collect::<Vec<Index>>();
        order.sort_by_key(|&e| (numbers[e], self.held[e].event.time, self.held[e].id));
        order
    }
}
