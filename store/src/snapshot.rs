//! Reading: the ledger at one instant, and at any cut of it.

mod value;
mod void;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use quipu_merge::{AuthorKey, Clock, Cut, Dot, EventId, Height, Verdicts};

use crate::db::Reader;
use crate::error::{ReadError, StorageError};
use crate::event::EventInfo;
use crate::extent::Extent;
use crate::ledger::Ledger;
use crate::lookup::{self, Known, Stored};
use crate::record::StoredClock;
use crate::writer::{Published, read_commit};

pub use value::{LongError, Value};

/// The ledger at one instant: it stays as it is while others write.
///
/// A snapshot is of everything that is held, or of a cut of it: see [`Snapshot::at`]. It keeps
/// old data from being given back to the disk, so it is not to be kept for long.
pub struct Snapshot<'l> {
    ledger: &'l Ledger,
    snapshot: rocksdb::Snapshot<'l>,
    published: Arc<Published>,
    extent: Extent,
    verdicts: OnceLock<Arc<Verdicts>>,
    has_erased: OnceLock<bool>,
    /// The checkpoint up to which bodies may be gone that the state of the cut needs.
    pub(crate) lacks_below: OnceLock<Option<Height>>,
}

impl Ledger {
    /// The ledger as it is now.
    ///
    /// # Errors
    /// The disk, the database or its content. [`StorageError::Poisoned`] where a write failed and
    /// nobody knows what belongs to what is on the disk: the store must be opened again.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, ReadError> {
        let mut broken = Ok(());
        loop {
            let quiet = self.commits.quiet();
            let published = self.published();
            let snapshot = self.db.snapshot();
            // A commit is published right after it is written; this instant may lie between the
            // two, unless nobody was writing.
            let undisturbed = quiet.is_some() && quiet == self.commits.quiet();
            if undisturbed || read_commit(Reader::at(&self.db, &snapshot))? == published.commit {
                return Ok(Snapshot {
                    ledger: self,
                    snapshot,
                    published,
                    extent: Extent::Everything,
                    verdicts: OnceLock::new(),
                    has_erased: OnceLock::new(),
                    lacks_below: OnceLock::new(),
                });
            }
            // Whoever was to publish it may be gone. What came before that is seen by looking again.
            broken?;
            broken = self.commits.check();
            std::thread::yield_now();
        }
    }

    /// The ledger as it is now, up to a cut.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where the cut names an event that is not held.
    pub fn at(&self, cut: &Cut) -> Result<Snapshot<'_>, ReadError> {
        self.snapshot()?.at(cut)
    }
}

impl<'l> Snapshot<'l> {
    /// The same instant, up to a cut.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where the cut names an event that is not held.
    pub fn at(mut self, cut: &Cut) -> Result<Self, ReadError> {
        self.extent = self.resolve(cut)?;
        self.forget();
        Ok(self)
    }

    /// The same instant, up to the last certified cut: what never changes. `None` where nothing is
    /// certified.
    #[must_use]
    pub fn at_final(mut self) -> Option<Self> {
        let certified = &self.published.finality.cuts;
        if certified.is_empty() {
            return None;
        }
        self.extent = Extent::Frontier { clock: certified.latest().clone(), heads: Vec::new() };
        self.forget();
        Some(self)
    }

    /// The same cut by how far it goes on each lane, which stays as it is when events with an
    /// earlier time come.
    pub(crate) fn at_frontier(mut self) -> Result<Self, StorageError> {
        self.extent = Extent::Frontier { clock: self.frontier()?, heads: Vec::new() };
        self.forget();
        Ok(self)
    }

    /// Forgets what was found out about another cut.
    fn forget(&mut self) {
        self.verdicts = OnceLock::new();
        self.lacks_below = OnceLock::new();
    }

    /// The ledger's id.
    pub fn ledger(&self) -> EventId {
        self.published.authority.ledger()
    }

    /// How many events the cut holds.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn len(&self) -> Result<u64, ReadError> {
        let frontier = self.frontier()?;
        Ok(self.published.lanes.count(&|lane| frontier.seq(lane)))
    }

    /// Never: a cut that holds no event cannot be told from a ledger without genesis.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn is_empty(&self) -> Result<bool, ReadError> {
        Ok(self.len()? == 0)
    }

    /// The events of the cut that no other of it follows, ascending.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn heads(&self) -> Result<Vec<EventId>, ReadError> {
        if matches!(self.extent, Extent::Everything) {
            return Ok(self.published.heads.iter().map(|head| head.id).collect());
        }
        let frontier = self.frontier()?;
        // What precedes what there is not known here.
        if let Some(floor) = self.ledger.floor.as_ref().filter(|f| f.shallow.floor == frontier) {
            return Ok(floor.heads.clone());
        }
        let tips: Vec<Known> = frontier
            .iter()
            .map(|dot| lookup::known_at(self.reader(), dot))
            .collect::<Result<_, _>>()?;
        let followed =
            |tip: &Known| tips.iter().any(|t| t.dot != tip.dot && t.clock.covers(tip.dot));
        let mut heads: Vec<_> =
            tips.iter().filter(|tip| !followed(tip)).map(|tip| tip.id).collect();
        heads.sort_unstable();
        Ok(heads)
    }

    /// The largest position of each author.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn version(&self) -> Result<BTreeMap<AuthorKey, u64>, ReadError> {
        Ok(self.published.lanes.version(&self.frontier()?))
    }

    /// The lowest position that two events of an author share, by author.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn forks(&self) -> Result<BTreeMap<AuthorKey, u64>, ReadError> {
        let frontier = self.frontier()?;
        Ok(self.published.lanes.forks(&|lane| frontier.seq(lane)))
    }

    /// What each author holds, ascending; authors without anything are left out.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn roles(&self) -> Result<BTreeMap<AuthorKey, Vec<&'static str>>, ReadError> {
        Ok(self.verdicts()?.roles())
    }

    /// Whether the cut holds this event.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn contains(&self, id: EventId) -> Result<bool, ReadError> {
        let Some(dot) = lookup::dot_of(self.reader(), id)? else { return Ok(false) };
        Ok(dot.seq.0 <= self.seq_on(dot.lane)?)
    }

    /// The event with this id, if the cut holds it.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where the cut does not hold it.
    pub fn event(&self, id: EventId) -> Result<EventInfo, ReadError> {
        let dot = lookup::dot_of(self.reader(), id)?.ok_or(ReadError::NoSuchEvent(id))?;
        if self.seq_on(dot.lane)? < dot.seq.0 {
            return Err(ReadError::NoSuchEvent(id));
        }
        self.event_at(dot)
    }

    /// The vector clock of an event: the largest position of each author that it has seen.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`], and [`ReadError::BelowStart`] where that is not known here.
    pub fn clock(&self, id: EventId) -> Result<BTreeMap<AuthorKey, u64>, ReadError> {
        let dot = lookup::dot_of(self.reader(), id)?.ok_or(ReadError::NoSuchEvent(id))?;
        Ok(self.published.lanes.version(&self.known_clock(dot)?))
    }

    /// What an event has seen, where that is known here.
    fn known_clock(&self, dot: Dot) -> Result<Clock, ReadError> {
        let clock = Stored::read(self.reader(), dot)?.record()?.clock;
        match (&self.ledger.floor, clock) {
            (Some(floor), StoredClock::Floor) => Err(floor.pruned()),
            (_, clock) => Ok(lookup::clock_of(self.reader(), dot, clock)?),
        }
    }

    /// Whether an event precedes another: whether the other has seen it.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`], and [`ReadError::BelowStart`] where that is not known here.
    pub fn precedes(&self, event: EventId, other: EventId) -> Result<bool, ReadError> {
        let dot = |id| lookup::dot_of(self.reader(), id)?.ok_or(ReadError::NoSuchEvent(id));
        let (event, other) = (dot(event)?, dot(other)?);
        // Whatever it was, it was of the cut that a shallow store starts from.
        if self.ledger.floor.as_ref().is_some_and(|f| f.covers(other) && !f.covers(event)) {
            return Ok(false);
        }
        Ok(event != other && self.known_clock(other)?.covers(event))
    }

    /// The local names of authors.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn names(&self) -> Result<BTreeMap<AuthorKey, String>, ReadError> {
        Ok(crate::load::names(self.reader())?)
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::at(&self.ledger.db, &self.snapshot)
    }

    pub(crate) const fn published(&self) -> &Arc<Published> {
        &self.published
    }

    pub(crate) const fn extent(&self) -> &Extent {
        &self.extent
    }

    pub(crate) const fn ledger_handle(&self) -> &'l Ledger {
        self.ledger
    }

    pub(crate) fn event_at(&self, dot: Dot) -> Result<EventInfo, ReadError> {
        let stored = Stored::read(self.reader(), dot)?;
        EventInfo::read(self, dot, &stored)
    }
}
