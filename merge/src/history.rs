//! A whole history in memory: the reference for what a set of events means.
//!
//! A store keeps its own indexes; this is for checking them, for files, and for programs that need
//! no store at all.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use crate::admission::{self, Ancestor, Ancestors};
use crate::authority::Authority;
use crate::body::{Body, Control};
use crate::certified::CertifiedCuts;
use crate::clock::{Clock, Dot, Lane};
use crate::cut::Cut;
use crate::event::{Event, SignedEvent};
use crate::id::{AuthorKey, EventId, OpeningId, Seq};
use crate::lanes::{LaneTable, Lanes};
use crate::refusal::{Reason, Refusal};
use crate::verdicts::{Subject, Verdicts};
use crate::view::View;

/// An admitted event.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its content.
    pub event: Event,
    /// Its body.
    pub body: Body,
    /// Its local name.
    pub dot: Dot,
    /// What it has seen, itself included.
    pub clock: Arc<Clock>,
}

/// A cut names an event that is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {0} is not held")]
pub struct UnknownEvent(pub EventId);

/// All admitted events of a ledger.
#[derive(Clone, Debug)]
pub struct History {
    authority: Authority,
    lanes: Lanes,
    entries: BTreeMap<EventId, Entry>,
    by_dot: BTreeMap<Dot, EventId>,
    heads: BTreeSet<EventId>,
}

impl History {
    /// Starts from the first event of a ledger.
    ///
    /// # Errors
    /// A refusal by rule `genesis`, `sequence` or `body`.
    pub fn new(event: &SignedEvent, body: &[u8]) -> Result<Self, Refusal> {
        let genesis = admission::admit_genesis(event, body)?;
        let content = event.event();
        let mut lanes = Lanes::default();
        let placement = lanes.place(content.author, None);
        lanes.insert(content.author, placement);
        let dot = placement.dot;
        let body = Body::Genesis(genesis.clone());
        let entry =
            Entry { event: content.clone(), body, dot, clock: Arc::new(Clock::from_iter([dot])) };
        Ok(Self {
            authority: Authority::new(genesis, event.id(), content.author, dot, content.time),
            lanes,
            entries: BTreeMap::from([(event.id(), entry)]),
            by_dot: BTreeMap::from([(dot, event.id())]),
            heads: BTreeSet::from([event.id()]),
        })
    }

    /// Admits an event. One that is held already changes nothing.
    ///
    /// # Errors
    /// A refusal by the first rule that fails, of those from `genesis` on; nothing has changed.
    pub fn admit(&mut self, event: &SignedEvent, body: &[u8]) -> Result<Dot, Refusal> {
        if let Some(held) = self.entries.get(&event.id()) {
            return Ok(held.dot);
        }
        admission::check_follows(event)?;
        let found: Result<_, Infallible> =
            Ancestors::find(event.event(), |id| Ok(self.ancestor(id)));
        let Ok(found) = found;
        let ancestors = found.map_err(|missing| {
            let first = missing.first().map(ToString::to_string).unwrap_or_default();
            Refusal::new(event.id(), Reason::Missing, format!("{first} is not held"))
        })?;
        let body = admission::check_body(event, body);
        let targets =
            body.iter().flat_map(|body| body.control()).filter_map(|operation| match operation {
                Control::Redact { event } => Some((*event, self.ancestor(*event)?)),
                _ => None,
            });
        let targets = targets.collect();
        let admission = admission::admit(
            event,
            body.as_ref(),
            &ancestors,
            &self.authority,
            &self.lanes,
            &targets,
        )?;
        let body = body?;
        if let Some(control) = admission.control(event) {
            self.authority.insert(control);
        }
        let dot = admission.placement.dot;
        self.lanes.insert(event.event().author, admission.placement);
        for id in event.event().follows() {
            self.heads.remove(&id);
        }
        self.heads.insert(event.id());
        self.by_dot.insert(dot, event.id());
        let entry = Entry { event: event.event().clone(), body, dot, clock: admission.clock };
        self.entries.insert(event.id(), entry);
        Ok(dot)
    }

    /// The event with this id.
    pub fn get(&self, id: EventId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// The id of the event with this local name.
    pub fn at(&self, dot: Dot) -> Option<EventId> {
        self.by_dot.get(&dot).copied()
    }

    /// All events, by id.
    pub fn iter(&self) -> impl Iterator<Item = (EventId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many events are held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: a history has at least its first event.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The events that no other follows, ascending.
    pub const fn heads(&self) -> &BTreeSet<EventId> {
        &self.heads
    }

    /// The control events.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The branches of all authors.
    pub fn lanes(&self) -> &LaneTable {
        self.lanes.table()
    }

    /// The cut as the largest position that it holds on each lane.
    ///
    /// # Errors
    /// [`UnknownEvent`] where a head is not held.
    pub fn frontier(&self, cut: &Cut) -> Result<Clock, UnknownEvent> {
        let all = |holds: &dyn Fn(&Entry) -> bool| {
            self.entries.values().filter(|entry| holds(entry)).map(|entry| entry.dot).collect()
        };
        Ok(match cut {
            Cut::Everything => self.lanes.tips().collect(),
            Cut::Heads(heads) => {
                let mut frontier = Clock::new();
                for &head in heads {
                    let entry = self.entries.get(&head).ok_or(UnknownEvent(head))?;
                    frontier.join(&entry.clock);
                }
                frontier
            }
            Cut::Clock(limit) => all(&|entry| {
                let version = self.lanes().version(&entry.clock);
                version.iter().all(|(author, seq)| limit.get(author).is_some_and(|max| seq <= max))
            }),
            Cut::Time(time) => all(&|entry| entry.event.time <= *time),
        })
    }

    /// The cut, judged with these certified cuts known (the first certified first).
    ///
    /// # Errors
    /// [`UnknownEvent`] where a head is not held.
    pub fn view(&self, cut: &Cut, certified: &[Cut]) -> Result<View<'_>, UnknownEvent> {
        let frontier = self.frontier(cut)?;
        let certified =
            certified.iter().map(|cut| self.frontier(cut)).collect::<Result<CertifiedCuts, _>>()?;
        let verdicts =
            Verdicts::new(&self.authority, self.lanes(), &|lane| frontier.seq(lane), &certified);
        Ok(View::new(self, frontier, certified, verdicts))
    }

    /// The openings that redacts erase, over all events held and with these certified cuts known.
    ///
    /// # Errors
    /// [`UnknownEvent`] where a head of a certified cut is not held.
    pub fn erased(
        &self,
        certified: &[Cut],
    ) -> Result<BTreeSet<(AuthorKey, OpeningId)>, UnknownEvent> {
        let view = self.view(&Cut::Everything, certified)?;
        let tip = |lane: Lane| view.frontier().seq(lane);
        let targets = view.verdicts().redacted(&self.authority, &tip);
        let values = targets.into_iter().flat_map(|(author, target, _)| {
            let operations = self.entries.get(&target).map_or(&[][..], |entry| entry.body.data());
            operations.iter().filter_map(move |operation| Some((author, operation.value()?)))
        });
        Ok(values.collect())
    }

    fn ancestor(&self, id: EventId) -> Option<Ancestor> {
        self.entries.get(&id).map(|entry| Ancestor {
            author: entry.event.author,
            dot: entry.dot,
            time: entry.event.time,
            clock: entry.clock.clone(),
        })
    }
}

impl Entry {
    /// The event as judging wants it. `acts` are those of its control event, if it is one.
    pub fn subject<'a>(&'a self, authority: &'a Authority) -> Subject<'a> {
        let is_control = !self.body.control().is_empty();
        let control =
            is_control.then(|| authority.events().iter().find(|c| c.dot == self.dot)).flatten();
        Subject {
            author: self.event.author,
            dot: self.dot,
            clock: &self.clock,
            acts: control.map_or(&[], |control| &control.acts),
        }
    }

    /// The position of the event in its author's chain.
    pub const fn seq(&self) -> Seq {
        self.event.seq
    }
}
