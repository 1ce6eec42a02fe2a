//! A cut of a history, judged: its order, its void events, its state.

use std::collections::{BTreeMap, BTreeSet};

use crate::certified::CertifiedCuts;
use crate::clock::{Clock, Dot, Lane};
use crate::dump::{Dump, Overview, Shown};
use crate::history::{Entry, History};
use crate::id::EventId;
use crate::state::{Effect, Place, State, ValueRef};
use crate::state_root::StateRootError;
use crate::verdicts::Verdicts;

/// A cut with the verdicts over it.
#[derive(Debug)]
pub struct View<'h> {
    history: &'h History,
    frontier: Clock,
    certified: CertifiedCuts,
    verdicts: Verdicts,
}

impl<'h> View<'h> {
    pub(crate) const fn new(
        history: &'h History,
        frontier: Clock,
        certified: CertifiedCuts,
        verdicts: Verdicts,
    ) -> Self {
        Self { history, frontier, certified, verdicts }
    }

    /// The largest position that the cut holds on each lane.
    pub const fn frontier(&self) -> &Clock {
        &self.frontier
    }

    /// The verdicts on the events of the cut.
    pub const fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// The events of the cut, in the total order.
    pub fn order(&self) -> BTreeMap<Place, &'h Entry> {
        let held = self.history.iter().filter(|(_, entry)| self.frontier.covers(entry.dot));
        held.map(|(id, entry)| (self.place(id, entry), entry)).collect()
    }

    /// Whether an event of the cut is void.
    pub fn is_void(&self, entry: &Entry) -> bool {
        self.verdicts.is_void(self.history.lanes(), &entry.subject(self.history.authority()))
    }

    /// The ids of the void events.
    pub fn void(&self) -> BTreeSet<EventId> {
        let order = self.order();
        let void = order.into_iter().filter(|(_, entry)| self.is_void(entry));
        void.map(|(place, _)| place.id).collect()
    }

    /// The events of the cut that no other of it follows, ascending.
    pub fn heads(&self) -> Vec<EventId> {
        let tips = self.frontier.iter().filter_map(|dot| self.history.at(dot));
        let tips: Vec<_> = tips.filter_map(|id| Some((id, self.history.get(id)?))).collect();
        let followed = |dot: Dot| tips.iter().any(|(_, e)| e.dot != dot && e.clock.covers(dot));
        let mut heads: Vec<_> =
            tips.iter().filter(|(_, e)| !followed(e.dot)).map(|(id, _)| *id).collect();
        heads.sort_unstable();
        heads
    }

    /// The state, folded from scratch.
    pub fn state(&self) -> State {
        let mut state = State::new();
        for (place, entry) in self.order() {
            if !self.is_void(entry) {
                state.apply(&Effect {
                    place,
                    author: entry.event.author,
                    dot: entry.dot,
                    clock: &entry.clock,
                    operations: entry.body.data(),
                });
            }
        }
        state
    }

    /// The cut as one object. `show` tells what is at hand of a value.
    ///
    /// # Errors
    /// The tree over the state cannot be built.
    pub fn dump(&self, show: &mut dyn FnMut(ValueRef) -> Shown) -> Result<Dump, StateRootError> {
        let within = |lane: Lane| self.frontier.seq(lane);
        let lanes = self.history.lanes();
        let overview = Overview {
            ledger: self.history.authority().ledger(),
            heads: self.heads(),
            events: lanes.count(&within),
            version: lanes.version(&self.frontier),
            forks: lanes.forks(&within),
            void: self.void(),
            roles: self.verdicts.roles(),
        };
        Dump::new(&overview, &self.state(), show)
    }

    fn place(&self, id: EventId, entry: &Entry) -> Place {
        let number = self.certified.number(entry.dot);
        Place { number, time: entry.event.time, id }
    }
}
