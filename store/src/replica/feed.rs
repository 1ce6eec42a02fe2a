//! Runs through events that a peer wants, in portions.

use std::collections::VecDeque;

use quipu_merge::Dot;

use super::Want;
use super::ranges::Ranges;
use crate::error::ReadError;
use crate::incoming::Incoming;
use crate::ingest::BATCH;
use crate::ledger::Ledger;
use crate::lookup::{self, Stored};
use crate::schema::Family;

/// So many events are read at once at most.
const AT_ONCE: usize = 128;

/// A run through wanted events, in an order that follows causality.
///
/// It holds positions, not events, and nothing of the database between two portions: it may be kept
/// for as long as a peer takes. Its memory grows with the branches of which something is wanted, not
/// with the events.
#[derive(Debug)]
pub struct Feed {
    ranges: Ranges,
    /// The next ones, where they have been found already.
    next: VecDeque<Dot>,
}

/// Some events of a feed.
#[derive(Clone, Debug, Default)]
pub struct Portion {
    /// The events, with openings and bodies, except those that have been pruned.
    pub events: Vec<Incoming>,
    /// Whether they are the last.
    pub last: bool,
}

impl Ledger {
    /// Starts a run through all events that precede one of `up_to` on its author's chain, or are it,
    /// and neither precede one of `held` there nor are it. Events that are not held here are passed
    /// over. What comes later does not come in.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn feed(&self, wants: &[Want]) -> Result<Feed, ReadError> {
        Ok(Feed { ranges: Ranges::new(&self.snapshot()?, wants)?, next: VecDeque::new() })
    }
}

impl Feed {
    /// How many events are left.
    pub fn left(&self) -> u64 {
        self.ranges.left() + self.next.len() as u64
    }

    /// The next events of a run that `ledger` started, with their openings as
    /// [`Ledger::events`] has them: up to `max_len` bytes, or one event. Values that have been erased
    /// by now are left out.
    ///
    /// # Errors
    /// The disk, the database or its content. What this portion was to hold is not sent then: a new
    /// run has to be started.
    pub fn read(&mut self, ledger: &Ledger, max_len: usize) -> Result<Portion, ReadError> {
        let snapshot = ledger.snapshot()?;
        let reader = snapshot.reader();
        let mut openings = reader.walk(Family::Openings, &[])?;
        let (mut events, mut len, mut at_once) = (Vec::new(), 0, 2);
        loop {
            if self.next.is_empty() {
                self.next.extend(self.ranges.take(reader, BATCH)?);
            }
            let dots: Vec<_> = self.next.iter().take(at_once).copied().collect();
            if dots.is_empty() {
                return Ok(Portion { events, last: true });
            }
            let mut stored = Stored::read_many(reader, dots.clone())?;
            for dot in dots {
                let stored = stored.remove(&dot).ok_or_else(|| lookup::missing(dot))?;
                let event = snapshot.travelling(dot, &stored, &mut openings)?;
                len += event.len();
                if len > max_len && !events.is_empty() {
                    return Ok(Portion { events, last: false });
                }
                events.push(event);
                self.next.pop_front();
            }
            // The last ones read are too many: the fewer, the fewer have come so far.
            at_once = (at_once * 2).min(AT_ONCE);
        }
    }
}
