//! The branches of a certified cut, as a store numbers them that holds nothing else.
//!
//! Where two branches part, the one that came first goes on on the lane. At the source that may be one of
//! which nothing is certified. In the cut then no branch leaves the other: they are one lane, as in every
//! store that never saw the rest.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, Clock, Dot, Lane, LaneTable, Seq};

/// The branches of a cut.
pub struct CutLanes {
    /// For each lane of the source, which lane of the cut it belongs to.
    to: Vec<Option<Lane>>,
    lanes: Vec<CutLane>,
    counts: BTreeMap<AuthorKey, usize>,
}

/// A branch of a cut.
pub struct CutLane {
    pub author: AuthorKey,
    pub leaves: Option<Dot>,
    /// The lanes of the source that it consists of, and how far each goes.
    parts: Vec<Dot>,
    first: Seq,
}

impl CutLane {
    /// Its last event, by its name at the source.
    pub fn tip(&self) -> Option<Dot> {
        self.parts.last().copied()
    }

    /// The position of its first event.
    pub const fn first(&self) -> Seq {
        self.first
    }
}

impl CutLanes {
    /// The branches of what `cut` holds.
    pub fn new(table: &LaneTable, cut: &Clock) -> Self {
        let mut this = Self { to: Vec::new(), lanes: Vec::new(), counts: BTreeMap::new() };
        for (lane, info) in table.iter() {
            let last = Dot { lane, seq: Seq(cut.seq(lane)) };
            let to = (last.seq.0 > 0).then(|| {
                // What another lane leaves has a lesser number than that.
                let leaves = info.leaves.and_then(|dot| this.dot(dot));
                this.place(info.author, leaves, info.first(), last)
            });
            this.to.push(to);
        }
        this
    }

    fn place(&mut self, author: AuthorKey, leaves: Option<Dot>, first: Seq, last: Dot) -> Lane {
        if let Some(left) = leaves
            && let Some(lane) = self.lanes.get_mut(left.lane.0 as usize)
            && lane.tip().is_some_and(|tip| tip.seq == left.seq)
        {
            lane.parts.push(last);
            return left.lane;
        }
        let lane = Lane(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX));
        *self.counts.entry(author).or_default() += 1;
        self.lanes.push(CutLane { author, leaves, parts: vec![last], first });
        lane
    }

    /// The branches, by their numbers in the cut.
    pub fn iter(&self) -> impl Iterator<Item = (Lane, &CutLane)> {
        (0..).map(Lane).zip(&self.lanes)
    }

    /// The name in the cut of an event of the source.
    pub fn dot(&self, source: Dot) -> Option<Dot> {
        let lane = self.to.get(source.lane.0 as usize).copied().flatten()?;
        Some(Dot { lane, seq: source.seq })
    }

    /// The name at the source of an event of the cut.
    pub fn source(&self, dot: Dot) -> Option<Dot> {
        let lane = self.lanes.get(dot.lane.0 as usize)?;
        let part = lane.parts.iter().find(|last| dot.seq <= last.seq)?;
        Some(Dot { lane: part.lane, seq: dot.seq })
    }

    /// What an event of the cut has seen.
    pub fn clock(&self, source: &Clock) -> Clock {
        source.iter().filter_map(|dot| self.dot(dot)).collect()
    }

    /// How many branches an author has.
    pub fn count_of(&self, author: AuthorKey) -> usize {
        self.counts.get(&author).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use quipu_merge::{LaneInfo, Lanes};

    use super::*;

    fn dot(lane: u32, seq: u64) -> Dot {
        Dot { lane: Lane(lane), seq: Seq(seq) }
    }

    #[test]
    fn what_is_not_in_the_cut_parts_no_branches() {
        let author = AuthorKey([1; 32]);
        let lane = |leaves: Option<Dot>, tip| (LaneInfo { author, leaves }, Seq(tip));
        let lanes = Lanes::restore(vec![
            lane(None, 9),
            lane(Some(dot(0, 5)), 8),
            lane(None, 3),
            lane(Some(dot(1, 7)), 9),
            lane(Some(dot(1, 8)), 12),
            lane(Some(dot(0, 5)), 6),
        ]);
        // Of lane 0 what comes after the first fork is not in it, and nothing of lane 2.
        let cut = Clock::from_iter([dot(0, 5), dot(1, 8), dot(3, 8), dot(4, 12), dot(5, 6)]);
        let lanes = CutLanes::new(lanes.table(), &cut);
        let found: Vec<_> =
            lanes.iter().map(|(_, lane)| (lane.leaves, lane.tip().unwrap())).collect();
        assert_eq!(
            found,
            [(None, dot(4, 12)), (Some(dot(0, 7)), dot(3, 8)), (Some(dot(0, 5)), dot(5, 6)),]
        );
        assert_eq!(lanes.count_of(author), 3);
        for (of_source, of_cut) in [
            (dot(0, 5), dot(0, 5)),
            (dot(1, 6), dot(0, 6)),
            (dot(4, 10), dot(0, 10)),
            (dot(3, 8), dot(1, 8)),
            (dot(5, 6), dot(2, 6)),
        ] {
            assert_eq!(lanes.dot(of_source), Some(of_cut));
            assert_eq!(lanes.source(of_cut), Some(of_source));
        }
        assert_eq!((lanes.dot(dot(2, 1)), lanes.source(dot(0, 13))), (None, None));
        let seen = Clock::from_iter([dot(0, 5), dot(1, 7)]);
        assert_eq!(lanes.clock(&seen), Clock::from_iter([dot(0, 7)]));
    }
}
