//! What nobody else has and nothing can be derived from: it goes from the first database into the second.

use std::collections::BTreeSet;

use quipu_merge::{EventId, Link};
use rocksdb::WriteBatch;

use crate::blocks::{self, BlockSink};
use crate::error::{OpenError, StorageError};
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::pins::{Pin, PinError};
use crate::pruned::Pruned;
use crate::schema::{self, Family, checkpoints, meta};

/// Records that stand by themselves, by what their keys begin with: who the replica is and where,
/// names, receipts, the log of votes, evidence, and the lines of notes. The others are pins and pruned
/// values, which name events by lanes.
const LOCAL: [(Family, &[u8]); 7] = [
    (Family::Meta, meta::AUTHOR),
    (Family::Meta, meta::PLACE),
    (Family::Meta, meta::NAMES),
    (Family::Meta, meta::RECEIPT),
    (Family::Meta, meta::VOTES),
    (Family::Meta, meta::EVIDENCE),
    (Family::Final, &[checkpoints::COSIGNED]),
];

/// Takes over all of it, in the place of what an attempt that was cut short has taken over.
pub fn take_over(front: &Ledger, filled: &Ledger) -> Result<(), OpenError> {
    copy_pinned_blocks(front, filled)?;
    let pins = front.pins()?;
    take_over_pins(filled, &pins)?;
    filled.note_pruned(&pruned(front)?)?;
    // All of it or nothing: of the log of votes above all.
    let (db, mut batch) = (&filled.db, WriteBatch::default());
    for (family, prefix) in LOCAL {
        let mut walk = filled.latest().walk(family, prefix)?;
        walk.first()?;
        while let Some((key, _)) = walk.item() {
            db.delete(&mut batch, family, key)?;
            walk.next()?;
        }
        let mut walk = front.latest().walk(family, prefix)?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            db.put(&mut batch, family, key, value)?;
            walk.next()?;
        }
    }
    Ok(db.write(batch, true)?)
}

/// Pinned blocks need not be of any value.
fn copy_pinned_blocks(front: &Ledger, filled: &Ledger) -> Result<(), StorageError> {
    let mut sink = BlockSink::new(filled);
    for id in front.pinned_blocks()? {
        // How long it is does not matter.
        sink.copy(Link { block: id, size: 0 }, |id| blocks::read(front.latest(), id))?;
    }
    sink.commit()
}

/// Pins what is pinned, and nothing else.
fn take_over_pins(filled: &Ledger, pins: &[Pin]) -> Result<(), OpenError> {
    let pins: BTreeSet<_> = pins.iter().copied().collect();
    let before: Vec<_> = filled.pins()?.into_iter().filter(|pin| !pins.contains(pin)).collect();
    let pinned = filled.unpin(&before).and_then(|()| {
        pins.into_iter().try_for_each(|pin| match filled.pin(&[pin]) {
            // It has been erased meanwhile, or was lost before.
            Err(PinError::NotHere(_) | PinError::Erased(_)) | Ok(_) => Ok(()),
            Err(other) => Err(other),
        })
    });
    pinned.map_err(|error| match error {
        PinError::Storage(error) => error.into(),
        other => StorageError::damaged(other.to_string()).into(),
    })
}

/// Which values have been pruned, by event.
fn pruned(front: &Ledger) -> Result<Vec<(EventId, Pruned)>, StorageError> {
    let damaged = || StorageError::damaged("the record of the pruned values of an event");
    let mut pruned = Vec::new();
    let mut walk = front.latest().walk(Family::Meta, meta::PRUNED)?;
    walk.first()?;
    while let Some((key, record)) = walk.item() {
        let dot = key.strip_prefix(meta::PRUNED).and_then(schema::parse_dot);
        let stored = Stored::read(front.latest(), dot.ok_or_else(damaged)?)?;
        let event = EventId::of(stored.record()?.event);
        pruned.push((event, Pruned::decode(record).ok_or_else(damaged)?));
        walk.next()?;
    }
    Ok(pruned)
}
