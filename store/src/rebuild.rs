//! What a key comes to, from all its versions: where verdicts on earlier events have changed.

use quipu_merge::{Clock, Dot};

use crate::db::Db;
use crate::error::StorageError;
use crate::index::decode_count;
use crate::judge::Rejudged;
use crate::lookup::{self, Stored};
use crate::opening;
use crate::record::{OlderLanes, Standing, Sum, Version, Written};
use crate::schema::{self, Family, Kind, meta};
use crate::writer::Writer;

impl Writer {
    /// Rebuilds what stands of the key of a record in the family `state`. Everything before the
    /// event that is being taken in must be in the database.
    pub fn rebuild(
        &mut self,
        db: &Db,
        state_key: &[u8],
        rejudged: &Rejudged,
    ) -> Result<(), StorageError> {
        match schema::parse_state_key(state_key) {
            Some((Kind::Register | Kind::Member, ..)) => {
                self.rebuild_standing(db, state_key, rejudged)
            }
            Some((Kind::Counter, ..)) => self.rebuild_sum(db, state_key, rejudged),
            Some((Kind::List, ..)) => self.rebuild_list(db, state_key, rejudged),
            _ => Err(StorageError::damaged("a key of the current state")),
        }
    }

    fn rebuild_standing(
        &mut self,
        db: &Db,
        state_key: &[u8],
        rejudged: &Rejudged,
    ) -> Result<(), StorageError> {
        let record = self.state(db, state_key, Standing::decode)?.unwrap_or_default();
        let before = record.values();
        let mut versions = record.writes;
        let mut walk = db.latest().walk(Family::Versions, state_key)?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            versions.push(read_version(state_key.len(), key, value)?);
            walk.next()?;
        }
        let mut valid = Vec::new();
        for version in &mut versions {
            self.refresh_value(db, version, rejudged)?;
            if !is_void(db, version.dot, rejudged)? {
                valid.push((version.dot, lookup::writes_seen_at(db.latest(), version.dot)?));
            }
        }
        let stands = |dot: Dot| {
            let covers = |(other, clock): &(Dot, Clock)| *other != dot && clock.covers(dot);
            valid.iter().any(|(other, _)| *other == dot) && !valid.iter().any(covers)
        };
        let mut rebuilt = Standing { older: OlderLanes::Few(Vec::new()), writes: Vec::new() };
        for version in versions {
            if stands(version.dot) {
                let key = schema::version_key(state_key, version.dot.lane, version.time);
                self.delete(db, Family::Versions, &key)?;
                rebuilt.writes.push(version);
            } else {
                self.shelve(db, state_key, &mut rebuilt, &version)?;
            }
        }
        self.put_standing(db, state_key, &rebuilt, before)
    }

    fn rebuild_sum(
        &mut self,
        db: &Db,
        state_key: &[u8],
        rejudged: &Rejudged,
    ) -> Result<(), StorageError> {
        let mut sum = Sum::default();
        let mut walk = db.latest().walk(Family::Versions, state_key)?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            let version = read_version(state_key.len(), key, value)?;
            if let Written::Amount(amount) = version.written
                && !is_void(db, version.dot, rejudged)?
            {
                sum.sum += amount;
                sum.events += 1;
            }
            walk.next()?;
        }
        self.put_state(db, state_key, &sum.encode())
    }

    fn rebuild_list(
        &mut self,
        db: &Db,
        state_key: &[u8],
        rejudged: &Rejudged,
    ) -> Result<(), StorageError> {
        let mut count = 0_i64;
        let mut walk = db.latest().walk(Family::Versions, state_key)?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            let damaged = || StorageError::damaged("a value of a list");
            let (time, lane, _) =
                schema::parse_element(state_key.len(), key).ok_or_else(damaged)?;
            let mut version = Version::decode_tail(lane, time, value).ok_or_else(damaged)?;
            let key = key.to_vec();
            if self.refresh_value(db, &mut version, rejudged)? {
                self.put(db, Family::Versions, &key, &version.encode_tail())?;
            }
            count += i64::from(!is_void(db, version.dot, rejudged)?);
            walk.next()?;
        }
        let held = self.state(db, state_key, decode_count)?.unwrap_or(0);
        self.add_to_count(db, state_key, count - held.cast_signed())
    }

    /// Drops the copy of a value that has been erased, or restores it. Tells whether it did.
    fn refresh_value(
        &self,
        db: &Db,
        version: &mut Version,
        rejudged: &Rejudged,
    ) -> Result<bool, StorageError> {
        let Written::Value { slot, beside: copy } = &mut version.written else { return Ok(false) };
        match rejudged.erased.get(&(version.dot, *slot)) {
            Some(true) => *copy = None,
            // Without its body, who erases it again would not find it here.
            Some(false) if Stored::read(db.latest(), version.dot)?.kept()?.whole().is_none() => {
                return Ok(false);
            }
            Some(false) => {
                let opening = opening::find(db.latest(), version.dot, *slot)?;
                *copy = opening.and_then(|stored| opening::beside(&stored));
            }
            None => return Ok(false),
        }
        Ok(true)
    }
}

fn read_version(state_key_len: usize, key: &[u8], value: &[u8]) -> Result<Version, StorageError> {
    let damaged = || StorageError::damaged("a version of a key");
    let (lane, time) = schema::parse_version(state_key_len, key).ok_or_else(damaged)?;
    Version::decode_tail(lane, time, value).ok_or_else(damaged)
}

fn is_void(db: &Db, dot: Dot, rejudged: &Rejudged) -> Result<bool, StorageError> {
    match rejudged.void.get(&dot) {
        Some(void) => Ok(*void),
        None => db.latest().has(Family::Meta, &meta::void(dot)),
    }
}
