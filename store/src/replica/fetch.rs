//! Events as they travel: with their bodies, and some of their values.

use quipu_merge::{Dot, EventId};

use crate::bodies::is_gone;
use crate::db::Walk;
use crate::error::{ReadError, StorageError};
use crate::incoming::Incoming;
use crate::ledger::Ledger;
use crate::lookup::{self, Stored};
use crate::merge::read_openings;
use crate::schema::Family;
use crate::snapshot::Snapshot;

/// Length of the openings that travel with an event, in bytes. The others are asked for by
/// [`Ledger::openings`].
pub const MAX_OPENINGS_LEN: usize = 256 << 10;

impl Ledger {
    /// Those of these events that are not held, in their order. What waits is not held.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn missing_events(&self, events: &[EventId]) -> Result<Vec<EventId>, ReadError> {
        Ok(self.snapshot()?.lacks(events)?)
    }

    /// Those of these events that are held, in their order, with their bodies, except those that have
    /// been pruned, and openings up to
    /// [`MAX_OPENINGS_LEN`] each; up to the first one that would make them more than `max_len` bytes.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn events(&self, events: &[EventId], max_len: usize) -> Result<Vec<Incoming>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut openings = snapshot.reader().walk(Family::Openings, &[])?;
        let (mut found, mut left) = (Vec::new(), max_len);
        for id in events {
            let Some(dot) = lookup::dot_of(snapshot.reader(), *id)? else { continue };
            let stored = Stored::read(snapshot.reader(), dot)?;
            let event = snapshot.travelling(dot, &stored, &mut openings)?;
            let Some(after) = left.checked_sub(event.len()) else { break };
            left = after;
            found.push(event);
        }
        Ok(found)
    }
}

impl Snapshot<'_> {
    /// An event with its openings, as far as they may be sent, and its body, unless that is gone. `openings` is a cursor as
    /// [`read_openings`] wants it.
    pub(crate) fn travelling(
        &self,
        dot: Dot,
        stored: &Stored<'_>,
        openings: &mut Walk<'_>,
    ) -> Result<Incoming, StorageError> {
        let record = stored.record()?;
        let openings = read_openings(self, openings, dot, MAX_OPENINGS_LEN)?;
        let body = (!is_gone(record.body)).then(|| record.body.to_vec());
        Ok(Incoming { event: record.event.to_vec(), body, openings })
    }
}
