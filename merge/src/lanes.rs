//! The branches of all authors, and what is known of forks.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::{Clock, Dot, Lane};
use crate::id::{AuthorKey, Seq};

/// A branch of an author's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneInfo {
    /// Whose branch it is.
    pub author: AuthorKey,
    /// The event that it leaves another lane at; none for one that starts at position 1.
    pub leaves: Option<Dot>,
}

impl LaneInfo {
    /// The position of the first event on the lane.
    pub fn first(&self) -> Seq {
        self.leaves.map_or(Seq::FIRST, |dot| dot.seq.next())
    }
}

/// Where a new event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its local name.
    pub dot: Dot,
    /// Whether it starts a lane: an author's first event, or a fork.
    pub starts_lane: bool,
    /// Whether it forks the author's history.
    pub forks: bool,
    /// The event that a new lane leaves another at.
    pub leaves: Option<Dot>,
}

/// All lanes of a replica and the last event on each.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    table: Arc<LaneTable>,
    tips: Vec<Seq>,
}

impl Lanes {
    /// Takes up lanes as they were numbered before, with the last position on each.
    pub fn restore(lanes: Vec<(LaneInfo, Seq)>) -> Self {
        let mut restored = Self::default();
        let table = Arc::make_mut(&mut restored.table);
        for (info, tip) in lanes {
            table.push(info);
            restored.tips.push(tip);
        }
        restored
    }

    /// The lanes without their last events: shared, and copied only when a lane is added.
    pub const fn table(&self) -> &Arc<LaneTable> {
        &self.table
    }

    /// The last position on a lane; 0 if there is no such lane.
    pub fn tip(&self, lane: Lane) -> u64 {
        self.tips.get(lane.0 as usize).map_or(0, |tip| tip.0)
    }

    /// The last event on each lane.
    pub fn tips(&self) -> impl Iterator<Item = Dot> + '_ {
        (0..).map(Lane).zip(&self.tips).map(|(lane, &seq)| Dot { lane, seq })
    }

    /// Where an event of `author` goes that continues `prev` (its own, already placed).
    pub fn place(&self, author: AuthorKey, prev: Option<Dot>) -> Placement {
        if let Some(dot) = prev.filter(|dot| self.tip(dot.lane) == dot.seq.0) {
            let dot = Dot { lane: dot.lane, seq: dot.seq.next() };
            return Placement { dot, starts_lane: false, forks: false, leaves: None };
        }
        let lane = Lane(u32::try_from(self.tips.len()).unwrap_or(u32::MAX));
        let seq = prev.map_or(Seq::FIRST, |dot| dot.seq.next());
        let forks = !self.table.of(author).is_empty();
        Placement { dot: Dot { lane, seq }, starts_lane: true, forks, leaves: prev }
    }

    /// Takes in an event of `author` where [`Self::place`] put it.
    pub fn insert(&mut self, author: AuthorKey, placement: Placement) {
        let Dot { lane, seq } = placement.dot;
        if placement.starts_lane {
            Arc::make_mut(&mut self.table).push(LaneInfo { author, leaves: placement.leaves });
            self.tips.push(seq);
        } else if let Some(tip) = self.tips.get_mut(lane.0 as usize) {
            *tip = seq;
        }
    }
}

/// Whose every lane is, and where it leaves another.
#[derive(Clone, Debug, Default)]
pub struct LaneTable {
    lanes: Vec<LaneInfo>,
    by_author: BTreeMap<AuthorKey, Vec<Lane>>,
}

impl LaneTable {
    /// The lane with this number.
    pub fn get(&self, lane: Lane) -> Option<&LaneInfo> {
        self.lanes.get(lane.0 as usize)
    }

    /// All lanes, by number.
    pub fn iter(&self) -> impl Iterator<Item = (Lane, &LaneInfo)> {
        (0..).map(Lane).zip(&self.lanes)
    }

    /// All authors with events, ascending, and their lanes.
    pub fn authors(&self) -> impl Iterator<Item = (AuthorKey, &[Lane])> {
        self.by_author.iter().map(|(author, lanes)| (*author, lanes.as_slice()))
    }

    /// The lanes of one author, in order of arrival.
    pub fn of(&self, author: AuthorKey) -> &[Lane] {
        self.by_author.get(&author).map_or(&[], Vec::as_slice)
    }

    /// The vector clock over authors: the largest position of each that `clock` has seen.
    pub fn version(&self, clock: &Clock) -> BTreeMap<AuthorKey, u64> {
        let mut version = BTreeMap::new();
        for dot in clock.iter() {
            if let Some(info) = self.get(dot.lane) {
                let seq: &mut u64 = version.entry(info.author).or_default();
                *seq = dot.seq.0.max(*seq);
            }
        }
        version
    }

    /// How many events a cut holds that holds those up to `within(lane)` of each lane.
    pub fn count(&self, within: &dyn Fn(Lane) -> u64) -> u64 {
        self.iter().map(|(lane, info)| (within(lane) + 1).saturating_sub(info.first().0)).sum()
    }

    /// The chain of `prev` that ends at `dot`: each lane on it with the last position that is
    /// still on the chain, from `dot` back to position 1.
    pub fn chain(&self, dot: Dot) -> impl Iterator<Item = Dot> + '_ {
        std::iter::successors(Some(dot), |dot| self.get(dot.lane).and_then(|info| info.leaves))
    }

    /// The event at position `seq` on the chain that ends at `dot`.
    pub fn on_chain(&self, dot: Dot, seq: Seq) -> Option<Dot> {
        let lane =
            self.chain(dot).find(|d| self.get(d.lane).is_some_and(|i| i.first() <= seq))?.lane;
        (seq >= Seq::FIRST && seq <= dot.seq).then_some(Dot { lane, seq })
    }

    /// The first event on each branch, within the cut, that `author` has off the chain of `dot`
    /// with a position up to that of `dot`: the proof that the author forked there.
    pub fn off_chain<'a>(
        &'a self,
        author: AuthorKey,
        dot: Dot,
        within: &'a dyn Fn(Lane) -> u64,
    ) -> impl Iterator<Item = Dot> + 'a {
        let chain: Vec<Dot> = match self.of(author) {
            // An author with one lane has no other branch: by far the most common case.
            [] | [_] => Vec::new(),
            _ => self.chain(dot).collect(),
        };
        let others = if chain.is_empty() { &[] } else { self.of(author) };
        others.iter().filter_map(move |&lane| {
            let first = match chain.iter().find(|on| on.lane == lane) {
                Some(on) => on.seq.next(),
                None => self.get(lane)?.first(),
            };
            (first <= dot.seq && within(lane) >= first.0).then_some(Dot { lane, seq: first })
        })
    }

    /// The lowest position that two events of `author` within the cut share.
    pub fn fork(&self, author: AuthorKey, within: &dyn Fn(Lane) -> u64) -> Option<Seq> {
        let lanes = self.of(author);
        let shared = |a: &LaneInfo, a_tip: u64, b: &LaneInfo, b_tip: u64| {
            let lowest = a.first().max(b.first());
            (lowest.0 <= a_tip.min(b_tip)).then_some(lowest)
        };
        let held: Vec<_> = match lanes {
            [] | [_] => return None,
            _ => lanes.iter().filter_map(|&lane| Some((self.get(lane)?, within(lane)))).collect(),
        };
        let pairs =
            held.iter().enumerate().flat_map(|(i, a)| held.iter().take(i).map(move |b| (a, b)));
        pairs.filter_map(|((a, a_tip), (b, b_tip))| shared(a, *a_tip, b, *b_tip)).min()
    }

    /// The lowest position that two events of an author within the cut share, by author.
    pub fn forks(&self, within: &dyn Fn(Lane) -> u64) -> BTreeMap<AuthorKey, u64> {
        let forks = self.by_author.keys().filter_map(|&a| Some((a, self.fork(a, within)?.0)));
        forks.collect()
    }

    fn push(&mut self, info: LaneInfo) {
        let lane = Lane(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX));
        self.by_author.entry(info.author).or_default().push(lane);
        self.lanes.push(info);
    }
}
