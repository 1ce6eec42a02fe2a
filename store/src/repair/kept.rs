//! What the replica had decided to keep, or not to: its pins, and which values and bodies were pruned.

use std::collections::BTreeSet;

use quipu_merge::{Height, Link};

use super::error::RepairError;
use super::events::Raw;
use super::values::Values;
use crate::blocks::{self, BlockSink};
use crate::bodies;
use crate::db::Salvage;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::pins::{Pin, PinError};
use crate::pruned::Pruned;
use crate::schema::{self, Family, meta};

/// Up to which checkpoint bodies may be gone from a damaged database.
pub fn bodies_pruned_to(salvage: &Salvage) -> Option<Height> {
    bodies::decode_height(&salvage.get(Family::Meta, meta::BODIES)?)
}

/// Records anew up to which checkpoint bodies may be gone: before there are events without them.
pub fn take_over_bodies(salvages: &[Salvage], ledger: &Ledger) -> Result<(), StorageError> {
    let Some(height) = salvages.iter().filter_map(bodies_pruned_to).max() else { return Ok(()) };
    ledger.in_bulk(|hold| {
        let (writer, db) = (hold.writer(), &ledger.db);
        writer.put(db, Family::Meta, meta::BODIES, &height.0.to_be_bytes())?;
        // Without them, the states in between are derived as they never were.
        writer.put(db, Family::Meta, meta::REGROWN, &[])
    })
}

/// Records anew which values were pruned, of events that are here: they are not missing, and are not
/// to be fetched.
pub fn take_over_pruned(salvage: &Salvage, ledger: &Ledger) -> Result<(), StorageError> {
    let mut found = Vec::new();
    salvage.visit(Family::Meta, meta::PRUNED, |key, record| {
        let dot = key.strip_prefix(meta::PRUNED).and_then(schema::parse_dot);
        let event = dot.and_then(|dot| Raw::read(salvage, dot)).map(|raw| raw.event.id());
        found.extend(event.zip(Pruned::decode(record)));
        Ok::<_, StorageError>(())
    })?;
    ledger.note_pruned(&found)
}

/// Pins again what was pinned. Tells how many pins are of something that is gone.
pub fn take_over_pins(salvages: &[Salvage], ledger: &Ledger) -> Result<u64, RepairError> {
    let (mut pins, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for salvage in salvages {
        let values = Values::new(salvage);
        let mut sink = BlockSink::new(ledger);
        salvage.visit(Family::Meta, meta::PINNED_BLOCK, |key, _| {
            if let Some((id, _)) = key.strip_prefix(meta::PINNED_BLOCK).and_then(blocks::decode) {
                pins.insert(Pin::Block(id));
                // How long it is does not matter.
                sink.copy(Link { block: id, size: 0 }, |id| {
                    Ok::<_, StorageError>(values.block(id))
                })?;
            }
            Ok::<_, StorageError>(())
        })?;
        sink.commit()?;
        salvage.visit(Family::Meta, meta::PINNED_EVENT, |key, _| {
            let dot = key.strip_prefix(meta::PINNED_EVENT).and_then(schema::parse_dot);
            match dot.and_then(|dot| Raw::read(salvage, dot)) {
                Some(raw) => drop(pins.insert(Pin::Event(raw.event.id()))),
                None => drop(lost.insert(key.to_vec())),
            }
            Ok::<_, StorageError>(())
        })?;
    }
    let mut gone = lost.len() as u64;
    for pin in pins {
        match ledger.pin(&[pin]) {
            // It keeps nothing any more, so nothing is lost with it.
            Ok(_) | Err(PinError::Erased(Pin::Event(_))) => {}
            Err(PinError::Storage(error)) => return Err(error.into()),
            // Erased, or lost.
            Err(_) => gone += 1,
        }
    }
    Ok(gone)
}
