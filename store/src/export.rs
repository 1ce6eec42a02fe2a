//! Writing a cut as a CAR file.

use std::collections::BTreeSet;
use std::io::{self, Write};

use quipu_merge::{BlockId, CarError, CarFault, CarWriter, Clock, Cut, Dot};

use crate::blocks;
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
    /// values at hand. What is erased is left out. Each event comes after those that it follows.
    ///
    /// # Errors
    /// [`ExportError`]; what has been written to `output` is no whole file then.
    pub fn export(
        &self,
        output: impl Write,
        cut: &Cut,
        since: Option<&Cut>,
        progress: Progress<'_>,
    ) -> Result<ExportReport, ExportError> {
        let snapshot = self.at(cut)?;
        let known = match since {
            Some(since) => self.at(since)?.frontier()?,
            None => Clock::new(),
        };
        let heads: Vec<_> = snapshot.heads()?.into_iter().map(BlockId::from).collect();
        let mut file = Output {
            car: CarWriter::new(output, &heads)?,
            report: ExportReport::default(),
            long: BTreeSet::new(),
        };
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
        progress(total, total);
        file.car.finish()?.flush().map_err(ExportError::Output)?;
        Ok(file.report)
    }
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

    fn block(&mut self, id: BlockId, bytes: &[u8]) -> Result<(), ExportError> {
        self.car.block(id, bytes)?;
        self.report.blocks += 1;
        Ok(())
    }
}
