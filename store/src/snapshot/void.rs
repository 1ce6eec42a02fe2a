//! Which events are void.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quipu_merge::{Act, Dot, EventId, Lane, Seq, Subject, Verdicts};

use super::Snapshot;
use crate::error::{ReadError, StorageError};
use crate::extent::Extent;
use crate::lookup::{self, Stored};
use crate::schema::{Family, meta};

impl Snapshot<'_> {
    /// The verdicts on the events of the cut.
    pub(crate) fn verdicts(&self) -> Result<Arc<Verdicts>, StorageError> {
        let everything = &self.published.verdicts;
        if matches!(self.extent, Extent::Everything) {
            return Ok(everything.clone());
        }
        if let Some(verdicts) = self.verdicts.get() {
            return Ok(verdicts.clone());
        }
        let authority = &self.published.authority;
        let mut needed = BTreeMap::new();
        let forked = self
            .published
            .lanes
            .authors()
            .filter(|(_, lanes)| lanes.len() > 1)
            .flat_map(|(_, lanes)| lanes);
        for lane in authority.events().iter().map(|event| event.dot.lane).chain(forked.copied()) {
            if let std::collections::btree_map::Entry::Vacant(entry) = needed.entry(lane) {
                entry.insert(self.seq_on(lane)?);
            }
        }
        let within = |lane: Lane| needed.get(&lane).copied().unwrap_or(0);
        let certified = &self.published.finality.cuts;
        let verdicts = Verdicts::new(authority, &self.published.lanes, &within, certified);
        let verdicts = Arc::new(verdicts);
        Ok(self.verdicts.get_or_init(|| verdicts).clone())
    }

    /// Whether an event of the cut is void.
    pub(crate) fn is_void(&self, dot: Dot) -> Result<bool, StorageError> {
        // Nothing is revoked, forked or void at all: so it is in every part.
        if self.published.verdicts.all_clear() {
            return Ok(false);
        }
        // Where a shallow store starts, verdicts are final.
        let below = self.ledger.floor.as_ref().is_some_and(|floor| floor.covers(dot));
        if below || matches!(self.extent, Extent::Everything) {
            return self.is_void_now(dot);
        }
        let verdicts = self.verdicts()?;
        let lanes = &self.published.lanes;
        let Some(info) = lanes.get(dot.lane) else { return Ok(false) };
        if verdicts.is_clear(info.author) {
            return Ok(false);
        }
        let clock = lookup::clock_at(self.reader(), dot)?;
        let acts = self.acts_of(dot);
        Ok(verdicts
            .is_void(lanes, &Subject { author: info.author, dot, clock: &clock, acts: &acts }))
    }

    /// Whether an event is void over everything that is held.
    pub(crate) fn is_void_now(&self, dot: Dot) -> Result<bool, StorageError> {
        Ok(!self.published.verdicts.all_clear()
            && self.reader().has(Family::Meta, &meta::void(dot))?)
    }

    pub(crate) fn acts_of(&self, dot: Dot) -> Vec<Act> {
        let control = self.published.authority.events().iter().find(|event| event.dot == dot);
        control.map_or_else(Vec::new, |event| event.acts.clone())
    }

    /// Whether it is known which events are void.
    ///
    /// # Errors
    /// [`ReadError::VoidUnknown`] where events may be that are not here.
    pub(crate) fn check_void_known(&self, verdicts: &Verdicts) -> Result<(), ReadError> {
        let Some(floor) = &self.ledger.floor else { return Ok(()) };
        let lanes = &self.published.lanes;
        let is_known = |author| verdicts.none_void_in(lanes, author, &floor.shallow.floor);
        let unknown = floor.tops().keys().copied().find(|author| !is_known(*author));
        let height = floor.height();
        unknown.map_or(Ok(()), |author| Err(ReadError::VoidUnknown { height, author }))
    }

    /// Void events of the cut, ascending.
    ///
    /// # Errors
    /// [`ReadError::VoidUnknown`] where the store starts from a checkpoint and events below may be void; the
    /// disk, the database or its content.
    pub fn void(&self) -> Result<BTreeSet<EventId>, ReadError> {
        let mut void = BTreeSet::new();
        if self.published.verdicts.all_clear() {
            return Ok(void);
        }
        let verdicts = self.verdicts()?;
        self.check_void_known(&verdicts)?;
        let frontier = self.frontier()?;
        for (lane, info) in self.published.lanes.iter() {
            for seq in self.first_held(lane, info).0..=frontier.seq(lane) {
                let dot = Dot { lane, seq: Seq(seq) };
                if self.is_void(dot)? {
                    void.insert(EventId::of(Stored::read(self.reader(), dot)?.record()?.event));
                }
            }
        }
        Ok(void)
    }
}
