//! Values that did not come along with their events: what is lacking, handing out, taking in.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use quipu_merge::{BlockId, Key};
use quipu_proto::{Answer, Item, Ticket, ValuePlace};
use quipu_store::{Lacks, MAX_OPENINGS_LEN, MissingValue, ReadError, StorageError, ValueSink};

use super::{Counts, Shared};

/// Something to do with values.
#[derive(Debug)]
pub enum Valuing {
    Lacking(Ticket, Option<ValuePlace>, usize),
    Provide(Ticket, Item),
    Take(Ticket, Item, Vec<u8>),
    Want(Vec<BlockId>),
}

/// So many values are taken in together, where so many wait.
const AT_ONCE: usize = 32;
/// A sink remembers a few bytes of each block: after so many blocks, or when nothing comes, it is made
/// anew.
const PER_SINK: usize = 1 << 16;
const IDLE: Duration = Duration::from_secs(5);
/// So many blocks that are read are remembered. Of more, who reads them tells again.
const MAX_WANTED: usize = 4096;
/// For so long, who reads a block has not said so again when nobody does.
const WANTED_FOR: Duration = Duration::from_secs(15);
/// So many values are looked at before the thread does something else.
const LISTED: usize = 1024;

/// Values in and out until nothing more is asked for.
pub fn run(shared: &Shared, valuings: &Receiver<Valuing>, only: Option<Vec<String>>) {
    let mut values = Values { shared, only, wanted: BTreeMap::new(), left_out: 0 };
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
            Valuing::Want(blocks) => values.want(blocks),
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
    /// Blocks that somebody reads, wherever they belong, and who said so when.
    wanted: BTreeMap<BlockId, Instant>,
    /// Values that are not wanted, as far as they have been counted.
    left_out: u64,
}

impl Values<'_> {
    fn want(&mut self, blocks: Vec<BlockId>) {
        let now = Instant::now();
        self.wanted.retain(|_, said| now.duration_since(*said) < WANTED_FOR);
        for block in blocks {
            if self.wanted.len() < MAX_WANTED || self.wanted.contains_key(&block) {
                self.wanted.insert(block, now);
            }
        }
    }

    /// Up to `limit` blocks that somebody reads and that are not here. Forgets what is here.
    fn list_wanted(&mut self, limit: usize) -> Result<Vec<Item>, ReadError> {
        let mut items = Vec::new();
        for (block, said) in std::mem::take(&mut self.wanted) {
            if said.elapsed() >= WANTED_FOR || !self.shared.ledger.lacks_block(block)? {
                continue;
            }
            self.wanted.insert(block, said);
            if items.len() < limit {
                items.push(Item::Block(block));
            }
        }
        Ok(items)
    }

    fn list(&mut self, ticket: Ticket, after: Option<ValuePlace>, limit: usize) {
        let answer = self.lacking(after, limit).unwrap_or_else(|error| {
            self.shared.failed("list missing values", &error);
            Answer::Failed
        });
        self.shared.answer(ticket, answer);
    }

    fn lacking(&mut self, after: Option<ValuePlace>, limit: usize) -> Result<Answer, ReadError> {
        // With them on each page, nobody who reads waits for what nobody reads.
        let (mut items, mut next) = (self.list_wanted(limit / 2)?, after);
        if after.is_none() {
            self.left_out = 0;
        }
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
                } else {
                    self.left_out += 1;
                }
            }
            if !more {
                self.shared.counts.left_out.store(self.left_out, Ordering::Relaxed);
                next = None;
                break;
            }
        }
        Ok(Answer::Lacking { items, next })
    }

    fn is_wanted(&self, value: &MissingValue) -> bool {
        let Some(only) = &self.only else { return true };
        let below = |key: &Key| only.iter().any(|prefix| key.as_str().starts_with(prefix));
        matches!(value.lacks, Lacks::Opening(_)) || value.key.as_ref().is_none_or(below)
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
