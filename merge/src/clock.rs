//! Positions in a history, and the clocks that say what an event has seen.
//!
//! A vector clock over authors does not identify the events of an author that forks. Inside, a
//! branch of an author is therefore an actor of its own: a [`Lane`]. Every lane is a chain, so a
//! clock over lanes answers "does *a* precede *b*" exactly and in one look-up. Lanes are numbered
//! as they arrive; their numbers mean nothing to other replicas.

use crdts::{CmRDT, CvRDT, VClock};

use crate::id::Seq;

/// A branch of an author's events, numbered locally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u32);

/// The local name of an event: its lane, and its position in the author's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The branch.
    pub lane: Lane,
    /// The position, counted along the author's chain (not along the lane).
    pub seq: Seq,
}

/// A vector clock over lanes: the largest position seen on each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock(VClock<Lane>);

impl Clock {
    /// The clock that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest position seen on `lane`; 0 if none.
    pub fn seq(&self, lane: Lane) -> u64 {
        self.0.get(&lane)
    }

    /// Whether the event at `dot` is among those seen.
    pub fn covers(&self, dot: Dot) -> bool {
        self.seq(dot.lane) >= dot.seq.0
    }

    /// Adds the event at `dot`.
    pub fn advance(&mut self, dot: Dot) {
        self.0.apply(crdts::Dot::new(dot.lane, dot.seq.0));
    }

    /// Adds everything that `other` has seen.
    pub fn join(&mut self, other: &Self) {
        self.0.merge(other.0.clone());
    }

    /// Whether `other` has seen all of this.
    pub fn within(&self, other: &Self) -> bool {
        self.iter().all(|dot| other.covers(dot))
    }

    /// The latest event seen on each lane, by lane.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().map(|dot| Dot { lane: *dot.actor, seq: Seq(dot.counter) })
    }

    /// How many lanes it has seen something of.
    pub fn len(&self) -> usize {
        self.0.iter().count()
    }

    /// Whether it has seen nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same clock as the replicated types take it.
    pub(crate) const fn as_vclock(&self) -> &VClock<Lane> {
        &self.0
    }
}

impl FromIterator<Dot> for Clock {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut clock = Self::new();
        dots.into_iter().for_each(|dot| clock.advance(dot));
        clock
    }
}
