//! Telling what collecting would delete.

use std::time::{Duration, Instant};

use super::GcReport;
use super::fate::{Fate, fate};
use super::find::edges_of;
use crate::blocks::Cascade;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::pace::{Pace, step};

impl Ledger {
    /// Tells what collecting would delete. A block goes where all that refers to it goes.
    pub(super) fn gc_preview(
        &self,
        grace: Duration,
        progress: &mut dyn Pace,
    ) -> Result<GcReport, StorageError> {
        let start = Instant::now();
        let disk = self.db.table_bytes()?;
        let mut report = GcReport { disk_before: disk, disk_after: disk, ..GcReport::default() };
        let mut cascade = Cascade::new(self.latest());
        let mut after = 0;
        loop {
            step(progress, cascade.blocks, 0)?;
            let marked = self.marked_after(&mut after)?;
            if marked.is_empty() {
                break;
            }
            let mut edges = edges_of(self.latest(), &marked)?;
            for (number, garbage) in marked {
                let leased = |id| self.blocks.lock().is_leased(id);
                match fate(edges.held(number)?, &garbage, grace, leased(garbage.id)) {
                    Fate::Referred => {}
                    Fate::Young => report.young += 1,
                    Fate::InUse => report.in_use += 1,
                    Fate::Goes { .. } => {
                        cascade.take(number, garbage.id, garbage.is_erased(), leased)?;
                    }
                }
            }
        }
        (report.blocks, report.bytes) = (cascade.blocks, cascade.bytes);
        report.unpinned = cascade.unpinned;
        report.purged = self.erasures()?.events.len() as u64;
        report.collecting = start.elapsed();
        Ok(report)
    }
}
