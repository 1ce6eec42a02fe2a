//! What is held when all has been read, looked at as a whole: positions and times along the branches.

use quipu_merge::{CutNumber, Dot, EventId, Micros, ParsedEvent};

use super::super::StartError;
use super::Build;
use crate::certify::boundary;
use crate::error::StorageError;
use crate::record::EventRecord;
use crate::schema::{self, Family, certified};

/// The event before on a branch.
struct Before {
    dot: Dot,
    time: Micros,
    event: Vec<u8>,
}

impl Build<'_> {
    /// Checks what can be seen only of all events together.
    pub fn check_held(&mut self) -> Result<(), StartError> {
        self.check_branches()?;
        self.check_numbers()
    }

    /// Times ascend along a branch, and an event follows the one right before it.
    fn check_branches(&self) -> Result<(), StartError> {
        let damaged = || StorageError::damaged("an event");
        let reader = self.out.db.latest();
        let mut before: Option<Before> = None;
        let mut walk = reader.walk(Family::Events, &[])?;
        walk.first()?;
        while let Some((key, record)) = walk.item() {
            let dot = schema::parse_dot(key).ok_or_else(damaged)?;
            let record = EventRecord::decode(record).ok_or_else(damaged)?;
            let on_lane = before.as_ref().filter(|before| before.dot.lane == dot.lane);
            let leaves = self.lane(dot)?;
            let (first, leaves) = (leaves.first(), leaves.leaves);
            let mut prev = None;
            if let Some(before) = on_lane {
                if before.time >= record.time {
                    return Err(out_of_order(record.event));
                }
                if before.dot.seq.next() == dot.seq {
                    prev = Some(Some(EventId::of(&before.event)));
                }
            } else if dot.seq == first {
                prev = match leaves {
                    None => Some(None),
                    Some(leaves) => {
                        let left = crate::lookup::Stored::find(reader, leaves)?;
                        let left = left
                            .map(|left| Ok::<_, StorageError>(EventId::of(left.record()?.event)));
                        left.transpose()?.map(Some)
                    }
                };
            }
            if let Some(prev) = prev {
                let event = ParsedEvent::decode(record.event)?;
                if event.event().prev != prev {
                    return Err(out_of_order(record.event));
                }
            }
            before = Some(Before { dot, time: record.time, event: record.event.to_vec() });
            walk.next()?;
        }
        Ok(())
    }

    /// The numbers of cuts ascend along a branch. Those that say nothing that the next does not are left
    /// out.
    fn check_numbers(&mut self) -> Result<(), StartError> {
        let mut before: Option<(Dot, CutNumber)> = None;
        let mut walk = self.out.db.latest().walk(Family::Final, &[certified::BOUNDARY])?;
        walk.first()?;
        while let Some((key, record)) = walk.item() {
            let (dot, number) = boundary(key, record)?;
            if let Some((last, before)) = before.filter(|(last, _)| last.lane == dot.lane) {
                if before > number {
                    return Err(StartError::contradiction("the numbers of cuts do not ascend"));
                }
                if before == number {
                    self.out.delete(Family::Final, &certified::boundary(last))?;
                }
            }
            before = Some((dot, number));
            walk.next()?;
        }
        Ok(())
    }
}

fn out_of_order(event: &[u8]) -> StartError {
    let id = EventId::of(event);
    StartError::contradiction(format!("event {id} does not follow what is before it on its branch"))
}
