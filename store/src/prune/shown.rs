//! Which values go: those that no state from the cut on shows.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use quipu_merge::{BlockId, Body, Clock, Codec, Dot, Link, Micros, Operation};

use super::Pruning;
use super::unit::Doomed;
use crate::blocks;
use crate::error::StorageError;
use crate::judge::key_of;
use crate::lookup::{self, Stored};
use crate::opening;
use crate::schema::{self, Family, meta};

/// The last writes of so many keys are remembered.
const KEPT_KEYS: usize = 4096;

/// The last write of a key on a lane, and what it has seen, where that has been asked for.
pub struct Last {
    dot: Dot,
    clock: OnceCell<Clock>,
}

/// An event whose values are decided on.
pub struct Target {
    /// Where it is.
    pub dot: Dot,
    /// When it says that it was written.
    pub time: Micros,
    /// Its body, or an empty one where that is gone.
    pub body: Body,
    /// Whether it is void over the cut.
    pub void: bool,
    /// Whether its values are pinned.
    pub pinned: bool,
    /// The slot of its last write of each register.
    last: BTreeMap<Vec<u8>, u16>,
}

impl Pruning<'_, '_> {
    /// Reads an event whose values are to be decided on.
    pub fn target(&self, dot: Dot) -> Result<Target, StorageError> {
        let stored = Stored::read(self.snapshot.reader(), dot)?;
        // Values that a shallow store starts with, and whose bodies it does not have, stay.
        let body = stored.kept()?.whole().unwrap_or_else(|| Body::Data(Vec::new()));
        let time = stored.record()?.time;
        let mut last = BTreeMap::new();
        for (slot, operation) in (0_u16..).zip(body.data()) {
            if matches!(operation, Operation::Put { .. } | Operation::Del { .. }) {
                last.insert(key_of(operation), slot);
            }
        }
        let void = self.snapshot.is_void(dot)?;
        let pinned = self.is_pinned(dot)?;
        Ok(Target { dot, time, body, void, pinned, last })
    }

    /// Whether the values of an event are pinned.
    pub fn is_pinned(&self, dot: Dot) -> Result<bool, StorageError> {
        self.ledger.latest().has(Family::Meta, &meta::pinned_event(dot))
    }

    /// Whether a value goes.
    pub fn decide(
        &mut self,
        target: &Target,
        slot: u16,
        stored: Option<&[u8]>,
    ) -> Result<Option<Doomed>, StorageError> {
        let Some(operation) = target.body.data().get(usize::from(slot)) else { return Ok(None) };
        let Target { dot, time, void, .. } = *target;
        let state_key = key_of(operation);
        let version = match operation {
            Operation::Append { .. } if !void => return Ok(None),
            Operation::Append { .. } => Some(schema::element_key(&state_key, time, dot.lane, slot)),
            Operation::Put { .. } if target.last.get(&state_key) != Some(&slot) => None,
            Operation::Put { .. } if !void && !self.is_followed(&state_key, dot)? => {
                return Ok(None);
            }
            Operation::Put { .. } => Some(schema::version_key(&state_key, dot.lane, time)),
            _ => return Ok(None),
        };
        let link = stored.and_then(opening::long_value);
        if target.pinned || self.holds_pinned(link)? {
            self.report.pinned += 1;
            return Ok(None);
        }
        let len = stored.map_or(0, |stored| stored.len() as u64);
        Ok(Some(Doomed { slot, len, link, version }))
    }

    /// Whether another write of a register follows this one that is within the cut and not void.
    pub fn is_followed(&mut self, state_key: &[u8], dot: Dot) -> Result<bool, StorageError> {
        if !self.last_valid.contains_key(state_key) {
            if self.last_valid.len() >= KEPT_KEYS {
                self.last_valid.clear();
            }
            let last = self.snapshot.last_valid(state_key)?.into_iter();
            let last = last.map(|dot| Last { dot, clock: OnceCell::new() }).collect();
            self.last_valid.insert(state_key.to_vec(), last);
        }
        for last in self.last_valid.get(state_key).into_iter().flatten() {
            if last.dot.lane == dot.lane {
                if last.dot.seq > dot.seq {
                    return Ok(true);
                }
                continue;
            }
            let clock = match last.clock.get() {
                Some(clock) => clock,
                None => {
                    let clock = lookup::writes_seen_at(self.snapshot.reader(), last.dot)?;
                    last.clock.get_or_init(|| clock)
                }
            };
            if clock.covers(dot) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a block of a long value is pinned. Without its value, a redact would not find it.
    pub fn holds_pinned(&self, link: Option<Link>) -> Result<bool, StorageError> {
        let Some(link) = link.filter(|_| !self.pinned_blocks.is_empty()) else { return Ok(false) };
        let mut holds = false;
        blocks::for_each(link, |id| {
            holds |= self.pinned_blocks.contains(&id);
            if holds { Ok(None) } else { self.manifest(id) }
        })?;
        Ok(holds)
    }

    /// A block that may list others.
    fn manifest(&self, id: BlockId) -> Result<Option<Vec<u8>>, StorageError> {
        if id.codec == Codec::Raw {
            return Ok(None);
        }
        blocks::read(self.snapshot.reader(), id)
    }
}
