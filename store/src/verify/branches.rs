//! Branches: which there are is told by the events alone, and their records say the same.

use quipu_merge::{AuthorKey, Dot, Event, EventId, Lane, LaneInfo, Lanes, Seq};

use super::{Check, at};
use crate::error::StorageError;
use crate::incoming::Checked;
use crate::lookup;
use crate::record::put_dot;
use crate::schema::{self, Family, meta};
use crate::shallow::Floor;

/// How many lanes in a row may have no events at all.
const MAX_GAP: usize = 1 << 16;

/// The branches, as far as events have been placed on them.
#[derive(Default)]
pub struct Branches {
    lanes: Vec<(LaneInfo, Seq)>,
    /// The event before, as far as it could be read.
    last: Option<EventId>,
}

impl Branches {
    /// An event continues the one before it on its lane, or starts the next lane.
    pub fn place(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        checked: Option<&Checked>,
    ) -> Result<(), StorageError> {
        let last = std::mem::replace(&mut self.last, checked.map(|checked| checked.event.id()));
        let event = checked.map(|checked| checked.event.event());
        if event.is_some_and(|event| event.seq != dot.seq) {
            check.find(format!("{}: its event has another position", at(dot)));
        }
        match self.lanes.get_mut(dot.lane.0 as usize) {
            Some(lane) => {
                go_on(check, dot, lane, last, event);
                Ok(())
            }
            None => self.begin(check, dot, event),
        }
    }

    /// An event is the first of a lane.
    fn begin(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        event: Option<&Event>,
    ) -> Result<(), StorageError> {
        let lane = dot.lane.0 as usize;
        if lane != self.lanes.len() {
            check.find(format!(
                "lanes {} to {} have no events",
                self.lanes.len(),
                lane.saturating_sub(1)
            ));
        }
        // Lanes are numbered without gaps: what is missing stands empty, within reason.
        if lane - self.lanes.len() > MAX_GAP {
            return Ok(());
        }
        let nobody = LaneInfo { author: AuthorKey([0; 32]), leaves: None };
        self.lanes.resize(lane, (nobody.clone(), Seq(0)));
        let mut info =
            event.map_or(nobody, |event| LaneInfo { author: event.author, leaves: None });
        if let Some(prev) = event.and_then(|event| event.prev) {
            let leaves = lookup::dot_of(check.reader(), prev);
            info.leaves = check.sound(&at(dot), leaves)?.flatten();
        }
        if let Some(known) = self.known_lane(check, dot, event.map(|event| event.author)) {
            info = known;
        } else if event.is_some() && info.first() != dot.seq {
            check.find(format!("{}: it neither starts a chain nor leaves a lane", at(dot)));
        }
        self.lanes.push((info, dot.seq));
        Ok(())
    }

    /// A lane that begins below where a shallow store starts: what its record says.
    fn known_lane(
        &self,
        check: &Check<'_, '_, '_>,
        dot: Dot,
        author: Option<AuthorKey>,
    ) -> Option<LaneInfo> {
        let info =
            check.snapshot.published().lanes.get(dot.lane).filter(|_| check.is_below(dot))?;
        let fits = author.is_none_or(|author| author == info.author) && info.first() <= dot.seq;
        fits.then(|| info.clone())
    }

    /// How many events the lanes have up to where the store starts.
    fn floor_count(&self, floor: &Floor) -> u64 {
        let lanes = (0..).map(Lane).zip(&self.lanes);
        let count = |(lane, (info, _)): (Lane, &(LaneInfo, Seq))| {
            (floor.shallow.floor.seq(lane) + 1).saturating_sub(info.first().0)
        };
        lanes.map(count).sum()
    }

    /// Of a shallow store, the last event of each lane up to where it starts is here.
    fn check_floor(&self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        let Some(floor) = check.floor else { return Ok(()) };
        let count = self.floor_count(floor);
        if count != floor.size {
            let (height, size) = (floor.height(), floor.size);
            check.find(format!(
                "branches that hold {count} events up to checkpoint {height}, which holds {size}"
            ));
        }
        for dot in floor.shallow.floor.iter() {
            if check.get(Family::Events, &schema::dot_key(dot))?.is_none() {
                check.find(format!("{}: the store starts from it, and it is missing", at(dot)));
            }
        }
        Ok(())
    }

    /// The records of the lanes say what the events say.
    fn check_lanes(&self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        for (number, (info, _)) in (0..).zip(&self.lanes) {
            let mut expected = info.author.0.to_vec();
            if let Some(leaves) = info.leaves {
                put_dot(&mut expected, leaves);
                let left = self.lanes.get(leaves.lane.0 as usize);
                if left.is_none_or(|(left, tip)| left.author != info.author || *tip <= leaves.seq) {
                    check.find(format!(
                        "lane {number} leaves its author's chain where it does not fork"
                    ));
                }
            }
            let record = check.get(Family::Meta, &meta::lane(Lane(number)))?;
            if record.is_none_or(|record| *record != expected) {
                check.find(format!("the record of lane {number} is not what its events say"));
            }
        }
        let records = check.each(Family::Meta, b"L", |_, _, _| Ok(()))?;
        if records != self.lanes.len() as u64 {
            check.find(format!("{records} records of lanes for {} lanes", self.lanes.len()));
        }
        Ok(())
    }

    /// After the last event: what the branches are, once their records and the floor are checked.
    pub fn finish(self, check: &mut Check<'_, '_, '_>) -> Result<Lanes, StorageError> {
        self.check_lanes(check)?;
        self.check_floor(check)?;
        Ok(Lanes::restore(self.lanes))
    }
}

/// An event comes after others of its lane, of which `last` is the one before it, as far as that is known.
fn go_on(
    check: &mut Check<'_, '_, '_>,
    dot: Dot,
    (info, tip): &mut (LaneInfo, Seq),
    last: Option<EventId>,
    event: Option<&Event>,
) {
    if event.is_some_and(|event| event.author != info.author) {
        check.find(format!("{}: it is by another author than the lane", at(dot)));
    }
    let gap = dot.seq != tip.next();
    *tip = dot.seq;
    // Up to where a shallow store starts, there are gaps.
    if gap && check.is_below(dot) {
        return;
    }
    if gap {
        check.find(format!("{}: the one before it is missing", at(dot)));
    }
    if last.zip(event).is_some_and(|(last, event)| event.prev != Some(last)) {
        check.find(format!("{}: it does not continue the one before it", at(dot)));
    }
}
