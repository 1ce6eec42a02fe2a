//! The events in the total order: what they follow, the rules of admission, clocks, heads.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_merge::{
    Act, Ancestor, Ancestors, Authority, Body, Clock, Control, ControlEvent, Dot, EventId, Lanes,
    Seq, SignedEvent, admit, admit_genesis,
};

use super::Check;
use crate::error::StorageError;
use crate::lookup::{self, Known, Recent, Stored};
use crate::record::{self, SharedClock};
use crate::schema::{self, Family, meta};
use crate::shallow::Floor;
use crate::writer::read_heads;

/// Admits all events again. Tells what that makes of the control events; `None` where there is
/// no first event.
pub fn check(
    check: &mut Check<'_, '_, '_>,
    lanes: &Lanes,
) -> Result<Option<Authority>, StorageError> {
    let mut replay =
        Replay { authority: None, heads: BTreeMap::new(), recent: Recent::default(), lanes };
    for_each(check, |check, dot, stored| {
        // What cannot be read has been found already.
        let (Ok(record), Ok(event), Ok(kept)) = (stored.record(), stored.event(), stored.kept())
        else {
            return Ok(());
        };
        // What is gone of a body was no control operation: the rules ask for nothing else.
        let body = kept.whole().unwrap_or_else(|| Body::Data(Vec::new()));
        let event = event.verified_before();
        if record.time != event.event().time {
            check.find(format!("event {}: its record has another time", event.id()));
        }
        let clock = lookup::clock_of(check.reader(), dot, record.clock.clone());
        let stored_clock = check.sound(&format!("event {}: its clock", event.id()), clock)?;
        let new = Recorded { dot, event: &event, body: &body, body_bytes: record.body };
        if replay.authority.is_some() && check.is_below(dot) {
            return replay.start_with(check, new, stored_clock);
        }
        if let Some(known) = replay.admit(check, new)? {
            if stored_clock.is_some_and(|clock| clock != *known.clock) {
                check.find(format!(
                    "event {}: its clock is not that of what it follows",
                    event.id()
                ));
            }
            replay.recent.insert(known);
            replay.recent.age();
        }
        Ok(())
    })?;
    let heads = read_heads(check.reader());
    if let Some((_, heads)) = check.sound("meta", heads)?
        && !heads.iter().eq(replay.heads.values())
    {
        check.find("the record of the heads does not list the events that no other follows");
    }
    if let Some(authority) = &replay.authority {
        check_control(check, authority)?;
    } else {
        check.find("there is no first event");
    }
    Ok(replay.authority)
}

/// Visits the events that the index by time lists, each after those that it follows.
pub fn for_each(
    check: &mut Check<'_, '_, '_>,
    mut visit: impl FnMut(&mut Check<'_, '_, '_>, Dot, &Stored<'_>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    check.each(Family::Order, &[], |check, key, value| {
        check.step();
        let place = schema::parse_order(key).zip(record::Reader(value).number());
        let Some(((_, lane), seq)) = place else {
            check.find(format!("the entry {} of the index by time", super::hex(key)));
            return Ok(());
        };
        let dot = Dot { lane, seq: Seq(seq) };
        let stored = Stored::read(check.reader(), dot);
        match check.sound("the index by time", stored)? {
            Some(stored) => visit(check, dot, &stored),
            None => Ok(()),
        }
    })?;
    Ok(())
}

struct Replay<'v> {
    authority: Option<Authority>,
    heads: BTreeMap<EventId, Dot>,
    recent: Recent,
    lanes: &'v Lanes,
}

/// An event to be admitted again, with what its record says.
#[derive(Clone, Copy)]
struct Recorded<'a> {
    dot: Dot,
    event: &'a SignedEvent,
    body: &'a Body,
    body_bytes: &'a [u8],
}

impl Recorded<'_> {
    /// The event as others follow it.
    fn known(&self, clock: SharedClock) -> Known {
        let content = self.event.event();
        Known {
            id: self.event.id(),
            author: content.author,
            dot: self.dot,
            time: content.time,
            clock,
            base: (self.dot.seq, 0),
        }
    }
}

impl Replay<'_> {
    /// Admits one event by the rules; `None` where they refuse it.
    fn admit(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        new: Recorded<'_>,
    ) -> Result<Option<Known>, StorageError> {
        for id in new.event.event().follows() {
            self.heads.remove(&id);
        }
        // Where a shallow store starts, what follows others is not here to tell.
        let is_head = |floor: &Floor| floor.heads.contains(&new.event.id());
        if !check.is_below(new.dot) || check.floor.is_none_or(is_head) {
            self.heads.insert(new.event.id(), new.dot);
        }
        if self.authority.is_none() {
            self.found(check, new);
            return Ok(Some(new.known(Arc::new(Clock::from_iter([new.dot])))));
        }
        let Some(ancestors) = self.ancestors(check, new.event)? else { return Ok(None) };
        self.follow(check, new, &ancestors)
    }

    /// Takes an event with which a shallow store starts: what it follows is not here.
    fn start_with(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        new: Recorded<'_>,
        clock: Option<Clock>,
    ) -> Result<(), StorageError> {
        let id = new.event.id();
        if check.floor.is_some_and(|floor| floor.heads.contains(&id)) {
            self.heads.insert(id, new.dot);
        }
        let Some(clock) = clock.filter(|_| !new.body.control().is_empty()) else { return Ok(()) };
        let within = check.floor.is_some_and(|floor| clock.within(&floor.shallow.floor));
        if !within || !clock.covers(new.dot) {
            check.find(format!("event {id}: its clock goes beyond what the store starts from"));
        }
        let acts = acts(check, &self.recent, new)?;
        let known = new.known(Arc::new(clock));
        if let Some(authority) = &mut self.authority {
            authority.insert(control_event(&known, acts));
        }
        Ok(())
    }

    /// Starts the ledger with its first event.
    fn found(&mut self, check: &mut Check<'_, '_, '_>, new: Recorded<'_>) {
        let content = new.event.event();
        match admit_genesis(new.event, new.body_bytes) {
            Ok(genesis) => {
                let (id, author) = (new.event.id(), content.author);
                self.authority = Some(Authority::new(genesis, id, author, new.dot, content.time));
            }
            Err(refusal) => check.find(refusal.to_string()),
        }
    }

    /// What an event follows; `None` where not all of that is held.
    fn ancestors(
        &self,
        check: &mut Check<'_, '_, '_>,
        event: &SignedEvent,
    ) -> Result<Option<Ancestors>, StorageError> {
        let found = Ancestors::find(event.event(), |id| find(check, &self.recent, id));
        Ok(match check.sound(&format!("event {}", event.id()), found)? {
            Some(Ok(ancestors)) => Some(ancestors),
            Some(Err(missing)) => {
                let missing = list(&missing);
                check
                    .find(format!("event {}: it follows {missing}, which is not held", event.id()));
                None
            }
            None => None,
        })
    }

    /// Admits an event after the first one.
    fn follow(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        new: Recorded<'_>,
        ancestors: &Ancestors,
    ) -> Result<Option<Known>, StorageError> {
        let (event, dot) = (new.event, new.dot);
        if check.floor.is_some_and(|floor| !floor.is_followed_by(event.event(), ancestors)) {
            check.find(format!("event {}: it does not follow all that precedes it", event.id()));
        }
        let targets = targets(check, &self.recent, event.id(), new.body)?;
        let Some(authority) = &mut self.authority else { return Ok(None) };
        let admission = match admit(event, Ok(new.body), ancestors, authority, self.lanes, &targets)
        {
            Ok(admission) => admission,
            Err(refusal) => {
                check.find(refusal.to_string());
                return Ok(None);
            }
        };
        // Its place was settled when it arrived, by what had come before: the one in the
        // admission is where it would go now.
        let mut clock = Clock::from_iter([dot]);
        for ancestor in ancestors.prev.iter().chain(&ancestors.parents) {
            clock.join(&ancestor.clock);
        }
        let known = new.known(Arc::new(clock));
        if !admission.acts.is_empty() {
            authority.insert(control_event(&known, admission.acts));
        }
        Ok(Some(known))
    }
}

fn control_event(known: &Known, acts: Vec<Act>) -> Arc<ControlEvent> {
    let &Known { id, author, dot, time, ref clock, .. } = known;
    Arc::new(ControlEvent { id, author, dot, time, clock: clock.clone(), acts })
}

/// What the control operations of an event come to that is not admitted again.
fn acts(
    check: &mut Check<'_, '_, '_>,
    recent: &Recent,
    new: Recorded<'_>,
) -> Result<Vec<Act>, StorageError> {
    let id = new.event.id();
    let targets = targets(check, recent, id, new.body)?;
    let mut acts = Vec::new();
    for operation in new.body.control() {
        match *operation {
            Control::Grant { author, role } => acts.push(Act::Grant { author, role }),
            Control::Revoke { author } => acts.push(Act::Revoke { author }),
            Control::Redact { event } => match targets.get(&event) {
                Some(&Ancestor { author, dot, .. }) => {
                    acts.push(Act::Redact { event, author, dot });
                }
                None => check.find(format!("event {id}: it redacts {event}, which is not held")),
            },
        }
    }
    Ok(acts)
}

fn find(
    check: &Check<'_, '_, '_>,
    recent: &Recent,
    id: EventId,
) -> Result<Option<Ancestor>, StorageError> {
    if let Some(known) = recent.get(&id) {
        return Ok(Some(known.clone().into()));
    }
    let Some(dot) = lookup::dot_of(check.reader(), id)? else { return Ok(None) };
    Ok(Some(lookup::known_at(check.reader(), dot)?.into()))
}

/// The events that the redacts of a body name, as far as they are held.
fn targets(
    check: &mut Check<'_, '_, '_>,
    recent: &Recent,
    event: EventId,
    body: &Body,
) -> Result<BTreeMap<EventId, Ancestor>, StorageError> {
    let mut targets = BTreeMap::new();
    for operation in body.control() {
        if let Control::Redact { event: target } = operation {
            let found = find(check, recent, *target);
            let found = check.sound(&format!("event {event}"), found)?;
            targets.extend(found.flatten().map(|found| (*target, found)));
        }
    }
    Ok(targets)
}

fn list(ids: &[EventId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The list of control events holds them all, each once and after those that it follows.
fn check_control(check: &mut Check<'_, '_, '_>, authority: &Authority) -> Result<(), StorageError> {
    let mut left: BTreeMap<Dot, _> =
        authority.events().iter().map(|event| (event.dot, event)).collect();
    let mut seen = Clock::new();
    let mut number = 0;
    check.each(Family::Meta, b"C", |check, key, value| {
        let event = record::Reader(value).dot().and_then(|dot| left.remove(&dot));
        match event {
            Some(event) if key == meta::control(number) && !seen.covers(event.dot) => {
                seen.join(&event.clock)
            }
            _ => {
                check.find(format!("entry {number} of the list of control events is out of place"))
            }
        }
        number += 1;
        Ok(())
    })?;
    for event in left.values() {
        check.find(format!("event {} is missing in the list of control events", event.id));
    }
    let ledger = check.get(Family::Meta, meta::LEDGER)?;
    if ledger.is_none_or(|id| *id != authority.ledger().0) {
        check.find("the record of the ledger's id does not name the first event");
    }
    Ok(())
}
