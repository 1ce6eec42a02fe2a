//! The certified history of a replica, for one that starts from a checkpoint: in portions, in the order
//! of the certified log.

use quipu_merge::{Checkpoint, Dot, Height};

use crate::bodies::pruned_to;
use crate::certify::{CertifiedCheckpoint, Part, records};
use crate::cut::CutError;
use crate::db::Walk;
use crate::error::{ReadError, StorageError};
use crate::incoming::Incoming;
use crate::ledger::Ledger;
use crate::lookup::{self, Stored};
use crate::record;
use crate::schema::{Family, certified};
use crate::snapshot::Snapshot;

/// How many events a portion of history has at most.
pub const MAX_HISTORY_EVENTS: usize = 2_048;
/// So many events are read at once at most.
const AT_ONCE: usize = 128;

/// What the certified history consists of.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a portion is small, and taken apart at once")]
pub enum HistoryItem {
    /// An event with its body, and openings as [`Ledger::events`] has them.
    Event(Incoming),
    /// The checkpoint whose cut ends with the event before.
    Checkpoint(CertifiedCheckpoint),
}

/// A portion of the certified history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Events in the order of the certified log, each checkpoint right after the last event of its cut.
    pub items: Vec<HistoryItem>,
    /// The place in the certified log from which on to go on.
    pub next: u64,
    /// Whether everything that was asked for has come.
    pub last: bool,
}

impl Ledger {
    /// The certified history from a place in the certified log on, where the first event is 0, up to the
    /// checkpoint of a height: up to `max_len` bytes and [`MAX_HISTORY_EVENTS`] events, or one event. A
    /// checkpoint comes in the same portion as the last event of its cut, and may exceed that. Values that
    /// are not at hand or have been erased are left out.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where the store starts from a later checkpoint, [`ReadError::Pruned`] where
    /// bodies from there on may be gone; [`ReadError::Cut`] where the checkpoint does not count here.
    pub fn history(&self, from: u64, up_to: Height, max_len: usize) -> Result<History, ReadError> {
        let snapshot = self.snapshot()?;
        let start = self.shallow().map(|shallow| ReadError::BelowStart(shallow.height));
        let pruned = pruned_to(snapshot.reader())?.map(ReadError::Pruned);
        let size = |height| {
            let found = records::find(snapshot.reader(), height, Part::Header, Checkpoint::decode);
            found.map(|checkpoint| checkpoint.map(|checkpoint| checkpoint.size))
        };
        for error in [start, pruned].into_iter().flatten() {
            let (ReadError::BelowStart(height) | ReadError::Pruned(height)) = error else {
                continue;
            };
            if size(height)?.is_none_or(|size| from < size) {
                return Err(error);
            }
        }
        let end = size(up_to)?.ok_or(CutError::NoCheckpoint(up_to.0))?;
        if from >= end {
            return Ok(History { items: Vec::new(), next: from, last: true });
        }
        Reading::start(&snapshot, from)?.read(end, max_len)
    }
}

/// Reads along the certified log.
struct Reading<'s, 'l> {
    from: &'s Snapshot<'l>,
    log: Walk<'s>,
    openings: Walk<'s>,
    /// The checkpoint that comes next, and how many events its cut holds.
    height: Height,
    size: u64,
    portion: History,
    events: usize,
    len: usize,
}

impl<'s, 'l> Reading<'s, 'l> {
    fn start(from: &'s Snapshot<'l>, place: u64) -> Result<Self, StorageError> {
        let reader = from.reader();
        let mut log = reader.walk(Family::Final, &[certified::LOG])?;
        log.seek(&certified::log(place))?;
        let height = from.log_dot(place)?.and_then(|dot| from.height_of(dot));
        let height = height.ok_or_else(damaged)?;
        Ok(Self {
            from,
            log,
            openings: reader.walk(Family::Openings, &[])?,
            height,
            size: records::checkpoint(reader, height)?.size,
            portion: History { items: Vec::new(), next: place, last: false },
            events: 0,
            len: 0,
        })
    }

    fn read(mut self, end: u64, max_len: usize) -> Result<History, ReadError> {
        let mut at_once = 2;
        while self.portion.next < end {
            let left = usize::try_from(end - self.portion.next).unwrap_or(usize::MAX);
            let dots = self.dots(at_once.min(left))?;
            let mut stored = Stored::read_many(self.from.reader(), dots.clone())?;
            for dot in dots {
                let stored = stored.remove(&dot).ok_or_else(|| lookup::missing(dot))?;
                let event = self.event(dot, &stored)?;
                let full = self.len.saturating_add(event.len()) > max_len;
                if self.events > 0 && (full || self.events == MAX_HISTORY_EVENTS) {
                    return Ok(self.portion);
                }
                self.add(event)?;
            }
            // The last ones read are too many: the fewer, the fewer have come so far.
            at_once = (at_once * 2).min(AT_ONCE);
        }
        self.portion.last = true;
        Ok(self.portion)
    }

    /// The next events of the log.
    fn dots(&mut self, count: usize) -> Result<Vec<Dot>, StorageError> {
        let mut dots = Vec::with_capacity(count);
        for _ in 0..count {
            let (_, entry) = self.log.item().ok_or_else(damaged)?;
            dots.push(record::Reader(entry).dot().ok_or_else(damaged)?);
            self.log.next()?;
        }
        Ok(dots)
    }

    fn event(&mut self, dot: Dot, stored: &Stored<'_>) -> Result<Incoming, ReadError> {
        let event = self.from.travelling(dot, stored, &mut self.openings)?;
        if event.body.is_none() {
            self.from.check_history()?;
            return Err(lookup::missing(dot).into());
        }
        Ok(event)
    }

    fn add(&mut self, event: Incoming) -> Result<(), ReadError> {
        self.len += event.len();
        self.events += 1;
        self.portion.next += 1;
        self.portion.items.push(HistoryItem::Event(event));
        if self.portion.next == self.size {
            let checkpoint = self.from.checkpoint(self.height)?.ok_or_else(damaged)?;
            let parts = records::parts(&checkpoint)?;
            self.len += parts.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
            self.portion.items.push(HistoryItem::Checkpoint(checkpoint));
            if let Some(next) = self.height.next()
                && Some(self.height) < self.from.certified_height()
            {
                self.size = records::checkpoint(self.from.reader(), next)?.size;
                self.height = next;
            }
        }
        Ok(())
    }
}

fn damaged() -> StorageError {
    StorageError::damaged("the certified log")
}
