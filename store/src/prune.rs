//! Pruning: dropping the values below a cut that no state from that cut on shows.
//!
//! A value written within the cut goes where a later write of its key, also within the cut and not
//! void by now, follows it; where another of the same event takes its place; or where its event is void over the cut. Without
//! new certificates events only ever become void, so what stays is shown by whatever state lies between the cut and
//! everything that is held. What becomes void later can make a write stand again whose value is gone: it is shown as pruned.
//!
//! Openings are walked over page by page, and decided on by a snapshot; a few pages at a time they are dropped while nobody
//! writes, with the record that says so. Blocks are left to [`Ledger::gc`].

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use quipu_merge::{BlockId, Body, Clock, Cut, Dot, Lane, Link, Micros, Operation, Seq};

use crate::blocks::{self, Cascade, Garbage};
use crate::commit::Exclusive;
use crate::error::{ReadError, StorageError};
use crate::judge::key_of;
use crate::ledger::Ledger;
use crate::lookup::{self, Stored};
use crate::merge::Progress;
use crate::opening;
use crate::pruned::Pruned;
use crate::record::{Version, Written};
use crate::schema::{self, Family, meta};
use crate::snapshot::Snapshot;

/// So many pages of openings are dealt with before others may write again.
const AT_ONCE: usize = 64;
/// So many missing values are.
const MISSING_AT_ONCE: usize = 512;
/// The last writes of so many keys are remembered.
const KEPT_KEYS: usize = 4096;

/// How to prune.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneOptions {
    /// Only tell what would go.
    pub dry_run: bool,
}

/// What pruning has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Values that were dropped, or would be.
    pub values: u64,
    /// Length of their openings as they were stored, in bytes: short values, and links to long
    /// ones.
    pub opening_bytes: u64,
    /// Blocks of long values that are garbage by that. [`Ledger::gc`] deletes them when their
    /// grace period is over.
    pub blocks: u64,
    /// Their length, in bytes.
    pub block_bytes: u64,
    /// Values that only pins keep.
    pub pinned: u64,
}

impl Ledger {
    /// Drops the values written within a cut that no state from that cut on shows, with what only
    /// they refer to. From then on they are [`crate::Value::Pruned`], until they are refilled: see
    /// [`crate::MergeOptions`]. Everything else stays as it is: events, order, states, roots.
    /// Others may read and write meanwhile. Memory grows with the blocks that become garbage, not with the history.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where the cut names an event that is not held, and errors of the
    /// disk, the database or its content. Some may be pruned then and the rest not, as after a
    /// crash; the store is sound.
    pub fn prune(
        &self,
        cut: &Cut,
        options: PruneOptions,
        progress: Progress<'_>,
    ) -> Result<PruneReport, ReadError> {
        let snapshot = self.at(cut)?.at_frontier()?;
        let mut pruning = Pruning {
            ledger: self,
            snapshot: &snapshot,
            frontier: snapshot.frontier()?,
            options,
            pinned_blocks: self.pinned_blocks()?,
            last_valid: HashMap::new(),
            cascade: Cascade::new(snapshot.reader()),
            report: PruneReport::default(),
        };
        pruning.openings(snapshot.len()?, progress)?;
        pruning.missing()?;
        if !options.dry_run {
            self.sync_if_durable()?;
        }
        let Pruning { cascade, report, .. } = pruning;
        Ok(PruneReport { blocks: cascade.blocks, block_bytes: cascade.bytes, ..report })
    }
}

/// The work under way.
struct Pruning<'s, 'l> {
    ledger: &'l Ledger,
    snapshot: &'s Snapshot<'l>,
    /// How far the cut goes on each lane.
    frontier: Clock,
    options: PruneOptions,
    pinned_blocks: BTreeSet<BlockId>,
    /// The last writes within the cut of keys that were asked for lately.
    last_valid: HashMap<Vec<u8>, Vec<Last>>,
    cascade: Cascade<'s>,
    report: PruneReport,
}

/// The last write of a key on a lane, and what it has seen, where that has been asked for.
struct Last {
    dot: Dot,
    clock: OnceCell<Clock>,
}

/// An event whose values are decided on.
struct Target {
    dot: Dot,
    time: Micros,
    body: Body,
    /// Whether it is void over the cut.
    void: bool,
    pinned: bool,
    /// The slot of its last write of each register.
    last: BTreeMap<Vec<u8>, u16>,
}

/// A value that goes.
struct Doomed {
    slot: u16,
    /// Length of its opening as it is stored.
    len: u64,
    link: Option<Link>,
    /// The key of the version that its write has become; `None` where it has never been one.
    version: Option<Vec<u8>>,
}

/// Values of an event that go together: those of a page, or missing ones.
struct Unit {
    dot: Dot,
    time: Micros,
    /// The key of the page.
    page: Option<Vec<u8>>,
    values: Vec<Doomed>,
}

impl Pruning<'_, '_> {
    /// Walks over the openings that are at hand.
    fn openings(&mut self, total: u64, progress: Progress<'_>) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("a page of openings");
        let mut walk = self.snapshot.reader().walk(Family::Openings, &[])?;
        walk.first()?;
        let mut target: Option<Target> = None;
        let (mut units, mut pages, mut events) = (Vec::new(), 0, 0);
        while let Some((key, page)) = walk.item() {
            let dot = key.get(..12).and_then(schema::parse_dot).ok_or_else(damaged)?;
            if !self.frontier.covers(dot) {
                // The rest of the lane lies beyond the cut.
                let Some(next) = dot.lane.0.checked_add(1) else { break };
                walk.seek(&schema::dot_key(Dot { lane: Lane(next), seq: Seq(0) }))?;
                continue;
            }
            let of_event = match target.take().filter(|target| target.dot == dot) {
                Some(target) => target,
                None => {
                    events += 1;
                    self.target(dot)?
                }
            };
            let mut values = Vec::new();
            for (slot, stored) in opening::read_page(page).ok_or_else(damaged)? {
                values.extend(self.decide(&of_event, slot, Some(stored))?);
            }
            if !values.is_empty() {
                units.push(Unit { dot, time: of_event.time, page: Some(key.to_vec()), values });
            }
            target = Some(of_event);
            pages += 1;
            if pages % AT_ONCE == 0 {
                self.settle(std::mem::take(&mut units))?;
                progress(events, total);
            }
            walk.next()?;
        }
        self.settle(units)?;
        progress(total, total);
        Ok(())
    }

    /// Walks over the values that are not here: those that no state shows need not come.
    fn missing(&mut self) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("the mark of a missing value");
        let reader = self.snapshot.reader();
        let mut walk = reader.walk(Family::Meta, meta::MISSING)?;
        walk.first()?;
        let mut target: Option<Target> = None;
        let mut units = Vec::new();
        while let Some((key, _)) = walk.item() {
            let (dot, slot) = meta::parse_missing(key).ok_or_else(damaged)?;
            walk.next()?;
            // One that has an opening has been decided on.
            if !self.frontier.covers(dot) || opening::find(reader, dot, slot)?.is_some() {
                continue;
            }
            let of_event = match target.take().filter(|target| target.dot == dot) {
                Some(target) => target,
                None => self.target(dot)?,
            };
            if let Some(doomed) = self.decide(&of_event, slot, None)? {
                let (time, values) = (of_event.time, vec![doomed]);
                units.push(Unit { dot, time, page: None, values });
            }
            target = Some(of_event);
            if units.len() >= MISSING_AT_ONCE {
                self.settle(std::mem::take(&mut units))?;
            }
        }
        self.settle(units)
    }

    /// Reads an event whose values are to be decided on.
    fn target(&self, dot: Dot) -> Result<Target, StorageError> {
        let stored = Stored::read(self.snapshot.reader(), dot)?;
        let (time, body) = (stored.record()?.time, stored.body()?);
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

    fn is_pinned(&self, dot: Dot) -> Result<bool, StorageError> {
        self.ledger.latest().has(Family::Meta, &meta::pinned_event(dot))
    }

    /// Whether a value goes.
    fn decide(
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
    fn is_followed(&mut self, state_key: &[u8], dot: Dot) -> Result<bool, StorageError> {
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
                    let clock = lookup::clock_at(self.snapshot.reader(), last.dot)?;
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
    fn holds_pinned(&self, link: Option<Link>) -> Result<bool, StorageError> {
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
        if id.codec == quipu_merge::Codec::Raw {
            return Ok(None);
        }
        blocks::read(self.snapshot.reader(), id)
    }

    /// Drops values, or only counts them.
    fn settle(&mut self, units: Vec<Unit>) -> Result<(), StorageError> {
        if units.is_empty() {
            return Ok(());
        }
        if self.options.dry_run {
            return units
                .iter()
                .flat_map(|unit| &unit.values)
                .try_for_each(|gone| self.count(gone));
        }
        let ledger = self.ledger;
        ledger.in_bulk(|hold| {
            let mut records = BTreeMap::new();
            for unit in units {
                // It may have been pinned since.
                if self.is_pinned(unit.dot)? {
                    continue;
                }
                let pruned = match records.entry(unit.dot) {
                    std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::btree_map::Entry::Vacant(new) => {
                        new.insert(Pruned::of(ledger.latest(), unit.dot)?)
                    }
                };
                for gone in drop_unit(ledger, hold, unit, pruned)? {
                    self.count(&gone)?;
                }
            }
            Ok::<_, StorageError>(())
        })?;
        fail::fail_point!("between-pruned");
        Ok(())
    }

    fn count(&mut self, gone: &Doomed) -> Result<(), StorageError> {
        self.report.values += 1;
        self.report.opening_bytes += gone.len;
        match gone.link {
            Some(link) => self.cascade.release(link.block),
            None => Ok(()),
        }
    }
}

/// Drops values as far as they are still as they were when they were decided on, and gives those.
/// Everything is read before the first change, so that an error leaves none that is half done.
fn drop_unit(
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
        let copy = copy_of(ledger, &doomed, dot.lane, time)?;
        let (true, Some(copy)) = (here, copy) else { continue };
        copies.extend(copy);
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

/// The key of a version and its record without the copy of the value, where it has one. `None`
/// where the write is no version: it stands, by now.
fn copy_of(
    ledger: &Ledger,
    doomed: &Doomed,
    lane: Lane,
    time: Micros,
) -> Result<Option<Option<(Vec<u8>, Vec<u8>)>>, StorageError> {
    let damaged = || StorageError::damaged("a version of a key");
    let Some(key) = &doomed.version else { return Ok(Some(None)) };
    let Some(record) = ledger.latest().get(Family::Versions, key)? else { return Ok(None) };
    let mut version = Version::decode_tail(lane, time, &record).ok_or_else(damaged)?;
    let Written::Value { slot, beside } = &mut version.written else { return Err(damaged()) };
    if *slot != doomed.slot {
        return Err(damaged());
    }
    let copy = beside.take();
    Ok(Some(copy.map(|_| (key.clone(), version.encode_tail()))))
}
