//! Reading: the ledger at one instant, and at any cut of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use quipu_merge::{
    Act, AuthorKey, BlockId, Clock, Content, ContentReadError, ControlEvent, Cut, Dot, EventId,
    Height, Lane, Link, Opening, Subject, Verdicts, read_content_range,
};

use crate::blocks::{self, Ahead};
use crate::db::Reader;
use crate::error::{ReadError, StorageError};
use crate::event::EventInfo;
use crate::extent::Extent;
use crate::ledger::Ledger;
use crate::lookup::{self, Known, Stored};
use crate::opening;
use crate::pruned::is_pruned;
use crate::record::StoredClock;
use crate::schema::{Family, meta};
use crate::writer::{Published, read_commit};

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

/// What can be told of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The value itself.
    Bytes(Vec<u8>),
    /// A long value in blocks of its own: see [`Snapshot::read_long`].
    Long(Link),
    /// It has been erased.
    Erased,
    /// It was dropped here, because no state that is kept shows it: see [`Ledger::prune`].
    Pruned,
    /// It is not here.
    Missing,
    /// It is not what the format says that a value is, or another author's.
    Unreadable,
}

impl Value {
    /// Why it cannot be shown, in a word or two; `None` where it can.
    pub const fn unavailable(&self) -> Option<&'static str> {
        match self {
            Self::Bytes(_) | Self::Long(_) => None,
            Self::Erased => Some("erased"),
            Self::Pruned => Some("pruned"),
            Self::Missing => Some("not here"),
            Self::Unreadable => Some("unreadable"),
        }
    }
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

    /// A block of a long value that is not here, if there is one. Costs far less than reading it.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn missing_block(&self, link: Link) -> Result<Option<BlockId>, ReadError> {
        Ok(blocks::first_missing(self.reader(), link)?)
    }

    /// Writes a long value to `write`, block by block; every block is checked against its hash.
    ///
    /// # Errors
    /// `Ok(Err(id))` where a block is missing or damaged; what precedes it has been written.
    pub fn read_long(
        &self,
        link: Link,
        write: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Result<(), BlockId>, LongError> {
        self.read_long_range(link, 0..u64::MAX, write)
    }

    /// Writes a range of the bytes of a long value to `write`, and reads no blocks but those that
    /// hold some of them. Of a range that goes beyond the end it writes what there is.
    ///
    /// # Errors
    /// `Ok(Err(id))` where a block that is needed is missing; what precedes it has been written.
    pub fn read_long_range(
        &self,
        link: Link,
        range: Range<u64>,
        mut write: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Result<(), BlockId>, LongError> {
        // Of a part of a value, nothing is read that may not be needed. What has rotted is to be
        // told from what is missing.
        let whole = range.start == 0 && range.end >= link.size;
        let write = |bytes: &[u8]| write(bytes).map_err(LongError::Output);
        let read = std::thread::scope(|scope| {
            let mut ahead = Ahead::new(scope, self.reader());
            let fetch = |id: BlockId| {
                let block = if whole { ahead.fetch(id) } else { blocks::stored(self.reader(), id) };
                block.map_err(LongError::Storage)
            };
            read_content_range(link, range, fetch, write)
        });
        match read {
            Ok(()) => Ok(Ok(())),
            Err(ContentReadError::Missing(id)) => Ok(Err(id)),
            Err(ContentReadError::Fetch(error) | ContentReadError::Write(error)) => Err(error),
            Err(other) => Err(LongError::Malformed(other.to_string())),
        }
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

    /// The verdicts on the events of the cut.
    pub(crate) fn verdicts(&self) -> Result<Arc<Verdicts>, StorageError> {
        let everything = &self.published.verdicts;
        if matches!(self.extent, Extent::Everything) {
            return Ok(everything.clone());
        }
        if let Some(verdicts) = self.verdicts.get() {
            return Ok(verdicts.clone());
        }
        let authority = &self.published.authority;
        let mut needed = BTreeMap::new();
        let forked = self
            .published
            .lanes
            .authors()
            .filter(|(_, lanes)| lanes.len() > 1)
            .flat_map(|(_, lanes)| lanes);
        for lane in authority.events().iter().map(|event| event.dot.lane).chain(forked.copied()) {
            if let std::collections::btree_map::Entry::Vacant(entry) = needed.entry(lane) {
                entry.insert(self.seq_on(lane)?);
            }
        }
        let within = |lane: Lane| needed.get(&lane).copied().unwrap_or(0);
        let certified = &self.published.finality.cuts;
        let verdicts = Verdicts::new(authority, &self.published.lanes, &within, certified);
        let verdicts = Arc::new(verdicts);
        Ok(self.verdicts.get_or_init(|| verdicts).clone())
    }

    /// Whether an event of the cut is void.
    pub(crate) fn is_void(&self, dot: Dot) -> Result<bool, StorageError> {
        // Nothing is revoked, forked or void at all: so it is in every part.
        if self.published.verdicts.all_clear() {
            return Ok(false);
        }
        // Where a shallow store starts, verdicts are final.
        let below = self.ledger.floor.as_ref().is_some_and(|floor| floor.covers(dot));
        if below || matches!(self.extent, Extent::Everything) {
            return self.is_void_now(dot);
        }
        let verdicts = self.verdicts()?;
        let lanes = &self.published.lanes;
        let Some(info) = lanes.get(dot.lane) else { return Ok(false) };
        if verdicts.is_clear(info.author) {
            return Ok(false);
        }
        let clock = lookup::clock_at(self.reader(), dot)?;
        let acts = self.acts_of(dot);
        Ok(verdicts
            .is_void(lanes, &Subject { author: info.author, dot, clock: &clock, acts: &acts }))
    }

    /// Whether an event is void over everything that is held.
    pub(crate) fn is_void_now(&self, dot: Dot) -> Result<bool, StorageError> {
        Ok(!self.published.verdicts.all_clear()
            && self.reader().has(Family::Meta, &meta::void(dot))?)
    }

    /// Whether any value has been erased.
    pub(crate) fn has_erased(&self) -> bool {
        let redacts = |event: &Arc<ControlEvent>| {
            event.acts.iter().any(|act| matches!(act, Act::Redact { .. }))
        };
        *self.has_erased.get_or_init(|| self.published.authority.events().iter().any(redacts))
    }

    pub(crate) fn acts_of(&self, dot: Dot) -> Vec<Act> {
        let control = self.published.authority.events().iter().find(|event| event.dot == dot);
        control.map_or_else(Vec::new, |event| event.acts.clone())
    }

    pub(crate) const fn ledger_handle(&self) -> &'l Ledger {
        self.ledger
    }

    /// The opening of a value, as far as it is at hand, erased or not.
    pub(crate) fn opening_at(&self, dot: Dot, slot: u16) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(stored) = opening::find(self.reader(), dot, slot)? else { return Ok(None) };
        let author = self.published.lanes.get(dot.lane).map(|info| info.author);
        let opening = author.and_then(|author| opening::unpack(author, &stored));
        opening.map(Some).ok_or_else(|| StorageError::damaged("a stored opening"))
    }

    /// Whether a value has been erased.
    pub(crate) fn is_erased(&self, dot: Dot, slot: u16) -> Result<bool, StorageError> {
        Ok(self.has_erased() && self.reader().has(Family::Meta, &meta::erased(dot, slot))?)
    }

    /// What can be told of the value of an operation.
    pub(crate) fn value_at(&self, dot: Dot, slot: u16) -> Result<Value, StorageError> {
        if self.is_erased(dot, slot)? {
            return Ok(Value::Erased);
        }
        self.at_hand(dot, slot)
    }

    /// What is at hand of the value of an operation, erased or not.
    pub(crate) fn at_hand(&self, dot: Dot, slot: u16) -> Result<Value, StorageError> {
        let Some(opening) = self.opening_at(dot, slot)? else {
            let pruned = is_pruned(self.reader(), dot, slot)?;
            return Ok(if pruned { Value::Pruned } else { Value::Missing });
        };
        let author = self.published.lanes.get(dot.lane).map(|info| info.author);
        Ok(match Opening::decode(&opening) {
            Ok(opening) if Some(opening.author) == author => match opening.content {
                Content::Inline(bytes) => Value::Bytes(bytes),
                Content::Linked(link) => Value::Long(link),
            },
            _ => Value::Unreadable,
        })
    }

    pub(crate) fn event_at(&self, dot: Dot) -> Result<EventInfo, ReadError> {
        let stored = Stored::read(self.reader(), dot)?;
        EventInfo::read(self, dot, &stored)
    }

    /// Whether it is known which events are void.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where events may be that are not here.
    pub(crate) fn check_void_known(&self, verdicts: &Verdicts) -> Result<(), ReadError> {
        let Some(floor) = &self.ledger.floor else { return Ok(()) };
        if floor.tops().keys().all(|author| verdicts.is_clear(*author)) {
            return Ok(());
        }
        Err(floor.pruned())
    }

    /// Void events of the cut, ascending.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where the store starts from a checkpoint and events below may be void; the
    /// disk, the database or its content.
    pub fn void(&self) -> Result<BTreeSet<EventId>, ReadError> {
        let mut void = BTreeSet::new();
        if self.published.verdicts.all_clear() {
            return Ok(void);
        }
        let verdicts = self.verdicts()?;
        self.check_void_known(&verdicts)?;
        let frontier = self.frontier()?;
        for (lane, info) in self.published.lanes.iter() {
            for seq in self.first_held(lane, info).0..=frontier.seq(lane) {
                let dot = Dot { lane, seq: quipu_merge::Seq(seq) };
                if self.is_void(dot)? {
                    void.insert(EventId::of(Stored::read(self.reader(), dot)?.record()?.event));
                }
            }
        }
        Ok(void)
    }
}

/// A long value cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LongError {
    /// Where it goes does not take it.
    #[error("the value cannot be written out: {0}")]
    Output(#[source] std::io::Error),
    /// Its blocks do not make up what the format says.
    #[error("the value is malformed: {0}")]
    Malformed(String),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(StorageError),
}
