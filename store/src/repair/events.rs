//! The events in a damaged database: finding those that can be read, and offering them to the new
//! one in an order that follows causality.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{
    AuthorKey, Body, BodyId, Dot, EventId, Lane, Micros, ParsedEvent, Seq, SignedEvent,
    admit_genesis,
};
use unsigned_varint::decode;

use super::kept;
use super::values::Values;
use crate::blocks::BlockSink;
use crate::bodies::Kept;
use crate::db::Salvage;
use crate::error::{MergeError, StorageError};
use crate::incoming::{Checked, Incoming, check_all};
use crate::ingest::{BATCH, MergeReport};
use crate::ledger::Ledger;
use crate::merge::Progress;
use crate::missing::ValueSource;
use crate::opening;
use crate::record::{self, EventRecord, WaitingRecord};
use crate::schema::{self, Family};

/// The events of a damaged database, by what can be read of them.
pub struct Events<'s> {
    salvage: &'s Salvage,
    /// Where they are, by time: each comes after those that it follows, which are older.
    places: Vec<(Micros, Dot)>,
    /// Who wrote the events of a lane.
    authors: BTreeMap<Lane, AuthorKey>,
    /// The first event of the ledger.
    genesis: Option<Dot>,
    /// How many records are not what was put there.
    bad: u64,
}

/// Events that are not held, with who wrote them and their numbers in that author's chain.
pub type NotHeld = BTreeMap<EventId, (AuthorKey, Seq)>;

/// An event that has been found.
struct Found {
    event: Incoming,
    /// What stands in the place of its body, where that is gone.
    left: Option<Vec<u8>>,
}

/// What stands in the place of the bodies of events that have lost them to pruning.
type Gone = BTreeMap<EventId, Vec<u8>>;

/// What has become of events that were offered.
#[derive(Default)]
pub struct Offered {
    /// How many were taken in.
    pub kept: u64,
    /// How many records are not what was put there.
    pub bad: u64,
    /// Those that could not be placed yet.
    pub unplaced: NotHeld,
}

impl<'s> Events<'s> {
    /// Looks for the events. It takes 20 bytes of memory for each.
    pub fn find(salvage: &'s Salvage) -> Self {
        let mut events =
            Self { salvage, places: Vec::new(), authors: BTreeMap::new(), genesis: None, bad: 0 };
        let visited = salvage.visit(Family::Events, &[], |key, value| {
            if let Some(dot) = schema::parse_dot(key) {
                events.note(dot, value);
            }
            Ok::<_, ()>(())
        });
        debug_assert!(visited.is_ok(), "visiting fails only where the visitor does");
        events.find_hidden();
        events.places.sort_unstable();
        events
    }

    /// Looks for events that hide behind places which cannot be read, but are found by their keys.
    fn find_hidden(&mut self) {
        if self.salvage.unreadable() == 0 {
            return;
        }
        let seen: BTreeSet<Dot> = self.places.iter().map(|(_, dot)| *dot).collect();
        for dot in self.indexed().into_iter().map(|(_, dot)| dot) {
            if !seen.contains(&dot)
                && let Some(value) = self.salvage.get(Family::Events, &schema::dot_key(dot))
            {
                self.note(dot, &value);
            }
        }
    }

    /// What the index by id lists, as far as it can be read.
    fn indexed(&self) -> Vec<(EventId, Dot)> {
        let mut indexed = Vec::new();
        let visited = self.salvage.visit(Family::Ids, &[], |key, value| {
            let id = key.try_into().ok().map(EventId);
            indexed.extend(id.zip(record::Reader(value).dot()));
            Ok::<_, ()>(())
        });
        debug_assert!(visited.is_ok(), "visiting fails only where the visitor does");
        indexed
    }

    fn note(&mut self, dot: Dot, value: &[u8]) {
        let Some((event, ..)) = parts(value) else {
            self.bad += 1;
            return;
        };
        let content = event.event();
        if content.follows().next().is_none() {
            self.genesis = Some(dot);
        }
        self.authors.insert(dot.lane, content.author);
        self.places.push((content.time, dot));
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// The first event of the ledger and its body, if they can be read and are sound.
    pub fn genesis(&self) -> Option<(SignedEvent, Vec<u8>)> {
        let found = Raw::read(self.salvage, self.genesis?)?;
        let signed = found.event.verify().ok()?;
        admit_genesis(&signed, &found.body).is_ok().then_some((signed, found.body))
    }

    /// Offers all events with their values to the new database, by the rules for what others have
    /// written.
    pub fn offer(
        &self,
        ledger: &Ledger,
        offered: &mut Offered,
        progress: Progress<'_>,
    ) -> Result<(), MergeError> {
        let mut values = Values::new(self.salvage);
        offered.bad += self.bad;
        let may_be_gone = kept::bodies_pruned_to(self.salvage).is_some();
        let mut done = 0;
        for batch in self.places.chunks(BATCH) {
            let mut sink = BlockSink::new(ledger);
            let mut incoming = Vec::with_capacity(batch.len());
            let mut gone = Gone::new();
            for (_, dot) in batch {
                match self.incoming(*dot, &mut values, &mut sink)? {
                    Some(Found { event, left: Some(left) }) if may_be_gone => {
                        gone.insert(EventId::of(&event.event), left);
                        incoming.push(event);
                    }
                    Some(Found { event, .. }) => {
                        offered.bad += u64::from(event.body.is_none());
                        incoming.push(event);
                    }
                    None => offered.bad += 1,
                }
            }
            sink.commit()?;
            let late = offered.take_in(ledger, incoming, gone)?;
            offered.unplaced.extend(late);
            fail::fail_point!("between-repaired-batches");
            done += batch.len() as u64;
            progress(done, self.len());
        }
        // Those that waited before are where they were.
        offered.take_in(ledger, self.waiting(), Gone::new())?;
        ledger.fill_missing(&mut values)?;
        Ok(())
    }

    fn incoming(
        &self,
        dot: Dot,
        values: &mut Values<'_>,
        sink: &mut BlockSink<'_>,
    ) -> Result<Option<Found>, MergeError> {
        let Some(Raw { event, bytes, body }) = Raw::read(self.salvage, dot) else {
            return Ok(None);
        };
        if let Some(Kept::Values(_)) = Kept::decode(&body) {
            let event = Incoming { event: bytes, ..Incoming::default() };
            return Ok(Some(Found { event, left: Some(body) }));
        }
        // An event whose body is damaged waits for the right one.
        let named = BodyId::of(&body) == event.event().body;
        let mut openings = Vec::new();
        if named && let Ok(body) = Body::decode(&body) {
            openings = values.openings(dot, event.event().author, &body);
            for (_, opening) in &openings {
                values.copy_blocks(sink, opening)?;
            }
        }
        let event = Incoming { event: bytes, body: named.then_some(body), openings };
        Ok(Some(Found { event, left: None }))
    }

    /// The events that were waiting.
    fn waiting(&self) -> Vec<Incoming> {
        let mut waiting = Vec::new();
        let visited = self.salvage.visit(Family::Meta, b"W", |_, value| {
            waiting.extend(WaitingRecord::decode(value).and_then(incoming_of));
            Ok::<_, ()>(())
        });
        debug_assert!(visited.is_ok(), "visiting fails only where the visitor does");
        waiting
    }

    /// The events that the index by id lists and that are neither held nor `unplaced`, with who wrote
    /// them where that is known.
    pub fn lost(
        &self,
        ledger: &Ledger,
        unplaced: &NotHeld,
    ) -> Result<BTreeMap<EventId, (Option<AuthorKey>, Seq)>, StorageError> {
        let mut lost = BTreeMap::new();
        for (id, dot) in self.indexed() {
            if !unplaced.contains_key(&id) && !ledger.latest().has(Family::Ids, &id.0)? {
                lost.insert(id, (self.authors.get(&dot.lane).copied(), dot.seq));
            }
        }
        Ok(lost)
    }
}

impl Offered {
    /// Takes in what is sound. Tells what cannot be placed yet.
    fn take_in(
        &mut self,
        ledger: &Ledger,
        incoming: Vec<Incoming>,
        mut gone: Gone,
    ) -> Result<NotHeld, MergeError> {
        let mut checked = check_all(incoming);
        for event in checked.iter_mut().flatten() {
            // It was admitted with its body, and nothing that is kept needs an operation of it.
            if let Some(left) = gone.remove(&event.event.id()) {
                event.body = Some(Ok(Body::Data(Vec::new())));
                event.body_bytes = Some(left);
            }
        }
        self.bad += checked.iter().filter(|checked| checked.is_err()).count() as u64;
        let about = |checked: &Checked| {
            let content = checked.event.event();
            (checked.event.id(), (content.author, content.seq))
        };
        let events: Vec<_> = checked.iter().flatten().map(about).collect();
        let mut report = MergeReport::default();
        ledger.take_in_all(checked, true, &mut report)?;
        self.kept += report.new_events;
        let mut unplaced = NotHeld::new();
        if report.new_events + report.known_events < events.len() as u64 {
            for (id, whose) in events {
                if !ledger.latest().has(Family::Ids, &id.0)? {
                    unplaced.insert(id, whose);
                }
            }
        }
        Ok(unplaced)
    }
}

fn incoming_of(record: WaitingRecord) -> Option<Incoming> {
    let author = ParsedEvent::decode(&record.event).ok()?.event().author;
    let openings = record.openings.into_iter();
    let openings =
        openings.filter_map(|(slot, stored)| Some((slot, opening::unpack(author, &stored)?)));
    Some(Incoming { openings: openings.collect(), event: record.event, body: record.body })
}

/// An event in a damaged database, whose signature is still to be checked.
pub struct Raw {
    /// The event.
    pub event: ParsedEvent,
    /// Its encoding.
    bytes: Vec<u8>,
    /// What stands behind it as its body.
    pub body: Vec<u8>,
}

impl Raw {
    /// Reads the event at a place.
    pub fn read(salvage: &Salvage, dot: Dot) -> Option<Self> {
        let value = salvage.get(Family::Events, &schema::dot_key(dot))?;
        let (event, bytes, body) = parts(&value)?;
        Some(Self { event, bytes: bytes.to_vec(), body: body.to_vec() })
    }
}

/// The event, its encoding and the body in a record. What stands in front of them is derived, and
/// they are found without it where that is damaged.
fn parts(record: &[u8]) -> Option<(ParsedEvent, &[u8], &[u8])> {
    if let Some(found) = EventRecord::decode(record)
        && let Ok(event) = ParsedEvent::decode(found.event)
    {
        return Some((event, found.event, found.body));
    }
    let starts = record.windows(EVENT_START.len()).enumerate();
    let mut starts = starts.filter(|(_, bytes)| *bytes == EVENT_START).map(|(at, _)| at);
    starts.find_map(|at| {
        let (front, rest) = record.split_at_checked(at)?;
        // Its length takes two bytes, or three where it has the largest size.
        [2, 3].into_iter().find_map(|bytes| {
            let length = front.get(front.len().checked_sub(bytes)?..)?;
            let (length, []) = decode::u64(length).ok()? else { return None };
            let (event, body) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((ParsedEvent::decode(event).ok()?, event, body))
        })
    })
}

/// How every event begins: a map of nine entries, of which the first is `v`, 1.
const EVENT_START: [u8; 4] = [0xa9, 0x61, b'v', 1];
