//! Values that did not come along with their events: what is lacking, handing out, taking in.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use quipu_merge::EventId;
use quipu_proto::{Answer, Item, Ticket, ValuePlace};
use quipu_store::{Lacks, MAX_OPENINGS_LEN, MissingValue, ReadError, StorageError, ValueSink};

use super::{Counts, Shared};

/// Something to do with values.
#[derive(Debug)]
pub enum Valuing {
    Lacking(Ticket, Option<ValuePlace>, usize),
    Provide(Ticket, Item),
    Take(Ticket, Item, Vec<u8>),
    Want(Wanted),
}

/// Values that somebody reads.
#[derive(Debug)]
pub struct Wanted(pub Vec<(EventId, u16)>);

/// So many values are taken in together, where so many wait.
const AT_ONCE: usize = 32;
/// A sink remembers a few bytes of each block: after so many blocks, or when nothing comes, it is made
/// anew.
const PER_SINK: usize = 1 << 16;
const IDLE: Duration = Duration::from_secs(5);
/// So many values that are read are remembered; the oldest are read anew by whoever still waits.
const MAX_WANTED: usize = 4096;
/// So many values are looked at before the thread does something else.
const LISTED: usize = 1024;

/// Values in and out until nothing more is asked for.
pub fn run(shared: &Shared, valuings: &Receiver<Valuing>, only: Option<Vec<String>>) {
    let mut values = Values { shared, only, wanted: BTreeSet::new() };
    let mut sink = None;
    let mut next = None;
    loop {
        let valuing = match next.take() {
            Some(valuing) => valuing,
            None => match valuings.recv_timeout(IDLE) {
                Ok(valuing) => valuing,
                Err(RecvTimeoutError::Timeout) => {
                    sink = None;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            },
        };
        if shared.is_stopping() {
            return;
        }
        match valuing {
            Valuing::Lacking(ticket, after, limit) => values.list(ticket, after, limit),
            Valuing::Provide(ticket, item) => values.provide(ticket, item),
            Valuing::Want(Wanted(wanted)) => values.want(wanted),
            Valuing::Take(ticket, item, bytes) => {
                let mut taken = vec![(ticket, item, bytes)];
                while taken.len() < AT_ONCE && next.is_none() {
                    match valuings.try_recv() {
                        Ok(Valuing::Take(ticket, item, bytes)) => taken.push((ticket, item, bytes)),
                        Ok(other) => next = Some(other),
                        Err(_) => break,
                    }
                }
                let (current, count) = sink.get_or_insert_with(|| (shared.ledger.value_sink(), 0));
                *count += taken.len();
                let full = *count >= PER_SINK;
                values.take(current, taken);
                if full {
                    sink = None;
                }
            }
        }
    }
}

struct Values<'s> {
    shared: &'s Shared,
    /// Only blocks of values below these keys are wanted; of all, unless set.
    only: Option<Vec<String>>,
    /// Values that are wanted although they are not below them.
    wanted: BTreeSet<(EventId, u16)>,
}

impl Values<'_> {
    fn want(&mut self, wanted: Vec<(EventId, u16)>) {
        for value in wanted {
            if self.wanted.len() >= MAX_WANTED {
                self.wanted.pop_first();
            }
            self.wanted.insert(value);
        }
    }

    fn list(&self, ticket: Ticket, after: Option<ValuePlace>, limit: usize) {
        let answer = self.lacking(after, limit).unwrap_or_else(|error| {
            self.shared.failed("list missing values", &error);
            Answer::Failed
        });
        self.shared.answer(ticket, answer);
    }

    fn lacking(&self, after: Option<ValuePlace>, limit: usize) -> Result<Answer, ReadError> {
        let (mut items, mut next) = (Vec::new(), after);
        while items.len() < limit {
            let place = next.map(|place| (place.event, place.slot));
            let missing = self.shared.ledger.missing_values(place, LISTED)?;
            let mut more = missing.len() == LISTED;
            for value in missing {
                if items.len() >= limit {
                    more = true;
                    break;
                }
                next = Some(ValuePlace { event: value.event, slot: value.slot });
                if self.is_wanted(&value) {
                    add_items(&value, &mut items);
                }
            }
            if !more {
                next = None;
                break;
            }
        }
        Ok(Answer::Lacking { items, next })
    }

    fn is_wanted(&self, value: &MissingValue) -> bool {
        let Some(only) = &self.only else { return true };
        matches!(value.lacks, Lacks::Opening(_))
            || only.iter().any(|prefix| value.key.as_str().starts_with(prefix))
            || self.wanted.contains(&(value.event, value.slot))
    }

    fn provide(&self, ticket: Ticket, item: Item) {
        let found = match item {
            Item::Block(id) => self.shared.ledger.block(id),
            Item::Opening { event, slot } => {
                let found = self.shared.ledger.openings(event, &[slot], MAX_OPENINGS_LEN);
                found.map(|found| found.into_iter().next().map(|(_, opening)| opening))
            }
        };
        let found = found.unwrap_or_else(|error| {
            self.shared.failed("read a value for a peer", &error);
            None
        });
        self.shared.answer(ticket, Answer::Provided(found));
    }

    fn take(&self, sink: &mut ValueSink<'_>, items: Vec<(Ticket, Item, Vec<u8>)>) {
        let put = |sink: &mut ValueSink<'_>, item, bytes: &[u8]| match item {
            Item::Block(id) => sink.put_block(id, bytes),
            Item::Opening { event, slot } => sink.put_opening(event, slot, bytes),
        };
        let taken: Vec<_> = items
            .into_iter()
            .map(|(ticket, item, bytes)| (ticket, put(sink, item, &bytes)))
            .collect();
        let committed = sink.commit();
        if let Err(error) = &committed {
            match error {
                StorageError::NoRoom { .. } => tracing::warn!(%error, "values are not taken in"),
                error => self.shared.failed("take in values", error),
            }
        }
        if committed.is_ok() {
            let good = taken.iter().filter(|(_, taken)| matches!(taken, Ok(true)));
            Counts::add(&self.shared.counts.values, good.count());
        }
        for (ticket, taken) in taken {
            let answer = match (taken, &committed) {
                // What it is not, it is not, whatever the disk says.
                (Ok(false), _) => Answer::Taken(false),
                (Ok(true), Ok(_)) => Answer::Taken(true),
                _ => Answer::Failed,
            };
            self.shared.answer(ticket, answer);
        }
    }
}

fn add_items(value: &MissingValue, items: &mut Vec<Item>) {
    match &value.lacks {
        Lacks::Opening(_) => items.push(Item::Opening { event: value.event, slot: value.slot }),
        Lacks::Blocks(blocks) => items.extend(blocks.iter().map(|id| Item::Block(*id))),
    }
}
