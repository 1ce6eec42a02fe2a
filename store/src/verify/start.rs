//! What a shallow store starts with: all that the state keeps of the cut, put together again and checked
//! against the state root of its checkpoint.

use std::collections::BTreeMap;

use quipu_merge::{
    CertifiedCuts, CutNumber, Dot, EventId, LogTree, OpeningId, StateUpdate, Verdicts,
    list_entry_hash, update_state,
};

use super::Check;
use super::derived::name;
use super::expected::Expected;
use crate::certify::{self, Cell, CertifiedPut, number_of, records};
use crate::error::StorageError;
use crate::floor_state::{FloorState, opening_of};
use crate::lookup::Stored;
use crate::record::{Version, Written};
use crate::schema::{Family, Kind, certified, checkpoints};
use crate::shallow::Floor;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The certified state that a shallow store starts with.
pub struct StartState {
    /// Its records in the family `final`.
    pub records: Records,
    /// The tree over it.
    pub tree: StateUpdate,
    /// How many other records there are of what is certified.
    pub others: u64,
}

/// Reads what stood there; none where the store is not shallow, or it cannot be read.
pub fn read(check: &mut Check<'_, '_, '_>) -> Result<Option<FloorState>, StorageError> {
    let Some(floor) = check.floor else { return Ok(None) };
    let read = FloorState::read(check.reader(), floor);
    check.sound("the current state", read)
}

/// The current state begins with this.
pub fn seed(start: &FloorState, expected: &mut Expected) {
    for (state_key, writes) in &start.writes {
        writes.iter().for_each(|write| expected.start(state_key, write.clone()));
    }
    for (state_key, sum) in &start.sums {
        expected.versions += 1;
        expected.add_amount(state_key.clone(), *sum, false);
    }
    for (state_key, count) in &start.elements {
        expected.versions += count;
        (0..*count).for_each(|_| expected.add_element(state_key.clone(), false));
    }
}

/// The certified state of the checkpoint that the store starts from.
pub fn state(
    check: &mut Check<'_, '_, '_>,
    floor: &Floor,
    start: &FloorState,
    cuts: &CertifiedCuts,
    verdicts: &Verdicts,
) -> Result<StartState, StorageError> {
    let mut found = Records::new();
    for (state_key, writes) in &start.writes {
        let cell = cell(check, cuts, state_key, writes)?;
        put_cell(&mut found, state_key, &cell);
    }
    for (state_key, sum) in &start.sums {
        put_cell(&mut found, state_key, &Cell::Counter(Some(*sum)));
    }
    for (state_key, entries) in &start.entries {
        if start.elements.get(state_key) != Some(&(entries.len() as u64)) {
            check.find(format!("{} has other values than it starts with", name(state_key)));
        }
        let mut tree = LogTree::new();
        for version in entries {
            if let Some((event, Some(opening))) = written(check, version)? {
                tree.append(list_entry_hash(event, opening));
            }
        }
        put_cell(&mut found, state_key, &Cell::List(tree));
    }
    for (author, roles) in verdicts.roles() {
        found.insert(certified::roles(author).to_vec(), roles.join(",").into_bytes());
    }
    let changes = certify::state_changes(&found, found.keys().map(Vec::as_slice))?;
    let height = floor.height();
    let tree = update_state(&BTreeMap::new(), None, height, changes);
    let tree = tree.map_err(|error| StorageError::damaged(error.to_string()))?;
    if tree.root != records::checkpoint(check.reader(), height)?.state {
        check.find(format!("what the store starts with is not the state of checkpoint {height}"));
    }
    let others = others(check, floor)?;
    Ok(StartState { records: found, tree, others })
}

fn cell(
    check: &mut Check<'_, '_, '_>,
    cuts: &CertifiedCuts,
    state_key: &[u8],
    writes: &[Version],
) -> Result<Cell, StorageError> {
    let (mut puts, mut adds) = (Vec::new(), Vec::new());
    for version in writes {
        let (dot, time) = (version.dot, version.time);
        match written(check, version)? {
            Some((event, Some(opening))) => {
                puts.push(CertifiedPut { dot, number: cuts.number(dot), time, event, opening });
            }
            Some((event, None)) => adds.push((cuts.number(dot), time, event, dot)),
            None => {}
        }
    }
    // In the order of the log, in which they were folded.
    puts.sort_unstable_by_key(|put| (put.number, put.time, put.event));
    adds.sort_unstable();
    Ok(match state_key.first() {
        Some(&kind) if kind == Kind::Member as u8 => {
            Cell::Member(adds.into_iter().map(|(_, _, event, dot)| (dot, event)).collect())
        }
        _ => Cell::Register(puts),
    })
}

/// The event of a write, and the opening that it names; none where it is not what the event says.
fn written(
    check: &mut Check<'_, '_, '_>,
    version: &Version,
) -> Result<Option<(EventId, Option<OpeningId>)>, StorageError> {
    let stored = Stored::read(check.reader(), version.dot);
    let read = stored.and_then(|stored| {
        let record = stored.record()?;
        Ok((EventId::of(record.event), record.time, stored.kept()?))
    });
    let what = "a write that the store starts with";
    let Some((event, time, kept)) = check.sound(what, read)? else { return Ok(None) };
    let opening = opening_of(&kept, version);
    let named = opening.is_some() || version.written == Written::Member;
    if named && time == version.time {
        return Ok(Some((event, opening)));
    }
    check.find(format!("{what}, by {}, is none", super::at(version.dot)));
    Ok(None)
}

fn put_cell(found: &mut Records, state_key: &[u8], cell: &Cell) {
    found.extend(cell.encode().map(|record| (certified::state(state_key), record)));
}

/// The cuts up to the one that a shallow store starts from, by the boundaries that it has.
pub fn cuts(check: &mut Check<'_, '_, '_>, floor: &Floor) -> Result<CertifiedCuts, StorageError> {
    let last = number_of(floor.height());
    let mut boundaries: Vec<(Dot, CutNumber)> = Vec::new();
    check.each(Family::Final, &[certified::BOUNDARY], |check, key, value| {
        let read = check.sound("the family final", certify::boundary(key, value))?;
        boundaries.extend(read.filter(|(_, number)| *number <= last));
        Ok(())
    })?;
    let cuts = CertifiedCuts::restore(last.saturating_add(1), boundaries);
    if *cuts.latest() != floor.shallow.floor {
        check.find("the cut that the store starts from is not where its boundaries are");
    }
    Ok(cuts)
}

/// How many records there are of what was certified before a shallow store starts, keys and roles aside.
fn others(check: &mut Check<'_, '_, '_>, floor: &Floor) -> Result<u64, StorageError> {
    let (start, size) = (floor.height(), floor.size);
    let mut count = 0_u64;
    check.each(Family::Final, &[], |_, key, value| {
        count += u64::from(match key.first().copied() {
            Some(certified::FLOOR_HASH) => true,
            Some(certified::BOUNDARY) => {
                certify::boundary(key, value).is_ok_and(|(_, number)| number <= number_of(start))
            }
            Some(certified::ELEMENT) => {
                certified::parse_element(key).is_some_and(|(index, _)| index < size)
            }
            Some(checkpoints::KEPT | checkpoints::TURN) => {
                checkpoints::parse_height(key).is_some_and(|height| height <= start)
            }
            _ => false,
        });
        Ok(())
    })?;
    Ok(count)
}
