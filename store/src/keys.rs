//! Reading what keys hold: registers, counters, sets and lists, now and at any cut.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, Dot, EventId, Lane, Micros};

use crate::error::{ReadError, StorageError};
use crate::extent::Extent;
use crate::index::decode_count;
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::record::{Standing, Sum, Version, Written};
use crate::schema::{self, Family, Kind};
use crate::snapshot::{Snapshot, Value};

/// The kinds of things that a key can hold, which do not touch each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// A value, or several that conflict.
    Register,
    /// A sum.
    Counter,
    /// Members.
    Set,
    /// Values in order.
    List,
}

impl KeyKind {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::List => "list",
        }
    }
}

/// A write that stands in a register, or stood there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterWrite {
    /// The event that wrote it.
    pub event: EventId,
    /// Who wrote it.
    pub author: AuthorKey,
    /// When the event says that it was written.
    pub time: Micros,
    /// The value; `None` for a delete.
    pub value: Option<Value>,
    /// Whether the event is void over the snapshot.
    pub void: bool,
}

/// A value of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The event that added it.
    pub event: EventId,
    /// The index of the operation in the event's body.
    pub slot: u16,
    /// Who added it.
    pub author: AuthorKey,
    /// When the event says that it was written.
    pub time: Micros,
    /// The value.
    pub value: Value,
}

impl Ledger {
    /// The value of a register now: the first of its values, see [`Snapshot::register`]. One
    /// look-up where the value is short and does not conflict.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn get(&self, key: &str) -> Result<Option<Value>, ReadError> {
        let state_key = schema::state_key(Kind::Register, key, None);
        let Some(bytes) = self.latest().get(Family::State, &state_key)? else { return Ok(None) };
        let damaged = || StorageError::damaged("a record of the current state");
        let record = Standing::decode(&bytes).ok_or_else(damaged)?;
        match record.writes.as_slice() {
            [Version { written: Written::Value { beside: Some(value), .. }, .. }] => {
                Ok(Some(Value::Bytes(value.to_vec())))
            }
            [] | [Version { written: Written::Gone, .. }] => Ok(None),
            _ => self.snapshot()?.get(key),
        }
    }
}

impl Snapshot<'_> {
    /// The value of a register: the first of its values, see [`Self::register`].
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn get(&self, key: &str) -> Result<Option<Value>, ReadError> {
        self.check_kept()?;
        let mut standing = self.standing(&schema::state_key(Kind::Register, key, None))?;
        standing.retain(|version| version.written != Written::Gone);
        if standing.len() > 1 {
            return Ok(self.register(key)?.into_iter().next().and_then(|write| write.value));
        }
        Ok(standing.first().map(|version| self.value_of(version)).transpose()?)
    }

    /// The values of a register, latest in the total order first: the value, then its conflicts.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn register(&self, key: &str) -> Result<Vec<RegisterWrite>, ReadError> {
        self.check_kept()?;
        let mut standing = self.standing(&schema::state_key(Kind::Register, key, None))?;
        standing.retain(|version| version.written != Written::Gone);
        self.writes(standing)
    }

    /// All writes of a register, latest in the total order first, void ones included.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where bodies have been pruned here; the disk, the database or its content.
    pub fn register_history(&self, key: &str) -> Result<Vec<RegisterWrite>, ReadError> {
        self.check_history()?;
        let state_key = schema::state_key(Kind::Register, key, None);
        let record = self.record(&state_key, Standing::decode)?.unwrap_or_default();
        let mut versions = record.writes;
        self.older(&state_key, |version| {
            versions.push(version);
            Ok(())
        })?;
        let mut bounds = BTreeMap::new();
        let mut held = Vec::new();
        for version in versions {
            if self.holds(version.dot, &mut bounds)? {
                held.push(version);
            }
        }
        self.writes(held)
    }

    /// A counter's sum, in decimal; `None` where it was never incremented.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn counter(&self, key: &str) -> Result<Option<i128>, ReadError> {
        self.check_kept()?;
        let state_key = schema::state_key(Kind::Counter, key, None);
        if matches!(self.extent(), Extent::Everything) {
            let sum = self.record(&state_key, Sum::decode)?.filter(|sum| sum.events > 0);
            return Ok(sum.map(|sum| sum.sum));
        }
        let (mut sum, mut bounds) = (None, BTreeMap::new());
        self.older(&state_key, |version| {
            if let Written::Amount(amount) = version.written
                && self.holds(version.dot, &mut bounds)?
                && !self.is_void(version.dot)?
            {
                *sum.get_or_insert(0) += amount;
            }
            Ok(())
        })?;
        Ok(sum)
    }

    /// Calls `visit` with each member of a set, ascending, until it returns `false`. Tells whether
    /// the set exists.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn set(&self, key: &str, visit: impl FnMut(&[u8]) -> bool) -> Result<bool, ReadError> {
        self.set_after(key, None, visit)
    }

    /// Does what [`Self::set`] does with the members after one, which need not be there.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn set_after(
        &self,
        key: &str,
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, ReadError> {
        self.check_kept()?;
        let prefix = schema::state_key(Kind::Member, key, None);
        let mut walk = self.reader().walk(Family::State, &prefix)?;
        match after {
            Some(member) => {
                let last = schema::state_key(Kind::Member, key, Some(member));
                walk.seek(&[last.as_slice(), &[0]].concat())?;
            }
            None => walk.first()?,
        }
        let mut exists = false;
        while let Some((state_key, _)) = walk.item() {
            let state_key = state_key.to_vec();
            let damaged = || StorageError::damaged("the key of a member");
            let (_, _, member) = schema::parse_state_key(&state_key).ok_or_else(damaged)?;
            let standing = self.standing(&state_key)?;
            if standing.iter().any(|version| version.written == Written::Member) {
                exists = true;
                if !visit(&member.unwrap_or_default()) {
                    break;
                }
            }
            walk.next()?;
        }
        Ok(exists)
    }

    /// Whether a set has a member.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn has_member(&self, key: &str, member: &[u8]) -> Result<bool, ReadError> {
        self.check_kept()?;
        let standing = self.standing(&schema::state_key(Kind::Member, key, Some(member)))?;
        Ok(standing.iter().any(|version| version.written == Written::Member))
    }

    /// The events of the adds of a member that stand, ascending.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] where the cut needs bodies that are gone; the disk, the database or its content.
    pub fn member_adds(&self, key: &str, member: &[u8]) -> Result<Vec<EventId>, ReadError> {
        self.check_kept()?;
        let standing = self.standing(&schema::state_key(Kind::Member, key, Some(member)))?;
        let adds = standing.into_iter().filter(|version| version.written == Written::Member);
        let mut ids = adds.map(|version| self.id_at(version.dot)).collect::<Result<Vec<_>, _>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    pub(crate) fn record<T>(
        &self,
        state_key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StorageError> {
        let Some(bytes) = self.reader().get(Family::State, state_key)? else { return Ok(None) };
        decode(&bytes)
            .map(Some)
            .ok_or_else(|| StorageError::damaged("a record of the current state"))
    }

    pub(crate) fn older(
        &self,
        state_key: &[u8],
        mut visit: impl FnMut(Version) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut walk = self.reader().walk(Family::Versions, state_key)?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            let damaged = || StorageError::damaged("a version of a key");
            let (lane, time) = schema::parse_version(state_key.len(), key).ok_or_else(damaged)?;
            visit(Version::decode_tail(lane, time, value).ok_or_else(damaged)?)?;
            walk.next()?;
        }
        Ok(())
    }

    /// Whether the cut holds an event; `bounds` remembers how far it goes on each lane.
    pub(crate) fn holds(
        &self,
        dot: Dot,
        bounds: &mut BTreeMap<Lane, u64>,
    ) -> Result<bool, StorageError> {
        let bound = match bounds.get(&dot.lane) {
            Some(bound) => *bound,
            None => {
                let bound = self.seq_on(dot.lane)?;
                bounds.insert(dot.lane, bound);
                bound
            }
        };
        Ok(dot.seq.0 <= bound)
    }

    pub(crate) fn id_at(&self, dot: Dot) -> Result<EventId, StorageError> {
        Ok(EventId::of(Stored::read(self.reader(), dot)?.record()?.event))
    }

    pub(crate) fn author_at(&self, dot: Dot) -> Result<AuthorKey, StorageError> {
        let info = self.published().lanes.get(dot.lane);
        info.map(|info| info.author).ok_or_else(|| StorageError::damaged("an unknown branch"))
    }

    /// What a version holds; short values stand beside it.
    pub(crate) fn value_of(&self, version: &Version) -> Result<Value, StorageError> {
        match &version.written {
            Written::Value { beside: Some(bytes), .. } => Ok(Value::Bytes(bytes.to_vec())),
            Written::Value { slot, beside: None } => self.value_at(version.dot, *slot),
            _ => Ok(Value::Missing),
        }
    }

    fn writes(&self, versions: Vec<Version>) -> Result<Vec<RegisterWrite>, ReadError> {
        let mut writes = Vec::with_capacity(versions.len());
        for version in versions {
            let number = self.number_of(version.dot);
            let write = RegisterWrite {
                event: self.id_at(version.dot)?,
                author: self.author_at(version.dot)?,
                time: version.time,
                value: match version.written {
                    Written::Gone => None,
                    _ => Some(self.value_of(&version)?),
                },
                void: self.is_void(version.dot)?,
            };
            writes.push((number, write));
        }
        writes.sort_by_key(|(number, write)| Reverse((*number, write.time, write.event)));
        Ok(writes.into_iter().map(|(_, write)| write).collect())
    }
}

impl Snapshot<'_> {
    /// How many values a list has, or members a set, without walking over them. Only of a
    /// snapshot of everything.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn count(&self, kind: KeyKind, key: &str) -> Result<u64, ReadError> {
        let kind = match kind {
            KeyKind::Set => Kind::Set,
            KeyKind::List => Kind::List,
            KeyKind::Register => return Ok(self.register(key)?.len() as u64),
            KeyKind::Counter => return Ok(u64::from(self.counter(key)?.is_some())),
        };
        Ok(self.record(&schema::state_key(kind, key, None), decode_count)?.unwrap_or(0))
    }
}
