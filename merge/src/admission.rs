//! Which events are admitted: the rules that depend on an event, its body and its ancestors.
//!
//! Finding the ancestors is the caller's business; nothing here reads or writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::authority::{Act, Authority, ControlEvent};
use crate::body::{Body, Control, Genesis};
use crate::clock::{Clock, Dot};
use crate::event::{Event, SignedEvent};
use crate::id::{AuthorKey, BodyId, EventId, Micros, Seq};
use crate::lanes::{Lanes, Placement};
use crate::refusal::{Reason, Refusal};

/// How far ahead of the local clock an event may be before it has to wait, in microseconds.
pub const MAX_AHEAD: u64 = 60_000_000;

/// An admitted event that a new one follows or redacts.
#[derive(Clone, Debug)]
pub struct Ancestor {
    /// Who wrote it.
    pub author: AuthorKey,
    /// Its local name.
    pub dot: Dot,
    /// When it says that it was written.
    pub time: Micros,
    /// What it has seen, itself included.
    pub clock: Arc<Clock>,
}

/// What an event follows, as far as it is at hand. An event with something missing waits.
#[derive(Clone, Debug, Default)]
pub struct Ancestors {
    /// The author's event before.
    pub prev: Option<Ancestor>,
    /// The parents, in the event's order.
    pub parents: Vec<Ancestor>,
}

impl Ancestors {
    /// Finds all that `event` follows by `find`.
    ///
    /// # Errors
    /// The first error of `find`. `Ok(Err(ids))` where some are not at hand: rule `missing`.
    pub fn find<E>(
        event: &Event,
        mut find: impl FnMut(EventId) -> Result<Option<Ancestor>, E>,
    ) -> Result<Result<Self, Vec<EventId>>, E> {
        let (mut found, mut missing) = (Self::default(), Vec::new());
        if let Some(id) = event.prev {
            found.prev = find(id)?;
            missing.extend(found.prev.is_none().then_some(id));
        }
        for &id in &event.parents {
            match find(id)? {
                Some(parent) => found.parents.push(parent),
                None => missing.push(id),
            }
        }
        Ok(if missing.is_empty() { Ok(found) } else { Err(missing) })
    }

    fn iter(&self) -> impl Iterator<Item = &Ancestor> {
        self.prev.iter().chain(&self.parents)
    }

    /// Everything that an event with these direct ancestors has seen, itself not included.
    fn clock(&self) -> Clock {
        let mut ancestors = self.iter();
        let mut clock =
            ancestors.next().map_or_else(Clock::new, |first| Clock::clone(&first.clock));
        for ancestor in ancestors {
            if !clock.covers(ancestor.dot) {
                clock.join(&ancestor.clock);
            }
        }
        clock
    }
}

/// An admitted event: where it goes, what it has seen, and what it does to the ledger.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Where it goes.
    pub placement: Placement,
    /// What it has seen, itself included.
    pub clock: Arc<Clock>,
    /// Its control operations.
    pub acts: Vec<Act>,
}

impl Admission {
    /// The event as judging wants it, if it has control operations.
    pub fn control(&self, event: &SignedEvent) -> Option<Arc<ControlEvent>> {
        (!self.acts.is_empty()).then(|| {
            Arc::new(ControlEvent {
                id: event.id(),
                author: event.event().author,
                dot: self.placement.dot,
                time: event.event().time,
                clock: self.clock.clone(),
                acts: self.acts.clone(),
            })
        })
    }
}

/// Admits the first event of a ledger.
///
/// # Errors
/// A refusal by rule `genesis`, `sequence` or `body`.
pub fn admit_genesis(event: &SignedEvent, body: &[u8]) -> Result<Genesis, Refusal> {
    let refuse = |reason, detail| Refusal::new(event.id(), reason, detail);
    if event.event().follows().next().is_some() {
        return Err(refuse(Reason::Genesis, "the first event follows others"));
    }
    if event.event().seq != Seq::FIRST {
        return Err(refuse(Reason::Sequence, "seq is not 1 without prev"));
    }
    match check_body(event, body)? {
        Body::Genesis(genesis) => Ok(genesis),
        _ => Err(refuse(Reason::Body, "the first event does not carry genesis")),
    }
}

/// The part of admission that depends on nothing but the event: a later event with neither `prev`
/// nor `parents` is a second first event.
///
/// # Errors
/// A refusal by rule `genesis`.
pub fn check_follows(event: &SignedEvent) -> Result<(), Refusal> {
    match event.event().follows().next() {
        Some(_) => Ok(()),
        None => Err(Refusal::new(event.id(), Reason::Genesis, "a second first event")),
    }
}

/// Rule `body`: reads the body of an event.
///
/// # Errors
/// A refusal by rule `body`.
pub fn check_body(event: &SignedEvent, body: &[u8]) -> Result<Body, Refusal> {
    let refuse = |detail| Refusal::new(event.id(), Reason::Body, detail);
    if body.len() != event.event().size as usize {
        return Err(refuse("the body has another size".into()));
    }
    if BodyId::of(body) != event.event().body {
        return Err(refuse("the body has another hash".into()));
    }
    Body::decode(body).map_err(refuse)
}

/// Admits an event all of whose direct ancestors are at hand, with its body, to the ledger that
/// `authority` and `lanes` describe. `targets` are the events that its redacts name, as far as
/// they are held.
///
/// # Errors
/// A refusal by the first rule of `genesis`, `sequence`, `time`, `body` and `unauthorised` that
/// fails.
pub fn admit(
    event: &SignedEvent,
    body: Result<&Body, &Refusal>,
    ancestors: &Ancestors,
    authority: &Authority,
    lanes: &Lanes,
    targets: &BTreeMap<EventId, Ancestor>,
) -> Result<Admission, Refusal> {
    let refuse = |reason, detail: &'static str| Err(Refusal::new(event.id(), reason, detail));
    check_follows(event)?;
    if let Err(detail) = check_sequence(event.event(), ancestors, authority) {
        return refuse(Reason::Sequence, detail);
    }
    if ancestors.iter().any(|ancestor| ancestor.time >= event.event().time) {
        return refuse(Reason::Time, "time is not greater than that of prev and every parent");
    }
    let body = match body {
        Ok(Body::Genesis(_)) => return refuse(Reason::Body, "genesis in a later event"),
        Ok(body) => body,
        Err(refusal) => return Err(refusal.clone()),
    };
    let past = ancestors.clock();
    let mut acts = Vec::with_capacity(body.control().len());
    for control in body.control() {
        acts.push(match *control {
            Control::Grant { author, role } => Act::Grant { author, role },
            Control::Revoke { author } => Act::Revoke { author },
            Control::Redact { event: target } => match targets.get(&target) {
                Some(found) if past.covers(found.dot) => {
                    Act::Redact { event: target, author: found.author, dot: found.dot }
                }
                _ => {
                    return refuse(
                        Reason::Unauthorised,
                        "redacts an event that it does not follow",
                    );
                }
            },
        });
    }
    let author = event.event().author;
    if let Err(detail) = authority.admits(author, &acts, &past) {
        return refuse(Reason::Unauthorised, detail);
    }
    let placement = lanes.place(author, ancestors.prev.as_ref().map(|prev| prev.dot));
    let mut clock = past;
    clock.advance(placement.dot);
    Ok(Admission { placement, clock: Arc::new(clock), acts })
}

fn check_sequence(
    event: &Event,
    ancestors: &Ancestors,
    authority: &Authority,
) -> Result<(), &'static str> {
    match &ancestors.prev {
        Some(prev) if prev.author != event.author => Err("prev is by another author"),
        Some(prev) if prev.dot.seq.next() != event.seq => {
            Err("seq is not one more than that of prev")
        }
        Some(_) => Ok(()),
        None if event.seq != Seq::FIRST => Err("seq is not 1 without prev"),
        None if event.author == authority.founder() => {
            Err("a second first event of the author of genesis")
        }
        None => Ok(()),
    }
}
