//! Dropping values that have been decided on.

use std::collections::BTreeSet;

use quipu_merge::{Dot, Lane, Link, Micros};

use crate::blocks::Garbage;
use crate::commit::Exclusive;
use crate::db::Db;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::opening;
use crate::pruned::Pruned;
use crate::record::{Version, Written};
use crate::schema::{Family, meta};
use crate::writer::Writer;

/// A value that goes.
pub struct Doomed {
    /// The index of its operation in the body.
    pub slot: u16,
    /// Length of its opening as it is stored.
    pub len: u64,
    /// The long value that it refers to.
    pub link: Option<Link>,
    /// The key of the version that its write has become; `None` where it has never been one.
    pub version: Option<Vec<u8>>,
}

/// Values of an event that go together: those of a page, or missing ones.
pub struct Unit {
    /// The event.
    pub dot: Dot,
    /// When it says that it was written.
    pub time: Micros,
    /// The key of the page.
    pub page: Option<Vec<u8>>,
    /// The values.
    pub values: Vec<Doomed>,
}

/// Drops values as far as they are still as they were when they were decided on, and gives those.
pub fn drop_unit(
    ledger: &Ledger,
    hold: &mut Exclusive<'_>,
    unit: Unit,
    pruned: &mut Pruned,
) -> Result<Vec<Doomed>, StorageError> {
    let damaged = || StorageError::damaged("a page of openings");
    let (latest, Unit { dot, time, page, values }) = (ledger.latest(), unit);
    let bytes = match &page {
        Some(key) => latest.get(Family::Openings, key)?,
        None => None,
    };
    let openings = bytes.as_deref().map_or(Some(Vec::new()), opening::read_page);
    let openings = openings.ok_or_else(damaged)?;
    let mut dropped = Dropped::default();
    for doomed in values {
        let mark = meta::missing(dot, doomed.slot);
        let missing = latest.has(Family::Meta, &mark)?;
        let here = match page {
            Some(_) => openings.iter().any(|(slot, _)| *slot == doomed.slot),
            // It may have come since, or have been erased.
            None => missing && opening::find(latest, dot, doomed.slot)?.is_none(),
        };
        if !here {
            continue;
        }
        match copied(ledger, &doomed, dot.lane, time)? {
            Copied::Stands => continue,
            Copied::No => {}
            Copied::Beside { key, record } => dropped.copies.push((key, record)),
        }
        dropped.marks.extend(missing.then_some(mark));
        dropped.values.push(doomed);
    }
    if dropped.values.is_empty() {
        return Ok(Vec::new());
    }
    let gone: BTreeSet<u16> = dropped.values.iter().map(|doomed| doomed.slot).collect();
    let kept = openings.into_iter().filter(|(slot, _)| !gone.contains(slot)).collect();
    let writer = hold.writer();
    let written =
        dropped.write(&ledger.db, writer, dot, page.map(|key| Page { key, kept }), pruned);
    written.inspect_err(|error| writer.poison(error))?;
    Ok(dropped.values)
}

/// Values of an event that are dropped, and what goes with them.
#[derive(Default)]
struct Dropped {
    values: Vec<Doomed>,
    /// Versions without their copies of values.
    copies: Vec<(Vec<u8>, Vec<u8>)>,
    /// Marks of missing values.
    marks: Vec<Vec<u8>>,
}

impl Dropped {
    /// Adds it to the group, with what is kept of the page. An error leaves the group half filled.
    fn write(
        &self,
        db: &Db,
        writer: &mut Writer,
        dot: Dot,
        page: Option<Page<'_>>,
        pruned: &mut Pruned,
    ) -> Result<(), StorageError> {
        for Doomed { slot, link, .. } in &self.values {
            let number = match link {
                Some(link) => writer.unlink_value(db, (dot, *slot), Garbage::now(link.block))?,
                None => None,
            };
            pruned.insert(*slot, number);
        }
        for (key, version) in &self.copies {
            writer.put(db, Family::Versions, key, version)?;
        }
        for mark in &self.marks {
            writer.delete(db, Family::Meta, mark)?;
        }
        if let Some(Page { key, kept }) = page {
            writer.delete(db, Family::Openings, &key)?;
            writer.put_openings(db, dot, kept)?;
        }
        writer.put_pruned(db, dot, pruned)
    }
}

/// A page of openings that is written anew.
struct Page<'p> {
    key: Vec<u8>,
    /// What is kept of it.
    kept: Vec<(u16, &'p [u8])>,
}

/// What a version of a key holds of a value that goes.
enum Copied {
    /// The write is no version: it stands, by now.
    Stands,
    /// Nothing.
    No,
    /// A copy. Without it, the record at this key is this.
    Beside { key: Vec<u8>, record: Vec<u8> },
}

/// Looks for the copy of a value beside its key.
fn copied(
    ledger: &Ledger,
    doomed: &Doomed,
    lane: Lane,
    time: Micros,
) -> Result<Copied, StorageError> {
    let damaged = || StorageError::damaged("a version of a key");
    let Some(key) = &doomed.version else { return Ok(Copied::No) };
    let Some(record) = ledger.latest().get(Family::Versions, key)? else {
        return Ok(Copied::Stands);
    };
    let mut version = Version::decode_tail(lane, time, &record).ok_or_else(damaged)?;
    let Written::Value { slot, beside } = &mut version.written else { return Err(damaged()) };
    if *slot != doomed.slot {
        return Err(damaged());
    }
    Ok(match beside.take() {
        Some(_) => Copied::Beside { key: key.clone(), record: version.encode_tail() },
        None => Copied::No,
    })
}
