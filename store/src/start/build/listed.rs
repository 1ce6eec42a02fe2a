//! The events of a start file that come before the state: the last of each branch, those with control
//! operations, and those that they redact. Each is shown to be in the certified log.

use std::collections::BTreeSet;

use quipu_merge::{
    Body, Clock, Control, Dot, EventId, Lane, LaneInfo, Lanes, ParsedEvent, Seq, SignedEvent,
    check_body, check_inclusion, event_leaf_hash,
};

use super::super::StartError;
use super::super::format::{LaneRecord, ListedRecord, LogEvent};
use super::super::frames::Tag;
use super::{Build, FIRST, Input, Special, SpecialKind, twice};
use crate::bodies::{pack_values, remains};
use crate::record::{EventRecord, StoredClock, put_dot};
use crate::schema::{self, Family, meta};

/// What an event redacts. What it has seen is kept once: both may be long.
struct Redacting {
    by: Dot,
    seen: Clock,
    targets: Vec<EventId>,
}

impl Build<'_> {
    /// Reads the branches with their last events.
    pub fn take_lanes(&mut self, input: &mut Input<'_>) -> Result<(), StartError> {
        self.take_genesis()?;
        let mut lanes = Vec::<(LaneInfo, Seq)>::new();
        while let Some(content) = input.take(Tag::Lane)? {
            let LaneRecord { leaves, forks, tip } = LaneRecord::decode(&content)?;
            let event = self.log_event(&tip)?;
            let lane = Lane(
                u32::try_from(lanes.len()).map_err(|_| StartError::corrupt("too many branches"))?,
            );
            let (author, seq) = (event.event().author, event.event().seq);
            let info = LaneInfo { author, leaves };
            self.check_lane(&lanes, &info, seq)?;
            let dot = Dot { lane, seq };
            if dot != FIRST {
                let kind = SpecialKind::Other;
                self.take_special(dot, &event, &tip, kind)?;
                self.write_event(dot, &event, &tip.event, StoredClock::Floor, &pack_values(&[]))?;
            } else if event.id() != self.head.genesis.id() {
                return Err(StartError::contradiction(
                    "its first branch begins with another event",
                ));
            }
            let mut record = author.0.to_vec();
            leaves.iter().for_each(|leaves| put_dot(&mut record, *leaves));
            self.out.put(Family::Meta, &meta::lane(lane), &record)?;
            if let Some((first, after)) = forks {
                self.number(Dot { lane, seq: info.first() }, first)?;
                if let Some((leaves, after)) = leaves.zip(after) {
                    self.number(Dot { lane: leaves.lane, seq: leaves.seq.next() }, after)?;
                }
            }
            lanes.push((info, seq));
            self.out.flush_some()?;
        }
        self.lanes = Lanes::restore(lanes);
        if self.lanes.tip(FIRST.lane) == 0 {
            return Err(StartError::contradiction("it has no branches"));
        }
        Ok(())
    }

    fn take_genesis(&mut self) -> Result<(), StartError> {
        let genesis = self.head.genesis.clone();
        let (id, number) = (genesis.id(), 0);
        self.special.insert(FIRST, Special { id, void: false, number, kind: SpecialKind::Control });
        self.ids.insert(id, FIRST);
        self.number(FIRST, number)?;
        let body = self.head.genesis_body.clone();
        let clock = StoredClock::Full(vec![FIRST]);
        self.write_event(FIRST, &genesis, genesis.bytes(), clock, &body)?;
        let mut place = Vec::new();
        put_dot(&mut place, FIRST);
        Ok(self.out.put(Family::Meta, &meta::control(0), &place)?)
    }

    /// Whether there can be such a branch beside those before it, with its last event at this position.
    fn check_lane(
        &self,
        lanes: &[(LaneInfo, Seq)],
        info: &LaneInfo,
        last: Seq,
    ) -> Result<(), StartError> {
        let founder = self.head.genesis.event().author;
        let fits = match info.leaves {
            None if lanes.is_empty() => info.author == founder,
            None => info.author != founder,
            // Where a branch ended, the other would be its continuation, and not leave it.
            Some(left) => lanes.get(left.lane.0 as usize).is_some_and(|(other, tip)| {
                other.author == info.author && other.first() <= left.seq && left.seq < *tip
            }),
        };
        if fits && info.first() <= last {
            return Ok(());
        }
        Err(StartError::contradiction(format!("branch {} leaves no other there", lanes.len())))
    }

    /// Reads the events with control operations, and those that they redact.
    pub fn take_listed(&mut self, input: &mut Input<'_>) -> Result<(), StartError> {
        let (mut number, mut redacting) = (1, Vec::new());
        while let Some(content) = input.take(Tag::Control)? {
            let record = ListedRecord::decode(&content)?;
            redacting.extend(self.take_control(&record)?);
            let mut place = Vec::new();
            put_dot(&mut place, record.dot);
            self.out.put(Family::Meta, &meta::control(number), &place)?;
            number += 1;
            self.out.flush_some()?;
        }
        let mut targets = BTreeSet::new();
        while let Some(content) = input.take(Tag::Redacted)? {
            let record = ListedRecord::decode(&content)?;
            targets.insert(self.take_redacted(&record)?);
            self.out.flush_some()?;
        }
        for Redacting { by, seen, targets: redacted } in redacting {
            for target in redacted {
                let dot = self.ids.get(&target).filter(|dot| **dot != by && seen.covers(**dot));
                if dot.is_none() {
                    let what = format!("event {target} is redacted by one that does not follow it");
                    return Err(StartError::contradiction(what));
                }
                targets.remove(&target);
            }
        }
        match targets.first() {
            Some(target) => {
                let what = format!("event {target} is not redacted");
                Err(StartError::contradiction(what))
            }
            None => Ok(()),
        }
    }

    /// Reads an event with control operations. Tells what it redacts, if it does.
    fn take_control(&mut self, record: &ListedRecord) -> Result<Option<Redacting>, StartError> {
        let event = self.listed(record, SpecialKind::Control)?;
        let Body::Control(operations) = check_body(&event, &record.body)? else {
            let what = format!("event {} has no control operations", event.id());
            return Err(StartError::contradiction(what));
        };
        let clock = record.seen();
        let own = record.clock.iter().find(|dot| dot.lane == record.dot.lane);
        let mut sound = own == Some(&record.dot);
        for dot in &record.clock {
            let leaves = self.lane(*dot)?.leaves;
            sound &= leaves.is_none_or(|leaves| clock.covers(leaves));
        }
        for followed in event.event().follows() {
            sound &= self.ids.get(&followed).is_none_or(|dot| clock.covers(*dot));
        }
        if !sound {
            let what = format!("event {} cannot have seen that", event.id());
            return Err(StartError::contradiction(what));
        }
        let full = StoredClock::Full(record.clock.clone());
        self.write_event(record.dot, &event, &record.event.event, full, &record.body)?;
        let targets = operations.iter().filter_map(|operation| match operation {
            Control::Redact { event } => Some(*event),
            _ => None,
        });
        let targets: Vec<_> = targets.collect();
        let is_one = !targets.is_empty();
        Ok(is_one.then_some(Redacting { by: record.dot, seen: clock, targets }))
    }

    fn take_redacted(&mut self, record: &ListedRecord) -> Result<EventId, StartError> {
        let whole = !record.body.is_empty();
        let kind = if whole { SpecialKind::Redacted } else { SpecialKind::Other };
        let event = self.listed(record, kind)?;
        let body = match whole.then(|| check_body(&event, &record.body)).transpose()? {
            Some(body @ (Body::Data(_) | Body::Merge)) => remains(&body),
            Some(_) => {
                let what = format!("event {} is listed in the wrong place", event.id());
                return Err(StartError::contradiction(what));
            }
            None => pack_values(&[]),
        };
        if !record.clock.is_empty() {
            return Err(StartError::corrupt("a clock that nobody needs"));
        }
        self.write_event(record.dot, &event, &record.event.event, StoredClock::Floor, &body)?;
        Ok(event.id())
    }

    /// Checks an event that is listed with its name.
    fn listed(
        &mut self,
        record: &ListedRecord,
        kind: SpecialKind,
    ) -> Result<SignedEvent, StartError> {
        let event = self.log_event(&record.event)?;
        let info = self.lane(record.dot)?;
        if (info.author, record.dot.seq) != (event.event().author, event.event().seq) {
            let what = format!("event {} is on another branch", event.id());
            return Err(StartError::contradiction(what));
        }
        self.take_special(record.dot, &event, &record.event, kind)?;
        Ok(event)
    }

    /// Checks that an event is in the certified log, at the place that it is said to be.
    fn log_event(&self, said: &LogEvent) -> Result<SignedEvent, StartError> {
        // What is certified has been admitted, and its id is the hash of its signature, too.
        let event = ParsedEvent::decode(&said.event)?.verified_before();
        let checkpoint = &self.head.last.checkpoint;
        let leaf = (said.index, event_leaf_hash(event.id()));
        check_inclusion(&said.path, (checkpoint.size, checkpoint.root), leaf)
            .map_err(|_| StartError::NotInLog(event.id()))?;
        if event.event().time > checkpoint.time || !self.head.fits(said.index, said.number) {
            let what = format!("event {} is not of the cut that it is said to be of", event.id());
            return Err(StartError::contradiction(what));
        }
        Ok(event)
    }

    /// Takes up where an event is, which may be known already, but not at another place.
    fn take_special(
        &mut self,
        dot: Dot,
        event: &SignedEvent,
        said: &LogEvent,
        kind: SpecialKind,
    ) -> Result<(), StartError> {
        let (id, void, number) = (event.id(), said.void, said.number);
        if self.ids.insert(id, dot).is_some_and(|other| other != dot) {
            return Err(twice(id));
        }
        let new = Special { id, void, number, kind };
        if let Some(known) = self.special.insert(dot, new)
            && ((known.id, known.void, known.number) != (id, void, number)
                || known.kind != SpecialKind::Other)
        {
            return Err(twice(id));
        }
        self.number(dot, number)
    }

    fn write_event(
        &mut self,
        dot: Dot,
        event: &SignedEvent,
        bytes: &[u8],
        clock: StoredClock,
        body: &[u8],
    ) -> Result<(), StartError> {
        let time = event.event().time;
        let record = EventRecord { clock, time, event: bytes, body };
        self.out.put(Family::Events, &schema::dot_key(dot), &record.encode())?;
        self.out.write_place(dot, event.id(), time)?;
        Ok(())
    }
}
