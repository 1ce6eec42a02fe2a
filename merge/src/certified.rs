//! The certified cuts that are known, and which of them holds an event first.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::{Clock, Dot, Lane};

/// The number of the first certified cut that holds an event, from 0; [`UNCERTIFIED`] if none.
pub type CutNumber = u32;
/// The number of events that no certified cut holds.
pub const UNCERTIFIED: CutNumber = u32::MAX;

/// Boundaries are shared between clones in runs of so many.
const RUN: usize = 512;

/// The certified cuts known, the first certified first.
///
/// Cloning shares nearly everything. Memory is that of a position and a number for each lane that a
/// cut goes further on than the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertifiedCuts(Arc<Cuts>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cuts {
    count: CutNumber,
    latest: Clock,
    lanes: BTreeMap<Lane, Boundaries>,
}

/// The last position on one lane of each cut that goes further there, with the cut's number.
/// Both ascend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Boundaries {
    full: Vec<Arc<[(u64, CutNumber)]>>,
    rest: Vec<(u64, CutNumber)>,
}

impl CertifiedCuts {
    /// No cuts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up cuts as they were kept: how many there are, and for each the last event on each
    /// lane that it goes further on than those before. Numbers ascend along each lane.
    pub fn restore(
        count: CutNumber,
        boundaries: impl IntoIterator<Item = (Dot, CutNumber)>,
    ) -> Self {
        let mut cuts = Cuts { count, ..Cuts::default() };
        boundaries.into_iter().for_each(|(dot, number)| cuts.extend(dot, number));
        Self(Arc::new(cuts))
    }

    /// Adds the next cut, by its clock.
    pub fn push(&mut self, cut: &Clock) {
        let cuts = Arc::make_mut(&mut self.0);
        let number = cuts.count;
        cut.iter().for_each(|dot| cuts.extend(dot, number));
        cuts.count = number.saturating_add(1);
    }

    /// The number of the first cut that holds the event at `dot`.
    pub fn number(&self, dot: Dot) -> CutNumber {
        self.0.lanes.get(&dot.lane).and_then(|lane| lane.number(dot.seq.0)).unwrap_or(UNCERTIFIED)
    }

    /// How many cuts there are.
    pub fn len(&self) -> CutNumber {
        self.0.count
    }

    /// Whether nothing is certified.
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// The clock of everything that is certified: that of the last cut.
    pub fn latest(&self) -> &Clock {
        &self.0.latest
    }

    /// Whether a cut holds the event at `dot`.
    pub fn covers(&self, dot: Dot) -> bool {
        self.0.latest.covers(dot)
    }
}

impl FromIterator<Clock> for CertifiedCuts {
    fn from_iter<I: IntoIterator<Item = Clock>>(cuts: I) -> Self {
        let mut certified = Self::new();
        cuts.into_iter().for_each(|cut| certified.push(&cut));
        certified
    }
}

impl Cuts {
    fn extend(&mut self, dot: Dot, number: CutNumber) {
        if !self.latest.covers(dot) {
            self.latest.advance(dot);
            self.lanes.entry(dot.lane).or_default().push(dot.seq.0, number);
        }
    }
}

impl Boundaries {
    fn push(&mut self, seq: u64, number: CutNumber) {
        self.rest.push((seq, number));
        if self.rest.len() == RUN {
            self.full.push(std::mem::take(&mut self.rest).into());
        }
    }

    fn number(&self, seq: u64) -> Option<CutNumber> {
        let before =
            |run: &Arc<[(u64, CutNumber)]>| run.last().is_some_and(|(last, _)| *last < seq);
        let run = self.full.get(self.full.partition_point(before));
        let run = run.map_or(self.rest.as_slice(), |run| run);
        let at = run.partition_point(|(last, _)| *last < seq);
        run.get(at).map(|(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seq;

    #[test]
    fn numbers_are_those_of_the_first_cut_that_covers() {
        let dot = |lane, seq| Dot { lane: Lane(lane), seq: Seq(seq) };
        let mut cuts = Vec::new();
        let mut clock = Clock::new();
        for step in 0..3 * RUN as u64 {
            clock.advance(dot(0, 2 * step + 1));
            if step % 3 == 0 {
                clock.advance(dot(1, step + 1));
            }
            cuts.push(clock.clone());
        }
        let certified: CertifiedCuts = cuts.iter().cloned().collect();
        let mut boundaries = Vec::new();
        for lane in 0..3 {
            for seq in 1..7 * RUN as u64 {
                let first = cuts.iter().position(|cut| cut.covers(dot(lane, seq)));
                let expected = first.map_or(UNCERTIFIED, |number| u32::try_from(number).unwrap());
                assert_eq!(certified.number(dot(lane, seq)), expected, "{lane} {seq}");
                let next = certified.number(dot(lane, seq + 1));
                if next != expected && expected != UNCERTIFIED {
                    boundaries.push((dot(lane, seq), expected));
                }
            }
        }
        let restored = CertifiedCuts::restore(certified.len(), boundaries);
        assert_eq!(restored, certified);
        assert_eq!(certified.latest(), &clock);
    }

    #[test]
    fn what_is_pushed_does_not_reach_clones() {
        let dot = Dot { lane: Lane(0), seq: Seq::FIRST };
        let before = CertifiedCuts::new();
        let mut after = before.clone();
        after.push(&Clock::from_iter([dot]));
        assert!(before.is_empty() && !before.covers(dot) && before != after);
        assert_eq!((after.len(), after.number(dot)), (1, 0));
    }
}
