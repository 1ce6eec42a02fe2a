//! Taking in what another replica has.

use std::path::Path;

use quipu_merge::{BodyId, Clock, Cut, Dot, EventId, Height, Lane, OpeningId, Refusal, Seq};

use crate::blocks::{self, BlockSink};
use crate::bodies::is_gone;
use crate::db::Walk;
use crate::error::{MergeError, OpenError, ReadError, StorageError};
use crate::incoming::{Checked, Incoming, check_all};
use crate::ingest::{BATCH, MergeOptions, MergeReport};
use crate::ledger::Ledger;
use crate::load;
use crate::lookup::{self, Stored};
use crate::missing::ValueSource;
use crate::opening;
use crate::options::Options;
use crate::schema::{self, Family};
use crate::snapshot::Snapshot;

/// Tells how far a long work has come: done and, as far as known, in all.
pub type Progress<'p> = &'p mut (dyn FnMut(u64, u64) + Send);

impl Ledger {
    /// Takes in all events of another replica that this one lacks, with the values at hand there, and
    /// its certified checkpoints.
    ///
    /// # Errors
    /// [`MergeError::OtherLedger`]; [`MergeError::Refused`] where the source holds an event
    /// that no replica may hold, and [`MergeError::Source`] where it has pruned the body of one: what
    /// precedes it has been taken in. Where either starts from a checkpoint, [`MergeError::Behind`] or
    /// [`MergeError::Source`] if the other lacks something of its cut: nothing has been.
    pub fn merge(&self, source: &Self, progress: Progress<'_>) -> Result<MergeReport, MergeError> {
        self.merge_with(source, MergeOptions::default(), progress)
    }

    /// Does what [`Self::merge`] does, with options.
    ///
    /// # Errors
    /// Those of [`Self::merge`].
    pub fn merge_with(
        &self,
        source: &Self,
        options: MergeOptions,
        progress: Progress<'_>,
    ) -> Result<MergeReport, MergeError> {
        self.merge_up_to(source, &source.snapshot()?, options, progress)
    }

    /// Tells how many events [`Self::merge`] would take in, and takes in none.
    ///
    /// # Errors
    /// Those of [`Self::merge`].
    pub fn merge_preview(&self, source: &Self) -> Result<MergeReport, MergeError> {
        self.check_same(source)?;
        let from = source.snapshot()?;
        let missing = self.missing_from(&from)?;
        let new_events = missing.iter().map(|(first, last)| last + 1 - first).sum();
        let heights = |height: Option<Height>| height.map_or(0, |height| height.0);
        let new_checkpoints =
            heights(from.certified_height()).saturating_sub(heights(self.held_height()));
        let waiting = self.waiting();
        Ok(MergeReport { new_events, new_checkpoints, waiting, ..MergeReport::default() })
    }

    pub(crate) fn merge_up_to(
        &self,
        source: &Self,
        from: &Snapshot<'_>,
        options: MergeOptions,
        progress: Progress<'_>,
    ) -> Result<MergeReport, MergeError> {
        self.merge_checked(source, from, options, false, progress)
    }

    /// Merges another database of this replica. Where that holds an event that no replica may hold,
    /// it is left out, with what follows it.
    pub(crate) fn merge_own(&self, source: &Self) -> Result<MergeReport, MergeError> {
        let options = MergeOptions::default();
        self.merge_checked(source, &source.snapshot()?, options, true, &mut |_, _| {})
    }

    fn merge_checked(
        &self,
        source: &Self,
        from: &Snapshot<'_>,
        options: MergeOptions,
        leaves_out: bool,
        progress: Progress<'_>,
    ) -> Result<MergeReport, MergeError> {
        self.check_same(source)?;
        let before = self.baseline()?;
        self.admit_due()?;
        if let Some(floor) = self.floor.as_ref().filter(|_| options.refill) {
            return Err(MergeError::Shallow(floor.height()));
        }
        let missing = self.missing_from(from)?;
        let total = missing.iter().map(|(first, last)| last + 1 - first).sum();
        let mut report = MergeReport::default();
        let mut reading = Reading { from, missing, walk: None, left: total };
        let (mut checked, mut blocks) = reading.checked_batch(self)?;
        let mut done = 0;
        while !checked.is_empty() {
            let count = checked.len() as u64;
            // One batch is written while the next is read and checked.
            let (written, next) = rayon::join(
                || {
                    blocks.commit()?;
                    self.take_in_all(checked, leaves_out, &mut report)
                },
                || reading.checked_batch(self),
            );
            written?;
            (checked, blocks) = next?;
            fail::fail_point!("between-merge-batches");
            done += count;
            progress(done, total);
        }
        self.fill(&mut OtherReplica(from), options, &mut report)?;
        self.take_certified(from)?;
        self.sync_if_durable()?;
        Ok(self.report_since(&before, report)?)
    }

    fn check_same(&self, source: &Self) -> Result<(), MergeError> {
        let (own, found) = (self.id(), source.id());
        if own == found { Ok(()) } else { Err(MergeError::OtherLedger { own, found }) }
    }

    /// How far the cut that this store starts from goes in the source: nothing of it is wanted.
    fn not_wanted_from(&self, from: &Snapshot<'_>) -> Result<Clock, MergeError> {
        let Some(floor) = &self.floor else { return Ok(Clock::new()) };
        let height = floor.height();
        // One that starts there, or later, has no more than the floor of that, which is held here if
        // anything can be taken.
        if from.ledger_handle().floor.as_ref().is_some_and(|start| start.height() >= height) {
            return Ok(Clock::new());
        }
        let behind = |error| match error {
            ReadError::NoSuchEvent(event) => MergeError::Behind { height, event },
            other => other.into(),
        };
        let clock = from.clock_of_heads(&floor.heads).map_err(behind)?;
        let frontier = from.frontier()?;
        match floor.heads.first().filter(|_| !clock.within(&frontier)) {
            Some(&event) => Err(MergeError::Behind { height, event }),
            None => Ok(clock),
        }
    }

    /// For each lane of the source, the first and the last position that is missing here.
    fn missing_from(&self, from: &Snapshot<'_>) -> Result<Vec<(u64, u64)>, MergeError> {
        let frontier = from.frontier()?;
        let not_wanted = self.not_wanted_from(from)?;
        let held = |dot: Dot| -> Result<bool, StorageError> {
            let id = EventId::of(Stored::read(from.reader(), dot)?.record()?.event);
            self.latest().has(Family::Ids, &id.0)
        };
        let mut missing = Vec::new();
        for (lane, info) in from.published().lanes.iter() {
            let last = frontier.seq(lane);
            let first = from.first_held(lane, info).0.max(not_wanted.seq(lane) + 1);
            // The source has nothing of what precedes its floor.
            if let Some(start) = &from.ledger_handle().floor
                && start.covers(Dot { lane, seq: Seq(first) })
                && !held(Dot { lane, seq: Seq(first) })?
            {
                return Err(MergeError::Source(Box::new(start.pruned())));
            }
            let (mut low, mut high) = (first, last + 1);
            // Who holds an event holds what precedes it: the first missing one is found by halving.
            if last >= first && held(Dot { lane, seq: Seq(last) })? {
                low = high;
            }
            while low < high {
                let middle = low.midpoint(high);
                if held(Dot { lane, seq: Seq(middle) })? { low = middle + 1 } else { high = middle }
            }
            missing.push((low, last.max(low.saturating_sub(1))));
        }
        Ok(missing)
    }

    pub(crate) fn sync_if_durable(&self) -> Result<(), StorageError> {
        match self.durability {
            crate::options::Durability::Immediate => self.sync(),
            crate::options::Durability::Relaxed => Ok(()),
        }
    }
}

impl Options {
    /// Makes a replica of `source` in `dir`, up to a cut, with a key of its own. It writes no
    /// event.
    ///
    /// # Errors
    /// Those of [`Options::create`] and [`Ledger::merge`]. What was made is removed again.
    pub fn clone_ledger(
        &self,
        dir: impl AsRef<Path>,
        source: &Ledger,
        cut: &Cut,
        progress: Progress<'_>,
    ) -> Result<(Ledger, MergeReport), OpenError> {
        let from = source.at(cut).map_err(MergeError::from)?;
        let genesis = Dot { lane: Lane(0), seq: Seq::FIRST };
        if !from.frontier()?.covers(genesis) {
            return Err(MergeError::NoGenesis.into());
        }
        self.build_filled(
            dir.as_ref(),
            |_, db| load::first_of(db, from.reader()),
            |ledger| Ok(ledger.merge_up_to(source, &from, MergeOptions::default(), progress)?),
        )
    }
}

type CheckedBatch<'t> = (Vec<Result<Checked, Refusal>>, BlockSink<'t>);

/// Reads the missing events of a source in an order that follows causality.
struct Reading<'s, 'l> {
    from: &'s Snapshot<'l>,
    missing: Vec<(u64, u64)>,
    walk: Option<(Walk<'s>, Walk<'s>)>,
    left: u64,
}

impl<'s> Reading<'s, '_> {
    /// The next events, as far as they pass by themselves, and the blocks that come with them.
    fn checked_batch<'t>(&mut self, to: &'t Ledger) -> Result<CheckedBatch<'t>, MergeError> {
        let mut blocks = BlockSink::new(to);
        let batch = self.batch(&mut blocks)?;
        Ok((check_all(batch), blocks))
    }

    fn batch(&mut self, to: &mut BlockSink<'_>) -> Result<Vec<Incoming>, MergeError> {
        let mut wanted = Vec::new();
        let (mut walk, mut openings) = match self.walk.take() {
            Some(walks) => walks,
            None if self.left == 0 => return Ok(Vec::new()),
            None => self.start()?,
        };
        while wanted.len() < BATCH && self.left > 0 {
            let damaged = || StorageError::damaged("the index by time");
            let Some((key, value)) = walk.item() else { break };
            let (_, lane) = schema::parse_order(key).ok_or_else(damaged)?;
            let seq = crate::record::Reader(value).number().ok_or_else(damaged)?;
            walk.next()?;
            let is_missing = self
                .missing
                .get(lane.0 as usize)
                .is_some_and(|(first, last)| (*first..=*last).contains(&seq));
            if is_missing {
                self.left -= 1;
                wanted.push(Dot { lane, seq: Seq(seq) });
            }
        }
        let mut stored = Stored::read_many(self.from.reader(), wanted.clone())?;
        let mut batch = Vec::with_capacity(wanted.len());
        for dot in wanted {
            let stored = stored.remove(&dot).ok_or_else(|| lookup::missing(dot))?;
            batch.push(self.read(dot, &stored, &mut openings, to)?);
        }
        self.walk = Some((walk, openings));
        Ok(batch)
    }

    /// Starts at the earliest missing event.
    fn start(&self) -> Result<(Walk<'s>, Walk<'s>), StorageError> {
        let from: &'s Snapshot<'_> = self.from;
        let mut earliest = None;
        for (lane, (first, last)) in (0..).map(Lane).zip(&self.missing) {
            if first <= last {
                let time = Stored::read(self.from.reader(), Dot { lane, seq: Seq(*first) })?
                    .record()?
                    .time;
                earliest =
                    Some(earliest.map_or(time, |least: quipu_merge::Micros| least.min(time)));
            }
        }
        let mut walk = from.reader().walk(Family::Order, &[])?;
        if let Some(time) = earliest {
            walk.seek(&schema::order_key(time, Lane(0)))?;
        }
        Ok((walk, from.reader().walk(Family::Openings, &[])?))
    }

    fn read(
        &self,
        dot: Dot,
        stored: &Stored<'_>,
        openings: &mut Walk<'_>,
        to: &mut BlockSink<'_>,
    ) -> Result<Incoming, MergeError> {
        let record = stored.record()?;
        if is_gone(record.body) {
            self.from.check_history().map_err(|why| MergeError::Source(Box::new(why)))?;
        }
        let openings = read_openings(self.from, openings, dot, usize::MAX)?;
        for (_, opening) in &openings {
            OtherReplica(self.from).copy_blocks(to, opening)?;
        }
        Ok(Incoming { event: record.event.to_vec(), body: Some(record.body.to_vec()), openings })
    }
}

/// The openings of an event that are at hand and not erased, up to `max_len` bytes. `walk` is a
/// cursor over all openings, which mostly stands where it is wanted: events are read in the order of
/// their lanes.
pub(crate) fn read_openings(
    from: &Snapshot<'_>,
    walk: &mut Walk<'_>,
    dot: Dot,
    max_len: usize,
) -> Result<Vec<(u16, Vec<u8>)>, StorageError> {
    let damaged = || StorageError::damaged("a stored opening");
    let author = from.published().lanes.get(dot.lane).ok_or_else(damaged)?.author;
    let prefix = schema::dot_key(dot);
    let (mut openings, mut left) = (Vec::new(), max_len);
    if walk.item().is_none_or(|(key, _)| !key.starts_with(&prefix)) {
        walk.seek(&prefix)?;
    }
    'pages: while let Some((key, page)) = walk.item()
        && key.starts_with(&prefix)
    {
        for (slot, stored) in opening::read_page(page).ok_or_else(damaged)? {
            if !from.is_erased(dot, slot)? {
                let opening = opening::unpack(author, stored).ok_or_else(damaged)?;
                let Some(after) = left.checked_sub(opening.len()) else { break 'pages };
                left = after;
                openings.push((slot, opening));
            }
        }
        walk.next()?;
    }
    openings.sort_unstable_by_key(|(slot, _)| *slot);
    Ok(openings)
}

/// Another replica, to have values from.
pub(crate) struct OtherReplica<'s, 'l>(pub &'s Snapshot<'l>);

impl ValueSource for OtherReplica<'_, '_> {
    fn body(&mut self, event: EventId, id: BodyId) -> Result<Option<Vec<u8>>, MergeError> {
        let Some(dot) = lookup::dot_of(self.0.reader(), event)? else { return Ok(None) };
        let body = Stored::read(self.0.reader(), dot)?.record()?.body.to_vec();
        Ok(Some(body).filter(|body| BodyId::of(body) == id))
    }

    fn opening(
        &mut self,
        event: EventId,
        slot: u16,
        id: OpeningId,
    ) -> Result<Option<Vec<u8>>, MergeError> {
        let Self(from) = self;
        let Some(dot) = lookup::dot_of(from.reader(), event)? else { return Ok(None) };
        if from.is_erased(dot, slot)? {
            return Ok(None);
        }
        let found = from.opening_at(dot, slot)?;
        Ok(found.filter(|opening| OpeningId::of(opening) == id))
    }

    fn copy_blocks(&mut self, to: &mut BlockSink<'_>, opening: &[u8]) -> Result<(), MergeError> {
        let Some(link) = blocks::link_of(opening) else { return Ok(()) };
        to.copy(link, |id| Ok(blocks::read(self.0.reader(), id)?))
    }
}
