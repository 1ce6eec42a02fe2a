//! The records in the database, to the byte. Numbers are LEB128.

use std::sync::Arc;

use quipu_merge::{Clock, Dot, Lane, Micros, Seq};
use unsigned_varint::{decode, encode};

/// A record keeps the lanes of at most so many older versions; beyond that they are searched for.
pub const MAX_LANES: usize = 16;

/// Reads a record from the front.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = decode::u64(self.0).ok()?;
        self.0 = rest;
        Some(number)
    }

    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn dot(&mut self) -> Option<Dot> {
        let lane = Lane(u32::try_from(self.number()?).ok()?);
        Some(Dot { lane, seq: Seq(self.number()?) })
    }

    fn signed(&mut self) -> Option<i128> {
        self.take(16)?.try_into().ok().map(i128::from_be_bytes)
    }
}

/// Appends a number.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(encode::u64(number, &mut encode::u64_buffer()));
}

/// Appends a local name.
pub fn put_dot(out: &mut Vec<u8>, dot: Dot) {
    put_number(out, u64::from(dot.lane.0));
    put_number(out, dot.seq.0);
}

/// How the clock of an event is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredClock {
    /// That of the event at this position of the same lane, and the event itself.
    Same(Seq),
    /// All of it.
    Full(Vec<Dot>),
    /// The floor of a shallow store: see [`crate::shallow`].
    Floor,
    /// What it has more than that of the event at this position of the same lane, which is this
    /// many differences away from a full one.
    More {
        /// The event with the base.
        base: Seq,
        /// How many differences there are on the way to a full clock, this one included.
        depth: u64,
        /// What has changed.
        more: Vec<Dot>,
    },
}

/// What is stored of an event, read without its content.
#[derive(Clone, Debug)]
pub struct EventRecord<'a> {
    /// Its clock.
    pub clock: StoredClock,
    /// Its time, which is in its encoding too, but often all that is wanted of it.
    pub time: Micros,
    /// Its encoding.
    pub event: &'a [u8],
    /// The encoding of its body, or what stands in its place: see [`crate::bodies`].
    pub body: &'a [u8],
}

impl<'a> EventRecord<'a> {
    /// Writes a record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.event.len() + self.body.len());
        match &self.clock {
            StoredClock::Same(base) => {
                out.push(0);
                put_number(&mut out, base.0);
            }
            StoredClock::Full(dots) => {
                out.push(1);
                put_dots(&mut out, dots);
            }
            StoredClock::More { base, depth, more } => {
                out.push(2);
                put_number(&mut out, base.0);
                put_number(&mut out, *depth);
                put_dots(&mut out, more);
            }
            StoredClock::Floor => out.push(3),
        }
        put_number(&mut out, self.time.0);
        put_number(&mut out, self.event.len() as u64);
        out.extend_from_slice(self.event);
        out.extend_from_slice(self.body);
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let clock = match r.take(1)? {
            [0] => StoredClock::Same(Seq(r.number()?)),
            [1] => StoredClock::Full(read_dots(&mut r)?),
            [2] => StoredClock::More {
                base: Seq(r.number()?),
                depth: r.number()?,
                more: read_dots(&mut r)?,
            },
            [3] => StoredClock::Floor,
            _ => return None,
        };
        let time = Micros(r.number()?);
        let len = usize::try_from(r.number()?).ok()?;
        let event = r.take(len)?;
        Some(Self { clock, time, event, body: r.0 })
    }
}

fn put_dots(out: &mut Vec<u8>, dots: &[Dot]) {
    put_number(out, dots.len() as u64);
    dots.iter().for_each(|dot| put_dot(out, *dot));
}

fn read_dots(r: &mut Reader<'_>) -> Option<Vec<Dot>> {
    (0..r.number()?).map(|_| r.dot()).collect()
}

/// What a write of a key put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A delete, or the removal of a member.
    Gone,
    /// The addition of a member.
    Member,
    /// A value, by the slot of its operation; short ones also as they are.
    Value {
        /// The index of the operation in its body.
        slot: u16,
        /// The bytes, where they are short and at hand.
        beside: Option<Box<[u8]>>,
    },
    /// An amount added to a counter, by one event.
    Amount(i128),
}

impl Written {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Gone => out.push(0),
            Self::Member => out.push(1),
            Self::Value { slot, beside: None } => {
                out.push(2);
                put_number(out, u64::from(*slot));
            }
            Self::Value { slot, beside: Some(bytes) } => {
                out.push(3);
                put_number(out, u64::from(*slot));
                put_number(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::Amount(amount) => {
                out.push(4);
                out.extend_from_slice(&amount.to_be_bytes());
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(match r.take(1)? {
            [0] => Self::Gone,
            [1] => Self::Member,
            [2] => Self::Value { slot: u16::try_from(r.number()?).ok()?, beside: None },
            [3] => {
                let slot = u16::try_from(r.number()?).ok()?;
                let len = usize::try_from(r.number()?).ok()?;
                Self::Value { slot, beside: Some(r.take(len)?.into()) }
            }
            [4] => Self::Amount(r.signed()?),
            _ => return None,
        })
    }
}

/// A write of a key by one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The event.
    pub dot: Dot,
    /// When it says that it was written.
    pub time: Micros,
    /// What it put there.
    pub written: Written,
}

impl Version {
    /// Writes what is not in the key of a version: the position and the content.
    pub fn encode_tail(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        put_number(&mut out, self.dot.seq.0);
        self.written.encode(&mut out);
        out
    }

    /// Reads the value of a version whose key names the lane and the time.
    pub fn decode_tail(lane: Lane, time: Micros, bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let dot = Dot { lane, seq: Seq(r.number()?) };
        let written = Written::decode(&mut r)?;
        r.0.is_empty().then_some(Self { dot, time, written })
    }
}

/// The lanes that have older versions of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OlderLanes {
    /// These.
    Few(Vec<Lane>),
    /// Too many to keep here.
    Many,
}

impl OlderLanes {
    /// Adds a lane.
    pub fn insert(&mut self, lane: Lane) {
        if let Self::Few(lanes) = self
            && let Err(place) = lanes.binary_search(&lane)
        {
            lanes.insert(place, lane);
            if lanes.len() > MAX_LANES {
                *self = Self::Many;
            }
        }
    }
}

/// What stands of a register or a member now, and where to look for what stood before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The lanes with older versions.
    pub older: OlderLanes,
    /// The writes that no other follows and that are not void.
    pub writes: Vec<Version>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { older: OlderLanes::Few(Vec::new()), writes: Vec::new() }
    }
}

impl Standing {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        match &self.older {
            OlderLanes::Few(lanes) => {
                put_number(&mut out, lanes.len() as u64);
                lanes.iter().for_each(|lane| put_number(&mut out, u64::from(lane.0)));
            }
            OlderLanes::Many => put_number(&mut out, MAX_LANES as u64 + 1),
        }
        put_number(&mut out, self.writes.len() as u64);
        for write in &self.writes {
            put_dot(&mut out, write.dot);
            put_number(&mut out, write.time.0);
            write.written.encode(&mut out);
        }
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let older = match r.number()? {
            count if count <= MAX_LANES as u64 => {
                let lane = |r: &mut Reader<'_>| Some(Lane(u32::try_from(r.number()?).ok()?));
                OlderLanes::Few((0..count).map(|_| lane(&mut r)).collect::<Option<_>>()?)
            }
            _ => OlderLanes::Many,
        };
        let writes = (0..r.number()?)
            .map(|_| {
                let dot = r.dot()?;
                let time = Micros(r.number()?);
                Some(Version { dot, time, written: Written::decode(&mut r)? })
            })
            .collect::<Option<_>>()?;
        r.0.is_empty().then_some(Self { older, writes })
    }

    /// Whether a register or a member exists, and how many values stand.
    pub fn values(&self) -> usize {
        self.writes.iter().filter(|write| write.written != Written::Gone).count()
    }
}

/// What stands of a counter: the sum, and how many events that count have added to it. Without
/// any there is no such counter, but there may have been one at an earlier cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// The sum.
    pub sum: i128,
    /// How many events make it up.
    pub events: u64,
}

impl Sum {
    /// Writes the record.
    pub fn encode(self) -> Vec<u8> {
        let mut out = self.sum.to_be_bytes().to_vec();
        put_number(&mut out, self.events);
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        Some(Self { sum: r.signed()?, events: r.number()? })
    }
}

/// An event that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRecord {
    /// The encoding of the event.
    pub event: Vec<u8>,
    /// The encoding of its body, if it is at hand.
    pub body: Option<Vec<u8>>,
    /// Its openings as they are stored, as far as they are at hand, by slot.
    pub openings: Vec<(u16, Vec<u8>)>,
}

impl WaitingRecord {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut part = |bytes: &[u8]| {
            put_number(&mut out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        };
        part(&self.event);
        part(self.body.as_deref().unwrap_or_default());
        for (slot, opening) in &self.openings {
            part(&slot.to_be_bytes());
            part(opening);
        }
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let mut part = || {
            let len = usize::try_from(r.number()?).ok()?;
            r.take(len)
        };
        let event = part()?.to_vec();
        let body = Some(part()?).filter(|body| !body.is_empty()).map(<[u8]>::to_vec);
        let mut openings = Vec::new();
        while let Some(slot) = part() {
            openings.push((u16::from_be_bytes(slot.try_into().ok()?), part()?.to_vec()));
        }
        Some(Self { event, body, openings })
    }
}

/// A clock that is shared between those who need it.
pub type SharedClock = Arc<Clock>;
