//! The full state of a cut, folded from its events: the check on everything that is kept derived.

use std::collections::BTreeSet;

use quipu_merge::{
    AuthorKey, CertifiedCuts, Clock, Cut, Dump, Effect, EventId, OpeningId, Overview, Place, Shown,
    State, Subject, ValueRef, Verdicts,
};

use crate::bodies::pruned_to;
use crate::error::{ReadError, StorageError};
use crate::floor_state::FloorState;
use crate::lookup;
use crate::snapshot::{Snapshot, Value};

impl Snapshot<'_> {
    /// The cut as one object, in the format's shape, with these certified cuts known (the first
    /// certified first) or, without any, those of the checkpoints that count here. Everything is
    /// folded from the events.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where a certified cut names an event that is not held,
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone, and in a store that starts from a
    /// checkpoint [`ReadError::VoidUnknown`] where an event below may be void.
    pub fn dump(&self, certified: &[Cut]) -> Result<Dump, ReadError> {
        self.dump_noting(certified, &mut |_| {})
    }

    /// Like [`Self::dump`], and calls `note` with each value: the dump alone does not tell why one
    /// is null.
    ///
    /// # Errors
    /// Those of [`Self::dump`].
    pub fn dump_noting(
        &self,
        certified: &[Cut],
        note: &mut dyn FnMut(&Value),
    ) -> Result<Dump, ReadError> {
        let ledger = self.ledger_handle();
        let certified = match certified {
            // Which of other cuts first holds what, a shallow store cannot tell.
            [_, ..] if let Some(floor) = &ledger.floor => return Err(floor.pruned()),
            [] => self.published().finality.cuts.clone(),
            certified => certified
                .iter()
                .map(|cut| Ok(ledger.at(cut)?.frontier()?))
                .collect::<Result<CertifiedCuts, ReadError>>()?,
        };
        let frontier = self.frontier()?;
        let verdicts = self.judge(&frontier, &certified);
        let erased = self.erased_with(&certified)?;
        let (state, void) = self.fold(&frontier, &verdicts)?;
        self.check_void_known(&verdicts)?;
        let lanes = &self.published().lanes;
        let within = |lane| frontier.seq(lane);
        let overview = Overview {
            ledger: self.ledger(),
            heads: self.heads()?,
            events: lanes.count(&within),
            version: lanes.version(&frontier),
            forks: lanes.forks(&within),
            void,
            roles: verdicts.roles(),
        };
        let mut failed = None;
        let mut show = |value: ValueRef| {
            let erased = erased.contains(&(value.author, value.opening));
            let held = if erased { Ok(Value::Erased) } else { self.held(value) };
            let held = held.unwrap_or_else(|error| {
                failed.get_or_insert(error);
                Value::Missing
            });
            note(&held);
            Shown::from(held)
        };
        let dump = Dump::new(&overview, &state, &mut show);
        if let Some(error) = failed {
            return Err(error.into());
        }
        Ok(dump.map_err(|error| StorageError::damaged(error.to_string()))?)
    }

    /// Folds the events within a frontier, and tells the void ones: in a shallow store, those beyond where
    /// it starts.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] or [`ReadError::BelowStart`] where that needs bodies that are gone.
    pub(crate) fn fold(
        &self,
        frontier: &Clock,
        verdicts: &Verdicts,
    ) -> Result<(State, BTreeSet<EventId>), ReadError> {
        if let Some(height) = pruned_to(self.reader())?
            && !self.is_within(height, frontier)?
        {
            return Err(self.without_bodies(height));
        }
        let lanes = &self.published().lanes;
        let (mut state, mut void) = (State::new(), BTreeSet::new());
        let floor = self.ledger_handle().floor.as_ref();
        if let Some(floor) = floor {
            let start = FloorState::read(self.reader(), floor)?;
            start.fold_into(self.reader(), verdicts.certified(), &mut state)?;
        }
        // Any order that follows causality will do: places say which comes first.
        self.for_each_within(frontier, |dot, stored| {
            if floor.is_some_and(|floor| floor.covers(dot)) {
                return Ok(());
            }
            let event = stored.event()?;
            let (id, content) = (event.id(), event.event());
            let clock = lookup::clock_of(self.reader(), dot, stored.record()?.clock)?;
            let acts = self.acts_of(dot);
            let subject = Subject { author: content.author, dot, clock: &clock, acts: &acts };
            if verdicts.is_void(lanes, &subject) {
                void.insert(id);
                return Ok(());
            }
            // What is gone of a body that is gone, other writes have seen.
            let kept = stored.kept()?;
            let number = verdicts.certified().number(dot);
            state.apply(&Effect {
                place: Place { number, time: content.time, id },
                author: content.author,
                dot,
                clock: &clock,
                operations: kept.operations(),
            });
            Ok::<_, StorageError>(())
        })?;
        Ok((state, void))
    }

    /// The verdicts over what lies within a frontier, with these certified cuts known.
    pub(crate) fn judge(&self, frontier: &Clock, certified: &CertifiedCuts) -> Verdicts {
        let published = self.published();
        Verdicts::new(&published.authority, &published.lanes, &|lane| frontier.seq(lane), certified)
    }

    /// The openings that redacts erase, over everything that is held.
    fn erased_with(
        &self,
        certified: &CertifiedCuts,
    ) -> Result<BTreeSet<(AuthorKey, OpeningId)>, ReadError> {
        let mut erased = BTreeSet::new();
        if !self.has_erased() {
            return Ok(erased);
        }
        let mut everything = Clock::new();
        self.published().heads.iter().for_each(|head| everything.join(&head.clock));
        let verdicts = self.judge(&everything, certified);
        let within = |lane| everything.seq(lane);
        for (author, _, dot) in verdicts.redacted(&self.published().authority, &within) {
            let kept = lookup::Stored::read(self.reader(), dot)?.kept()?;
            erased.extend(kept.values().into_iter().map(|(_, opening)| (author, opening)));
        }
        Ok(erased)
    }

    /// What is at hand of a value, erased or not.
    fn held(&self, value: ValueRef) -> Result<Value, StorageError> {
        let slot = u16::try_from(value.slot).map_err(|_| StorageError::damaged("a slot"))?;
        self.at_hand(value.dot, slot)
    }
}

impl From<Value> for Shown {
    fn from(value: Value) -> Self {
        match value {
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Long(link) => Self::Link(link.block),
            Value::Erased | Value::Pruned | Value::Missing | Value::Unreadable => Self::Nothing,
        }
    }
}
