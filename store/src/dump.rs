//! The full state of a cut, folded from its events: the check on everything that is kept derived.

use quipu_merge::{
    Clock, Cut, Dump, Effect, Overview, Place, Shown, State, Subject, ValueRef, Verdicts,
    cut_number,
};

use crate::error::{ReadError, StorageError};
use crate::lookup;
use crate::snapshot::{Snapshot, Value};

impl Snapshot<'_> {
    /// The cut as one object, in the format's shape, with these certified cuts known (the first
    /// certified first). Everything is folded from the events.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where a certified cut names an event that is not held.
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
        let certified = certified
            .iter()
            .map(|cut| Ok(ledger.at(cut)?.frontier()?))
            .collect::<Result<Vec<Clock>, ReadError>>()?;
        let frontier = self.frontier()?;
        let verdicts = self.judge(&frontier, &certified);
        let erased = self.erased_with(&certified)?;
        let (state, void) = self.fold(&certified, &verdicts)?;
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

    /// Folds the events of the cut, and tells the void ones.
    pub(crate) fn fold(
        &self,
        certified: &[Clock],
        verdicts: &Verdicts,
    ) -> Result<(State, std::collections::BTreeSet<quipu_merge::EventId>), ReadError> {
        let lanes = &self.published().lanes;
        let mut state = State::new();
        let mut void = std::collections::BTreeSet::new();
        let numbers = (0..).take(certified.len()).chain([quipu_merge::UNCERTIFIED]);
        for number in numbers {
            self.for_each_in_order(|dot, stored| {
                if cut_number(certified, dot) != number {
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
                let body = stored.body()?;
                state.apply(&Effect {
                    place: Place { number, time: content.time, id },
                    author: content.author,
                    dot,
                    clock: &clock,
                    operations: body.data(),
                });
                Ok::<_, StorageError>(())
            })?;
        }
        Ok((state, void))
    }

    fn judge(&self, frontier: &Clock, certified: &[Clock]) -> Verdicts {
        let published = self.published();
        Verdicts::new(&published.authority, &published.lanes, &|lane| frontier.seq(lane), certified)
    }

    /// The openings that redacts erase, over everything that is held.
    fn erased_with(
        &self,
        certified: &[Clock],
    ) -> Result<
        std::collections::BTreeSet<(quipu_merge::AuthorKey, quipu_merge::OpeningId)>,
        ReadError,
    > {
        let mut erased = std::collections::BTreeSet::new();
        if !self.has_erased() {
            return Ok(erased);
        }
        let mut everything = Clock::new();
        self.published().heads.iter().for_each(|head| everything.join(&head.clock));
        let verdicts = self.judge(&everything, certified);
        let within = |lane| everything.seq(lane);
        for (author, _, dot) in verdicts.redacted(&self.published().authority, &within) {
            let body = lookup::Stored::read(self.reader(), dot)?.body()?;
            erased.extend(body.data().iter().filter_map(|o| Some((author, o.value()?))));
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
