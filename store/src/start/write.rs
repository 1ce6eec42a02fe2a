//! Writing a start file from a whole store.

use std::collections::BTreeSet;
use std::io::Write;

use quipu_merge::{
    Act, Checkpoint, Clock, Dot, EventId, Height, Lane, LogTree, ProofStart, Seq, prove_inclusion,
};

use super::format::{
    GenesisRecord, LaneRecord, ListedRecord, LogEvent, StepRecord, Totals, put_peaks,
};
use super::frames::{FrameWriter, Tag};
use super::lanes::CutLanes;
use super::write_state::StateWriter;
use super::{StartError, StartInfo};
use crate::bodies::is_gone;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::snapshot::Snapshot;

impl Ledger {
    /// Writes a file that another replica can start from, with [`crate::Options::start_from`]: the state of
    /// the last checkpoint that counts, and what else that takes. It is of one instant; others may write
    /// meanwhile. Memory grows with the branches of authors, the events with control operations and the
    /// largest set; time with the keys of the state besides.
    ///
    /// # Errors
    /// [`StartError::NothingCertified`], [`StartError::Shallow`], [`StartError::Output`], and errors of
    /// the database. Nothing has changed here.
    pub fn write_start(&self, out: &mut dyn Write) -> Result<StartInfo, StartError> {
        if let Some(shallow) = self.shallow() {
            return Err(StartError::Shallow(shallow.height));
        }
        let snapshot = self.snapshot()?.at_final().ok_or(StartError::NothingCertified)?;
        Source::of(&snapshot)?.write(out)
    }
}

/// What a file is written from.
pub struct Source<'s> {
    pub snapshot: &'s Snapshot<'s>,
    pub lanes: CutLanes,
    /// The events that come before the state, by their names in the cut.
    pub special: BTreeSet<Dot>,
    checkpoint: Checkpoint,
    heights: Height,
}

impl<'s> Source<'s> {
    fn of(snapshot: &'s Snapshot<'s>) -> Result<Self, StartError> {
        let finality = &snapshot.published().finality;
        let height = snapshot.certified_height().ok_or(StartError::NothingCertified)?;
        let certified = snapshot.checkpoint(height)?.ok_or(StartError::NothingCertified)?;
        let lanes = CutLanes::new(&snapshot.published().lanes, finality.cuts.latest());
        let genesis = Dot { lane: Lane(0), seq: Seq::FIRST };
        let special = BTreeSet::from([genesis]);
        let checkpoint = certified.checkpoint;
        Ok(Self { snapshot, lanes, special, checkpoint, heights: height })
    }

    fn write(mut self, out: &mut dyn Write) -> Result<StartInfo, StartError> {
        let mut frames = FrameWriter::begin(out)?;
        let checkpoint = self.write_chain(&mut frames)?;
        self.write_lanes(&mut frames)?;
        self.write_listed(&mut frames)?;
        let log = LogTree::resume(self.checkpoint.size, &self.snapshot.log_hashes());
        let log = log.map_err(|_| StorageError::damaged("the certified log"))?;
        frames.frame(Tag::Peaks, &put_peaks(log.peaks()))?;
        let special = self.special.len() as u64;
        let (keys, events) = StateWriter::new(&self, &mut frames).write()?;
        let totals = Totals { keys, events: special + events };
        let len = frames.end(&totals.encode())?;
        let (height, events) = (self.heights, self.checkpoint.size);
        Ok(StartInfo { height, checkpoint, events, keys, len })
    }

    /// Writes genesis and the chain of checkpoints.
    fn write_chain(
        &self,
        frames: &mut FrameWriter<'_>,
    ) -> Result<quipu_merge::CheckpointId, StartError> {
        let (start, steps) = self.snapshot.steps_to(self.heights)?;
        let ProofStart::Genesis { event, body } = start else {
            return Err(StorageError::damaged("the first event").into());
        };
        frames.frame(Tag::Genesis, &GenesisRecord { event, body }.encode())?;
        let mut last = None;
        for step in steps {
            let height = step.checkpoint.height;
            let missing = || StorageError::damaged(format!("the cut of checkpoint {height}"));
            let cut = self.snapshot.checkpoint_cut(height)?.ok_or_else(missing)?;
            last = Some(step.certificate.checkpoint);
            frames.frame(Tag::Step, &StepRecord { step, cut }.encode()?)?;
        }
        last.ok_or(StartError::NothingCertified)
    }

    fn write_lanes(&mut self, frames: &mut FrameWriter<'_>) -> Result<(), StartError> {
        let mut tips = Vec::new();
        for (lane, of_cut) in self.lanes.iter() {
            let Some(tip) = of_cut.tip() else { continue };
            let number = |dot: Dot| {
                let dot = self.lanes.source(dot);
                dot.map_or(0, |dot| self.snapshot.number_of(dot))
            };
            let forks = (self.lanes.count_of(of_cut.author) > 1).then(|| {
                let after = of_cut.leaves.map(|dot| Dot { lane: dot.lane, seq: dot.seq.next() });
                (number(Dot { lane, seq: of_cut.first() }), after.map(number))
            });
            let leaves = of_cut.leaves;
            let record = LaneRecord { leaves, forks, tip: self.log_event(tip)? };
            frames.frame(Tag::Lane, &record.encode())?;
            tips.push(Dot { lane, seq: tip.seq });
        }
        self.special.extend(tips);
        Ok(())
    }

    /// Writes the events with control operations, genesis aside, and those that they redact.
    fn write_listed(&mut self, frames: &mut FrameWriter<'_>) -> Result<(), StartError> {
        let authority = self.snapshot.published().authority.clone();
        let mut redacted = BTreeSet::new();
        for control in authority.events() {
            let Some(dot) = self.lanes.dot(control.dot) else { continue };
            if !self.snapshot.is_certified(control.dot) || control.dot == authority.genesis_dot() {
                continue;
            }
            let record = self.listed(dot, control.dot, Some(&control.clock))?;
            frames.frame(Tag::Control, &record.encode())?;
            self.special.insert(dot);
            redacted.extend(control.acts.iter().filter_map(|act| match act {
                Act::Redact { dot, .. } => Some(*dot),
                _ => None,
            }));
        }
        let controls: BTreeSet<_> = authority.events().iter().map(|control| control.dot).collect();
        for source in redacted.difference(&controls) {
            let Some(dot) = self.lanes.dot(*source) else { continue };
            let record = self.listed(dot, *source, None)?;
            frames.frame(Tag::Redacted, &record.encode())?;
            self.special.insert(dot);
        }
        Ok(())
    }

    fn listed(
        &self,
        dot: Dot,
        source: Dot,
        clock: Option<&Clock>,
    ) -> Result<ListedRecord, StartError> {
        let stored = Stored::read(self.snapshot.reader(), source)?;
        let body = stored.record()?.body;
        let body = if is_gone(body) { Vec::new() } else { body.to_vec() };
        let clock = clock.map(|clock| self.lanes.clock(clock).iter().collect());
        Ok(ListedRecord {
            dot,
            event: self.log_event(source)?,
            body,
            clock: clock.unwrap_or_default(),
        })
    }

    /// An event of the log with what shows it, by its name at the source.
    fn log_event(&self, source: Dot) -> Result<LogEvent, StartError> {
        let damaged = || StorageError::damaged("the certified log");
        let event = Stored::read(self.snapshot.reader(), source)?.record()?.event.to_vec();
        let id = EventId::of(&event);
        let index = self.snapshot.index_of(source, id)?.ok_or_else(damaged)?;
        let path = prove_inclusion(self.checkpoint.size, index, &self.snapshot.log_hashes());
        Ok(LogEvent {
            event,
            number: self.snapshot.number_of(source),
            void: self.snapshot.is_void(source)?,
            index,
            path: path.map_err(|_| damaged())?,
        })
    }
}
