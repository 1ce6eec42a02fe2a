//! The raw events: encodings, hashes, signatures and bodies; and beside them places, openings and
//! indexes.

use quipu_merge::{Dot, Lanes, Refusal};

use super::branches::Branches;
use super::values::Values;
use super::{Check, at, hex, indexes};
use crate::bodies::{Kept, is_gone};
use crate::error::StorageError;
use crate::incoming::{Checked, Incoming, check_all};
use crate::ingest::BATCH;
use crate::record::EventRecord;
use crate::schema::{self, Family};

/// Checks each event by itself, and tells what the branches are by the events alone.
pub fn check(check: &mut Check<'_, '_, '_>) -> Result<Lanes, StorageError> {
    let values = Values::begin(check)?;
    let mut raw = Raw { batch: Vec::new(), branches: Branches::default(), values };
    check.report.events = check.each(Family::Events, &[], |check, key, value| {
        let Some(dot) = schema::parse_dot(key) else {
            check.find(format!("the key {} of an event", hex(key)));
            return Ok(());
        };
        let record = EventRecord::decode(value);
        let event = record.map(|r| Event {
            gone: is_gone(r.body).then(|| Kept::decode(r.body)),
            incoming: Incoming {
                event: r.event.to_vec(),
                body: (!is_gone(r.body)).then(|| r.body.to_vec()),
                openings: Vec::new(),
            },
        });
        raw.batch.push((dot, event));
        if raw.batch.len() >= BATCH { raw.settle(check) } else { Ok(()) }
    })?;
    raw.settle(check)?;
    let Raw { branches, values, .. } = raw;
    values.finish(check)?;
    indexes::check(check, check.report.events)?;
    branches.finish(check)
}

/// A raw event.
struct Event {
    /// The event, with its body unless that is gone.
    incoming: Incoming,
    /// What stands in the place of a body that is gone.
    gone: Option<Option<Kept>>,
}

/// The walk over the raw events.
struct Raw<'s> {
    batch: Vec<(Dot, Option<Event>)>,
    branches: Branches,
    values: Values<'s>,
}

impl Raw<'_> {
    /// Checks the events of a batch, their signatures on all cores.
    fn settle(&mut self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        let batch = std::mem::take(&mut self.batch);
        let (mut places, mut incoming) = (Vec::new(), Vec::new());
        for (dot, event) in batch {
            places.push((dot, event.as_ref().map(|event| event.gone.clone())));
            incoming.extend(event.map(|event| event.incoming));
        }
        let mut checked = check_all(incoming).into_iter();
        for (dot, gone) in places {
            check.step();
            let found = if gone.is_some() { checked.next() } else { None };
            self.event(check, dot, found, gone.flatten())?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        found: Option<Result<Checked, Refusal>>,
        gone: Option<Option<Kept>>,
    ) -> Result<(), StorageError> {
        let checked = match found {
            Some(Ok(checked)) => Some(checked),
            Some(Err(refusal)) => {
                check.find(format!("{}: {refusal}", at(dot)));
                None
            }
            None => {
                check.find(format!("{}: its record cannot be read", at(dot)));
                None
            }
        };
        self.branches.place(check, dot, checked.as_ref())?;
        let mut values = None;
        if let Some(checked) = checked {
            indexes::check_event(check, dot, &checked)?;
            let author = checked.event.event().author;
            match (checked.body, gone) {
                (Some(Ok(body)), _) => values = Some((author, Kept::Whole(body).values())),
                (Some(Err(refusal)), _) => check.find(refusal.to_string()),
                (None, Some(Some(left))) => {
                    if check.gone.as_ref().is_none_or(|(_, cut)| !cut.covers(dot)) {
                        check.find(format!("{}: its body is gone, and may not be", at(dot)));
                    }
                    values = Some((author, left.values()));
                }
                (None, _) => check.find(format!("{}: it has no body", at(dot))),
            }
        }
        self.values.check_event(check, dot, values)
    }
}
