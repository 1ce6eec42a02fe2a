//! The total order: the certified log, and after it what is not certified, by time.

use quipu_merge::{CutNumber, Dot, EventId, Height, Lane, Micros, Seq};

use super::finality::height_of;
use super::records;
use crate::error::{ReadError, StorageError};
use crate::extent::Extent;
use crate::lookup::Stored;
use crate::snapshot::Snapshot;

impl Snapshot<'_> {
    /// The number of the first certified cut that holds an event.
    pub(crate) fn number_of(&self, dot: Dot) -> CutNumber {
        self.published().finality.cuts.number(dot)
    }

    /// The height of the first certified cut that holds an event.
    pub(crate) fn height_of(&self, dot: Dot) -> Option<Height> {
        self.is_certified(dot).then(|| height_of(self.number_of(dot)))
    }

    /// Whether an event is certified.
    pub(crate) fn is_certified(&self, dot: Dot) -> bool {
        self.published().finality.cuts.covers(dot)
    }

    /// Where an event stands in the certified log.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where a shallow store starts beyond.
    pub(crate) fn index_of(&self, dot: Dot, id: EventId) -> Result<Option<u64>, ReadError> {
        if !self.is_certified(dot) {
            return Ok(None);
        }
        if let Some(floor) = self.ledger_handle().floor.as_ref().filter(|f| f.covers(dot)) {
            return Err(floor.pruned());
        }
        let number = self.number_of(dot);
        let (mut low, mut high) = (self.size_before(number)?, self.size_before(number + 1)?);
        let damaged = || StorageError::damaged("the certified log");
        let place = (Stored::read(self.reader(), dot)?.record()?.time, id);
        // The events of one cut stand by time and id.
        while low < high {
            let middle = low.midpoint(high);
            let at = self.log_dot(middle)?.ok_or_else(damaged)?;
            if at == dot {
                return Ok(Some(middle));
            }
            let stored = Stored::read(self.reader(), at)?;
            let record = stored.record()?;
            if (record.time, EventId::of(record.event)) < place {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Err(damaged().into())
    }

    /// How many events the certified cuts before the one with this number hold.
    fn size_before(&self, number: CutNumber) -> Result<u64, StorageError> {
        let finality = &self.published().finality;
        match number {
            0 => Ok(0),
            number if number == finality.cuts.len() => Ok(finality.chain.size()),
            number => Ok(records::checkpoint(self.reader(), height_of(number - 1))?.size),
        }
    }

    /// How far the certified log goes before nothing of it is in the cut any more.
    pub(crate) fn log_end(&self) -> Result<u64, StorageError> {
        let finality = &self.published().finality;
        if finality.cuts.is_empty() || matches!(self.extent(), Extent::Everything) {
            return Ok(finality.chain.size());
        }
        let mut last = None;
        for dot in self.frontier()?.iter() {
            let seq = dot.seq.0.min(finality.cuts.latest().seq(dot.lane));
            if seq > 0 {
                let number = finality.cuts.number(Dot { lane: dot.lane, seq: Seq(seq) });
                last = last.max(Some(number));
            }
        }
        last.map_or(Ok(0), |last| self.size_before(last.saturating_add(1)))
    }

    /// A time before which no event of the cut lies that is not certified; none where all are.
    pub(crate) fn least_uncertified(&self) -> Result<Option<Micros>, StorageError> {
        let certified = &self.published().finality.cuts;
        if certified.is_empty() {
            return Ok(Some(Micros(0)));
        }
        let mut least = None::<Micros>;
        for last in self.frontier()?.iter() {
            if let Some(first) = self.first_uncertified(last.lane).filter(|first| *first <= last) {
                let time = Stored::read(self.reader(), first)?.record()?.time;
                least = Some(least.map_or(time, |least| least.min(time)));
            }
        }
        Ok(least)
    }

    /// The first event of a lane that is not certified, if there is one.
    fn first_uncertified(&self, lane: Lane) -> Option<Dot> {
        let first = self.published().lanes.get(lane)?.first();
        let certified = Seq(self.published().finality.cuts.latest().seq(lane));
        Some(Dot { lane, seq: first.max(certified.next()) })
    }
}
