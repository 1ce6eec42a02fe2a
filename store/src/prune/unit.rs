//! Dropping values that have been decided on.

use quipu_merge::{Dot, Lane, Link, Micros};

use crate::blocks::Garbage;
use crate::commit::Exclusive;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::opening;
use crate::pruned::Pruned;
use crate::record::{Version, Written};
use crate::schema::{Family, meta};

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
/// Everything is read before the first change, so that an error leaves none that is half done.
pub fn drop_unit(
    ledger: &Ledger,
    hold: &mut Exclusive<'_>,
    unit: Unit,
    pruned: &mut Pruned,
) -> Result<Vec<Doomed>, StorageError> {
    let damaged = || StorageError::damaged("a page of openings");
    let (db, latest, Unit { dot, time, page, values }) = (&ledger.db, ledger.latest(), unit);
    let bytes = match &page {
        Some(key) => latest.get(Family::Openings, key)?,
        None => None,
    };
    let openings = bytes.as_deref().map_or(Some(Vec::new()), opening::read_page);
    let openings = openings.ok_or_else(damaged)?;
    let (mut gone, mut copies, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    for doomed in values {
        let mark = meta::missing(dot, doomed.slot);
        let missing = latest.has(Family::Meta, &mark)?;
        let here = match page {
            Some(_) => openings.iter().any(|(slot, _)| *slot == doomed.slot),
            // It may have come since, or have been erased.
            None => missing && opening::find(latest, dot, doomed.slot)?.is_none(),
        };
        match copied(ledger, &doomed, dot.lane, time)? {
            _ if !here => continue,
            Copied::Stands => continue,
            Copied::No => {}
            Copied::Beside { key, record } => copies.push((key, record)),
        }
        marks.extend(missing.then_some(mark));
        gone.push(doomed);
    }
    if gone.is_empty() {
        return Ok(gone);
    }
    let writer = hold.writer();
    for Doomed { slot, link, .. } in &gone {
        let number = match link {
            Some(link) => writer.unlink_value(db, (dot, *slot), Garbage::now(link.block))?,
            None => None,
        };
        pruned.insert(*slot, number);
    }
    for (key, version) in copies {
        writer.put(db, Family::Versions, &key, &version)?;
    }
    for mark in marks {
        writer.delete(db, Family::Meta, &mark)?;
    }
    if let Some(key) = page {
        writer.delete(db, Family::Openings, &key)?;
        let kept = openings.into_iter().filter(|(slot, _)| !pruned.slots().contains(slot));
        writer.put_openings(db, dot, kept)?;
    }
    writer.put_pruned(db, dot, pruned)?;
    Ok(gone)
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
