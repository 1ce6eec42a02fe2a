//! Writing a cut as a CAR file.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::ops::RangeInclusive;

use quipu_merge::{
    BlockId, CarError, CarFault, CarWriter, Clock, Codec, Cut, Dot, Height, MAX_CAR_ROOTS,
};

use crate::blocks;
use crate::bodies::is_gone;
use crate::certify::{Part, records};
use crate::db::Walk;
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::merge::{Progress, read_openings};
use crate::schema::Family;
use crate::snapshot::Snapshot;

/// What an export has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// How many events.
    pub events: u64,
    /// How many blocks, events included.
    pub blocks: u64,
    /// How many certified checkpoints.
    pub checkpoints: u64,
    /// How many more of them there are than one file can name.
    pub left_out: u64,
}

/// A cut cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Where it goes does not take it.
    #[error("the file cannot be written: {0}")]
    Output(#[source] io::Error),
    /// What is to be exported cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<StorageError> for ExportError {
    fn from(error: StorageError) -> Self {
        Self::Read(error.into())
    }
}

impl From<CarError> for ExportError {
    fn from(error: CarError) -> Self {
        match error.fault {
            CarFault::Io(error) => Self::Output(error),
            other => Self::Output(io::Error::other(other.to_string())),
        }
    }
}

impl Ledger {
    /// Writes the events of a cut to `output`, without those of `since`, with their bodies and the
    /// values at hand. What is erased is left out. Each event comes after those that it follows. The
    /// certified checkpoints within the cut come along, without those within `since`; the first of
    /// them where there are more than a file can name.
    ///
    /// # Errors
    /// [`ExportError`], with [`ReadError::Pruned`] where an event has lost its body here, or the store starts
    /// from a checkpoint and no `since` contains that; what has been written to `output` is no whole file then.
    pub fn export(
        &self,
        output: impl Write,
        cut: &Cut,
        since: Option<&Cut>,
        progress: Progress<'_>,
    ) -> Result<ExportReport, ExportError> {
        let snapshot = self.at(cut)?;
        let (known, known_height) = match since {
            Some(since) => {
                let since = self.at(since)?;
                (since.frontier()?, since.certified_within()?)
            }
            None => match &self.floor {
                Some(floor) => return Err(floor.pruned().into()),
                None => (Clock::new(), None),
            },
        };
        let mut roots: Vec<_> = snapshot.heads()?.into_iter().map(BlockId::from).collect();
        let room = MAX_CAR_ROOTS.saturating_sub(roots.len());
        let certified = Certified::between(&snapshot, known_height, room)?;
        roots.extend(&certified.roots);
        let report = ExportReport { left_out: certified.left_out, ..ExportReport::default() };
        let mut file =
            Output { car: CarWriter::new(output, &roots)?, report, long: BTreeSet::new() };
        let total = snapshot.len()?;
        let mut openings = snapshot.reader().walk(Family::Openings, &[])?;
        let mut done = 0;
        let frontier = snapshot.frontier()?;
        snapshot.for_each_within(&frontier, |dot, stored| {
            if !known.covers(dot) {
                file.event(&snapshot, &mut openings, dot, stored)?;
            }
            done += 1;
            if done % 1024 == 0 {
                progress(done, total);
            }
            Ok::<_, ExportError>(())
        })?;
        file.checkpoints(&snapshot, &certified)?;
        progress(total, total);
        file.car.finish()?.flush().map_err(ExportError::Output)?;
        Ok(file.report)
    }
}

/// Which certified checkpoints go into a file.
struct Certified {
    /// Their heights.
    heights: RangeInclusive<u64>,
    /// Their certificates.
    roots: Vec<BlockId>,
    left_out: u64,
}

impl Certified {
    /// Those within a snapshot after a height, at most so many of them.
    fn between(
        snapshot: &Snapshot<'_>,
        after: Option<Height>,
        limit: usize,
    ) -> Result<Self, ReadError> {
        let first = after.map_or(0, |after| after.0) + 1;
        let last = snapshot.certified_within()?.map_or(0, |last| last.0);
        let end = last.min((first - 1).saturating_add(limit as u64));
        let mut roots = Vec::new();
        for height in first..=end {
            roots.push(certificate(snapshot, Height(height))?.0);
        }
        Ok(Self { heights: first..=end, roots, left_out: last.saturating_sub(end.max(first - 1)) })
    }
}

/// The certificate of a height, with its id as a block.
fn certificate(
    snapshot: &Snapshot<'_>,
    height: Height,
) -> Result<(BlockId, Vec<u8>), StorageError> {
    let bytes = records::bytes(snapshot.reader(), height, Part::Certificate)?;
    Ok((BlockId::of(Codec::DagCbor, &bytes), bytes))
}

struct Output<W: Write> {
    car: CarWriter<W>,
    report: ExportReport,
    /// The blocks of long values that are in the file.
    long: BTreeSet<BlockId>,
}

impl<W: Write> Output<W> {
    fn event(
        &mut self,
        snapshot: &Snapshot<'_>,
        openings: &mut Walk<'_>,
        dot: Dot,
        stored: &Stored<'_>,
    ) -> Result<(), ExportError> {
        let record = stored.record()?;
        let event = stored.event()?;
        if is_gone(record.body) {
            snapshot.check_history()?;
        }
        self.block(event.id().into(), record.event)?;
        self.block(event.event().body.into(), record.body)?;
        self.report.events += 1;
        for (_, opening) in read_openings(snapshot, openings, dot, usize::MAX)? {
            self.block(quipu_merge::OpeningId::of(&opening).into(), &opening)?;
            let Some(link) = blocks::link_of(&opening) else { continue };
            blocks::for_each(link, |id| {
                if !self.long.insert(id) {
                    return Ok(None);
                }
                let found = blocks::read(snapshot.reader(), id)?;
                if let Some(bytes) = &found {
                    self.block(id, bytes)?;
                }
                Ok::<_, ExportError>(found)
            })?;
        }
        Ok(())
    }

    fn checkpoints(
        &mut self,
        snapshot: &Snapshot<'_>,
        certified: &Certified,
    ) -> Result<(), ExportError> {
        let mut named = None;
        for height in certified.heights.clone().map(Height) {
            let (id, bytes) = certificate(snapshot, height)?;
            self.block(id, &bytes)?;
            for part in [Part::Header, Part::Cut, Part::Validators] {
                let bytes = records::bytes(snapshot.reader(), height, part)?;
                let id = BlockId::of(Codec::DagCbor, &bytes);
                // The validators are mostly those that the checkpoint before named.
                if part != Part::Validators || named.replace(id) != Some(id) {
                    self.block(id, &bytes)?;
                }
            }
            self.report.checkpoints += 1;
        }
        Ok(())
    }

    fn block(&mut self, id: BlockId, bytes: &[u8]) -> Result<(), ExportError> {
        self.car.block(id, bytes)?;
        self.report.blocks += 1;
        Ok(())
    }
}
