//! Choosing the cut to be certified next.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use quipu_merge::{Clock, Dot, EventId, Lane, MAX_AHEAD, MAX_CUT_HEADS, Micros, Seq};

use super::narrow::heads_that_fit;
use crate::error::ReadError;
use crate::ledger::{Ledger, now};
use crate::lookup::Stored;
use crate::snapshot::Snapshot;

/// How many new events a chosen cut holds at most, where it can be cut off by time: so many are
/// derived within seconds.
pub const MAX_CHOSEN_EVENTS: u64 = 100_000;

/// A cut to be certified next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one with these heads.
    Cut(Vec<EventId>),
    /// None for now: what is new is not due yet.
    NotDue,
    /// None: nothing is new.
    Nothing,
}

impl Ledger {
    /// Chooses a cut that `quorum` of the reporters hold, of all such cuts the largest of which
    /// everything is held here and due by the local clock, by what each of them says that it holds: its
    /// heads. Heads that are not held here are ignored. The cut strictly contains the last certified one.
    /// With more than [`MAX_CHOSEN_EVENTS`] new events the earliest are chosen; where there
    /// are more heads than a checkpoint may name, branches are left out.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn choose(&self, reports: &[Vec<EventId>], quorum: usize) -> Result<Choice, ReadError> {
        self.choose_at(reports, quorum, now(), MAX_CHOSEN_EVENTS)
    }

    fn choose_at(
        &self,
        reports: &[Vec<EventId>],
        quorum: usize,
        now: Micros,
        limit: u64,
    ) -> Result<Choice, ReadError> {
        let snapshot = self.snapshot()?;
        let mut clocks = Vec::with_capacity(reports.len());
        for heads in reports {
            let mut clock = Clock::new();
            for &head in heads {
                if let Some(place) = self.places.of(snapshot.reader(), head)? {
                    clock.join(&place.clock());
                }
            }
            clocks.push(clock);
        }
        let mut chosen = common(&clocks, quorum);
        let last = snapshot.published().finality.cuts.latest().clone();
        chosen.join(&last);
        if chosen.within(&last) {
            return Ok(Choice::Nothing);
        }
        // What is held may not be due: it was certified with what is, or the clock has gone back.
        let due = Micros(now.0.saturating_add(MAX_AHEAD));
        chosen = up_to(&snapshot, &chosen, &last, due)?;
        if chosen.within(&last) {
            return Ok(Choice::NotDue);
        }
        let lanes = &snapshot.published().lanes;
        let new = |cut: &Clock| {
            let (cut, last) = (|lane| cut.seq(lane), |lane| last.seq(lane));
            lanes.count(&cut) - lanes.count(&last)
        };
        if new(&chosen) > limit {
            chosen = earliest(&snapshot, &chosen, &last, &|cut| new(cut).cmp(&limit))?;
        }
        let heads = heads_that_fit(&snapshot, &chosen, &last, MAX_CUT_HEADS)?;
        Ok(heads.map_or(Choice::Nothing, Choice::Cut))
    }
}

/// For each lane the position that at least `quorum` of the clocks have come to. What an event
/// follows is covered by whatever covers it, so this is a cut again.
fn common(clocks: &[Clock], quorum: usize) -> Clock {
    let lanes: BTreeSet<_> = clocks.iter().flat_map(Clock::iter).map(|dot| dot.lane).collect();
    let Some(nth) = quorum.checked_sub(1) else { return Clock::new() };
    let positions = lanes.into_iter().filter_map(|lane| {
        let mut seqs: Vec<_> = clocks.iter().map(|clock| clock.seq(lane)).collect();
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        let seq = seqs.get(nth).copied().filter(|seq| *seq > 0)?;
        Some(Dot { lane, seq: Seq(seq) })
    });
    positions.collect()
}

/// What of a cut lies before some time, so that it has no more new events than it may have, as `size`
/// compares them.
fn earliest(
    snapshot: &Snapshot<'_>,
    cut: &Clock,
    last: &Clock,
    size: &dyn Fn(&Clock) -> Ordering,
) -> Result<Clock, ReadError> {
    let (mut low, mut high) = (Micros(0), Micros::MAX);
    // Of one time there may be more than that: better too many than none.
    let (mut fits, mut exceeds) = (None, None);
    while low < high {
        let middle = Micros(low.0.midpoint(high.0));
        let within = up_to(snapshot, cut, last, middle)?;
        if size(&within) == Ordering::Greater {
            high = middle;
            exceeds = Some(within);
        } else {
            low = Micros(middle.0 + 1);
            fits = Some(within).filter(|within| !within.within(last)).or(fits);
        }
    }
    Ok(fits.or(exceeds).unwrap_or_else(|| cut.clone()))
}

/// What of a cut is no later than a time, and the last cut: a cut again, since what an event follows is
/// earlier than it.
fn up_to(
    snapshot: &Snapshot<'_>,
    cut: &Clock,
    last: &Clock,
    time: Micros,
) -> Result<Clock, ReadError> {
    let mut within = last.clone();
    for dot in cut.iter().filter(|dot| dot.seq.0 > last.seq(dot.lane)) {
        if let Some(by) = last_by(snapshot, dot, last.seq(dot.lane), time)? {
            within.advance(by);
        }
    }
    Ok(within)
}

/// The last event of a lane after a position and up to that of `dot` with at most this time.
fn last_by(
    snapshot: &Snapshot<'_>,
    dot: Dot,
    after: u64,
    time: Micros,
) -> Result<Option<Dot>, ReadError> {
    let lane: Lane = dot.lane;
    let Some(info) = snapshot.published().lanes.get(lane) else { return Ok(None) };
    let is_by = |seq: u64| -> Result<bool, ReadError> {
        let at = Dot { lane, seq: Seq(seq) };
        Ok(Stored::read(snapshot.reader(), at)?.record()?.time <= time)
    };
    // Mostly all of them are.
    if is_by(dot.seq.0)? {
        return Ok(Some(dot));
    }
    let first = snapshot.first_held(lane, info).0.max(after + 1);
    let (mut low, mut high) = (first, dot.seq.0);
    while low < high {
        let middle = low.midpoint(high);
        if is_by(middle)? { low = middle + 1 } else { high = middle }
    }
    Ok((low > first).then_some(Dot { lane, seq: Seq(low - 1) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::NewLedger;

    #[test]
    fn of_too_many_events_the_earliest_are_chosen_and_none_before_it_is_due() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(dir.path().join("l"), &NewLedger::default()).unwrap();
        let put = |number: u8| {
            let mut transaction = ledger.transaction();
            transaction.put("k", &[number]).unwrap();
            transaction.commit().unwrap().event
        };
        let events: Vec<_> = (0..9).map(put).collect();
        let reports = [vec![events[8]], vec![events[6]]];
        let choose = |limit| ledger.choose_at(&reports, 2, now(), limit).unwrap();
        let of = |head: EventId| Choice::Cut(vec![head]);
        assert_eq!(choose(8), of(events[6]));
        assert_eq!(choose(7), of(events[5]));
        assert_eq!(choose(2), of(events[0]));
        assert_eq!(choose(1), of(ledger.id()));
        // Better too many than none.
        assert_eq!(choose(0), of(ledger.id()));

        // A clock that goes back.
        let snapshot = ledger.snapshot().unwrap();
        let time = |event| snapshot.event(event).unwrap().time;
        let choose = |time: Micros| {
            let now = Micros(time.0 - MAX_AHEAD);
            ledger.choose_at(&reports, 2, now, MAX_CHOSEN_EVENTS).unwrap()
        };
        assert_eq!(choose(time(events[6])), of(events[6]));
        assert_eq!(choose(Micros(time(events[6]).0 - 1)), of(events[5]));
        assert_eq!(choose(time(events[3])), of(events[3]));
        assert_eq!(choose(Micros(time(ledger.id()).0 - 1)), Choice::NotDue);
        assert_eq!(ledger.choose(&[], 1).unwrap(), Choice::Nothing);
    }

    #[test]
    fn what_a_quorum_has_is_chosen_lane_by_lane() {
        let clock = |seqs: &[u64]| -> Clock {
            let dots = (0..).map(Lane).zip(seqs).filter(|(_, seq)| **seq > 0);
            dots.map(|(lane, seq)| Dot { lane, seq: Seq(*seq) }).collect()
        };
        let clocks = [clock(&[5, 0, 7]), clock(&[3, 2, 7]), clock(&[4, 9, 0])];
        assert_eq!(common(&clocks, 1), clock(&[5, 9, 7]));
        assert_eq!(common(&clocks, 2), clock(&[4, 2, 7]));
        assert_eq!(common(&clocks, 3), clock(&[3]));
        assert_eq!(common(&clocks, 4), Clock::new());
        assert_eq!(common(&clocks, 0), Clock::new());
    }
}
