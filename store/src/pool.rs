//! The events that wait, without their content: what each one waits for, and whose it is.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use quipu_merge::{AuthorKey, EventId, MAX_AHEAD, Micros, ParsedEvent};

use crate::db::Reader;
use crate::error::StorageError;
use crate::record::WaitingRecord;
use crate::schema::Family;
use crate::shallow::Floor;
use crate::waiting::{WaitingInfo, WaitingReason};

/// How many events wait at most.
pub const MAX_WAITING: usize = 10_000;
/// How many bytes wait at most, values included.
pub const MAX_WAITING_BYTES: u64 = 64 << 20;
/// What an event counts for at least when authors are compared, in bytes: many small events fill
/// the pool as well as a few large ones.
const LEAST_SIZE: u64 = MAX_WAITING_BYTES / MAX_WAITING as u64;

/// An event that waits.
#[derive(Debug)]
pub struct Entry {
    /// Who wrote it.
    pub author: AuthorKey,
    /// When it says that it was written.
    pub time: Micros,
    /// What it waits for.
    pub reason: WaitingReason,
    /// The length of its record.
    pub bytes: u64,
    /// Whether its body is at hand.
    pub has_body: bool,
    /// The number of the group that its record was put into.
    pub group: u64,
}

impl Entry {
    fn size(&self) -> u64 {
        self.bytes.max(LEAST_SIZE)
    }
}

type Removed = Vec<(EventId, Entry)>;

/// What waits of one author.
#[derive(Debug, Default)]
struct Share {
    size: u64,
    by_time: BTreeSet<(Micros, EventId)>,
}

/// The pool, without the events themselves.
#[derive(Debug, Default)]
pub struct Pool {
    waiting: BTreeMap<EventId, Entry>,
    by_missing: BTreeMap<EventId, BTreeSet<EventId>>,
    due: BTreeSet<(Micros, EventId)>,
    shares: BTreeMap<AuthorKey, Share>,
    /// The authors by the sizes of their shares.
    by_size: BTreeSet<(u64, AuthorKey)>,
    bytes: u64,
}

impl Pool {
    /// Reads the pool back.
    pub fn load(reader: Reader<'_>, floor: Option<&Floor>) -> Result<Self, StorageError> {
        let damaged = || StorageError::damaged("a waiting event");
        let mut pool = Self::default();
        let mut walk = reader.walk(Family::Meta, b"W")?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            let event: [u8; 32] =
                key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(damaged)?;
            let record = WaitingRecord::decode(value).ok_or_else(damaged)?;
            let parsed = ParsedEvent::decode(&record.event).map_err(|_| damaged())?;
            let mut missing = Vec::new();
            for id in parsed.event().follows() {
                if !reader.has(Family::Ids, &id.0)? {
                    missing.push(id);
                }
            }
            let time = parsed.event().time;
            let reason = match (missing.is_empty(), &record.body, floor) {
                (false, _, Some(floor)) => floor.waits_for(parsed.event(), missing),
                (false, ..) => WaitingReason::Missing(missing),
                (true, None, _) => WaitingReason::BodyMissing,
                // Where it waits for something else, that is found when it is due.
                (true, Some(_), _) => WaitingReason::Due(time),
            };
            let (author, bytes) = (parsed.event().author, value.len() as u64);
            let has_body = record.body.is_some();
            // All of it is written: no group that is to be filled has this number.
            let entry = Entry { author, time, reason, bytes, has_body, group: 0 };
            pool.insert(EventId(event), entry);
            walk.next()?;
        }
        Ok(pool)
    }

    /// Whether this event waits.
    pub fn contains(&self, event: EventId) -> bool {
        self.waiting.contains_key(&event)
    }

    /// The number of the group that the record of a waiting event was put into.
    pub fn group(&self, event: EventId) -> Option<u64> {
        self.waiting.get(&event).map(|entry| entry.group)
    }

    /// All that waits.
    pub fn iter(&self) -> impl Iterator<Item = WaitingInfo> + '_ {
        self.waiting.iter().map(|(&event, entry)| WaitingInfo {
            event,
            author: entry.author,
            time: entry.time,
            reason: entry.reason.clone(),
        })
    }

    /// How many bytes wait.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The events that wait for this one.
    pub fn waiting_for(&self, event: EventId) -> Vec<EventId> {
        self.by_missing.get(&event).into_iter().flatten().copied().collect()
    }

    /// An event with all that wait for it, and for those, and so on.
    pub fn with_followers(&self, event: EventId) -> BTreeSet<EventId> {
        let (mut found, mut open) = (BTreeSet::from([event]), vec![event]);
        while let Some(event) = open.pop() {
            let followers = self.by_missing.get(&event).into_iter().flatten().copied();
            open.extend(followers.filter(|follower| found.insert(*follower)));
        }
        found
    }

    /// The events that wait for something that has not come: for events that do not wait here
    /// themselves, or for bodies, and all that wait for those. The others wait for their time, or for
    /// what precedes the checkpoint that the store starts from.
    pub fn lacking(&self) -> BTreeSet<EventId> {
        let absent = self.by_missing.iter().filter(|(id, _)| !self.contains(**id));
        let bodiless = self.waiting.iter().filter(|(_, entry)| !entry.has_body);
        let mut open: Vec<_> = absent.flat_map(|(_, followers)| followers).copied().collect();
        open.extend(bodiless.map(|(event, _)| *event));
        let mut found: BTreeSet<_> = open.iter().copied().collect();
        while let Some(event) = open.pop() {
            let followers = self.by_missing.get(&event).into_iter().flatten().copied();
            open.extend(followers.filter(|follower| found.insert(*follower)));
        }
        found
    }

    /// The waiting events among these, what they wait for and so on; and those of them that wait for
    /// their time.
    pub fn reached_from(&self, events: &[EventId]) -> (HashSet<EventId>, Vec<EventId>) {
        let (mut reached, mut due) = (HashSet::new(), Vec::new());
        let mut open = events.to_vec();
        while let Some(event) = open.pop() {
            let Some(entry) = self.waiting.get(&event).filter(|_| !reached.contains(&event)) else {
                continue;
            };
            reached.insert(event);
            match &entry.reason {
                WaitingReason::Missing(missing) => open.extend(missing),
                WaitingReason::Due(_) => due.push(event),
                WaitingReason::BodyMissing | WaitingReason::History => {}
            }
        }
        (reached, due)
    }

    /// The events that are due at `now`.
    pub fn due(&self, now: Micros) -> Vec<EventId> {
        self.due
            .iter()
            .take_while(|(time, _)| time.0 <= now.0 + MAX_AHEAD)
            .map(|(_, id)| *id)
            .collect()
    }

    /// When the first of those is due that wait for nothing but their time.
    pub fn next_due(&self) -> Option<Micros> {
        self.due.first().map(|(time, _)| Micros(time.0.saturating_sub(MAX_AHEAD)))
    }

    /// Lets an event wait, in the place of what waited of it before. Tells which others have to
    /// leave for it; `None` where it finds no room, and nothing has changed.
    ///
    /// Room is made by the author that holds most of the pool, whose latest events leave first. So
    /// nobody who floods the pool keeps others out of it.
    pub fn put(&mut self, event: EventId, entry: Entry) -> Option<Vec<EventId>> {
        let before = self.remove(event);
        match self.make_room(&entry) {
            Ok(left) => {
                self.insert(event, entry);
                Some(left.into_iter().map(|(event, _)| event).collect())
            }
            Err(left) => {
                let before = before.map(|before| (event, before));
                left.into_iter().chain(before).for_each(|(event, entry)| self.insert(event, entry));
                None
            }
        }
    }

    /// Takes events out until there is room for a new one. An error where its author would hold
    /// most before that. Either has what was taken out.
    fn make_room(&mut self, new: &Entry) -> Result<Removed, Removed> {
        let own = self.shares.get(&new.author).map_or(0, |share| share.size) + new.size();
        let mut left = Removed::new();
        while self.waiting.len() >= MAX_WAITING || self.bytes + new.bytes > MAX_WAITING_BYTES {
            let latest = self.latest_of_largest(own);
            match latest.and_then(|event| Some((event, self.remove(event)?))) {
                Some(removed) => left.push(removed),
                None => return Err(left),
            }
        }
        Ok(left)
    }

    /// The latest event of the author with the largest share, if that is larger than `own`.
    fn latest_of_largest(&self, own: u64) -> Option<EventId> {
        let (_, author) = self.by_size.last().filter(|(size, _)| *size > own)?;
        self.shares.get(author)?.by_time.last().map(|(_, event)| *event)
    }

    /// What waits for this event waits for what precedes the checkpoint that the store starts from.
    pub fn is_below(&mut self, event: EventId) {
        for follower in self.waiting_for(event) {
            let Some(mut entry) = self.remove(follower) else { continue };
            if let WaitingReason::Missing(missing) = &mut entry.reason {
                missing.retain(|id| *id != event);
                if missing.is_empty() {
                    entry.reason = WaitingReason::History;
                }
            }
            self.insert(follower, entry);
        }
    }

    /// Changes what an event waits for.
    pub fn set_reason(&mut self, event: EventId, reason: WaitingReason) {
        if let Some(entry) = self.remove(event) {
            self.insert(event, Entry { reason, ..entry });
        }
    }

    fn insert(&mut self, event: EventId, entry: Entry) {
        match &entry.reason {
            WaitingReason::Missing(missing) => missing.iter().for_each(|id| {
                self.by_missing.entry(*id).or_default().insert(event);
            }),
            WaitingReason::Due(time) => {
                self.due.insert((*time, event));
            }
            WaitingReason::BodyMissing | WaitingReason::History => {}
        }
        let share = self.shares.entry(entry.author).or_default();
        self.by_size.remove(&(share.size, entry.author));
        share.size += entry.size();
        share.by_time.insert((entry.time, event));
        self.by_size.insert((share.size, entry.author));
        self.bytes += entry.bytes;
        self.waiting.insert(event, entry);
    }

    /// Takes an event out.
    pub fn remove(&mut self, event: EventId) -> Option<Entry> {
        let entry = self.waiting.remove(&event)?;
        self.bytes -= entry.bytes;
        self.due.remove(&(entry.time, event));
        if let Some(share) = self.shares.get_mut(&entry.author) {
            self.by_size.remove(&(share.size, entry.author));
            share.size -= entry.size();
            share.by_time.remove(&(entry.time, event));
            if share.by_time.is_empty() {
                self.shares.remove(&entry.author);
            } else {
                self.by_size.insert((share.size, entry.author));
            }
        }
        if let WaitingReason::Missing(missing) = &entry.reason {
            for id in missing {
                if let Some(others) = self.by_missing.get_mut(id) {
                    others.remove(&event);
                    if others.is_empty() {
                        self.by_missing.remove(id);
                    }
                }
            }
        }
        Some(entry)
    }
}
