//! The state in a start file: keys in the order of the family `state`, and of each what stands of it.
//!
//! A chapter has as much of that as is read at once, and before it the events that it names, ascending.
//! A key may go on in the next chapter.

use quipu_merge::{
    CutNumber, Dot, Key, MAX_EVENT_LEN, MAX_KEY_LEN, MAX_MEMBER_LEN, Member, OpeningId,
};

use super::StartError;
use super::format::{cut_number, part, put_part, read};
use crate::record::{Reader, put_dot, put_number};

/// So many keys and writes a chapter has at most.
pub const MAX_CHAPTER_ITEMS: usize = 4096;
/// A writer ends a chapter that is at least this long, in bytes. One item and its event are far
/// shorter than what is left up to [`super::frames::MAX_FRAME_LEN`].
pub const CHAPTER_LEN: usize = 4 << 20;
/// Longest stored form of an opening that comes along, in bytes. Those of the format are shorter; others
/// cannot be read anyway.
pub const MAX_OPENING_LEN: usize = 8 << 10;

/// Some of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chapter {
    /// The events that it names, ascending.
    pub events: Vec<ChapterEvent>,
    /// Keys and what stands of them.
    pub items: Vec<Item>,
}

/// An event that something stands of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChapterEvent {
    pub dot: Dot,
    /// The number of the first certified cut that holds it.
    pub number: CutNumber,
    /// Its block; empty where it came before the chapters.
    pub event: Vec<u8>,
}

/// A key, or something that stands of the last one. Events are named by their places in the chapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Counter {
        key: Key,
        sum: i128,
    },
    List {
        key: Key,
    },
    Member {
        key: Key,
        member: Member,
    },
    Register {
        key: Key,
    },
    /// Of a list: by the place of its event in the certified log.
    Entry {
        index: u64,
        event: usize,
        slot: u16,
        value: ShownValue,
    },
    /// Of a member.
    Add {
        event: usize,
    },
    /// Of a register.
    Put {
        event: usize,
        slot: u16,
        value: ShownValue,
    },
}

/// What there is of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownValue {
    /// Its id alone.
    Id(OpeningId),
    /// Its opening, as it is stored.
    Opening(Vec<u8>),
}

impl Chapter {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, self.events.len() as u64);
        for event in &self.events {
            put_dot(&mut out, event.dot);
            put_number(&mut out, u64::from(event.number));
            put_part(&mut out, &event.event);
        }
        self.items.iter().for_each(|item| item.put(&mut out));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StartError> {
        read(bytes, "some of the state", |r| {
            let count = usize::try_from(r.number()?).ok()?;
            let count = Some(count).filter(|count| *count <= MAX_CHAPTER_ITEMS)?;
            let mut events = Vec::with_capacity(count);
            for _ in 0..count {
                let (dot, number) = (r.dot()?, cut_number(r)?);
                events.push(ChapterEvent { dot, number, event: part(r, MAX_EVENT_LEN)?.to_vec() });
            }
            let mut items = Vec::new();
            while !r.0.is_empty() {
                items.push(Item::read(r).filter(|_| items.len() < MAX_CHAPTER_ITEMS)?);
            }
            Some(Self { events, items })
        })
    }
}

impl Item {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Counter { key, sum } => {
                out.push(b'c');
                put_part(out, key.as_str().as_bytes());
                out.extend(sum.to_be_bytes());
            }
            Self::List { key } => {
                out.push(b'l');
                put_part(out, key.as_str().as_bytes());
            }
            Self::Member { key, member } => {
                out.push(b'm');
                put_part(out, key.as_str().as_bytes());
                put_part(out, member.as_bytes());
            }
            Self::Register { key } => {
                out.push(b'r');
                put_part(out, key.as_str().as_bytes());
            }
            Self::Entry { index, event, slot, value } => {
                out.push(b'e');
                put_number(out, *index);
                put_write(out, *event, *slot, value);
            }
            Self::Add { event } => {
                out.push(b'a');
                put_number(out, *event as u64);
            }
            Self::Put { event, slot, value } => {
                out.push(b'p');
                put_write(out, *event, *slot, value);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Option<Self> {
        let &[letter] = r.take(1)? else { return None };
        Some(match letter {
            b'c' => {
                let key = read_key(r)?;
                Self::Counter { key, sum: i128::from_be_bytes(r.take(16)?.try_into().ok()?) }
            }
            b'l' => Self::List { key: read_key(r)? },
            b'm' => {
                let key = read_key(r)?;
                Self::Member { key, member: Member::new(part(r, MAX_MEMBER_LEN)?).ok()? }
            }
            b'r' => Self::Register { key: read_key(r)? },
            b'e' => {
                let index = r.number()?;
                let (event, slot, value) = read_write(r)?;
                Self::Entry { index, event, slot, value }
            }
            b'a' => Self::Add { event: place(r)? },
            b'p' => {
                let (event, slot, value) = read_write(r)?;
                Self::Put { event, slot, value }
            }
            _ => return None,
        })
    }
}

fn read_key(r: &mut Reader<'_>) -> Option<Key> {
    Key::new(std::str::from_utf8(part(r, MAX_KEY_LEN)?).ok()?).ok()
}

fn place(r: &mut Reader<'_>) -> Option<usize> {
    usize::try_from(r.number()?).ok()
}

fn put_write(out: &mut Vec<u8>, event: usize, slot: u16, value: &ShownValue) {
    put_number(out, event as u64);
    put_number(out, u64::from(slot));
    match value {
        ShownValue::Id(id) => {
            put_number(out, 0);
            out.extend_from_slice(&id.0);
        }
        // No stored form is empty.
        ShownValue::Opening(stored) => put_part(out, stored),
    }
}

fn read_write(r: &mut Reader<'_>) -> Option<(usize, u16, ShownValue)> {
    let event = place(r)?;
    let slot = u16::try_from(r.number()?).ok()?;
    let value = match part(r, MAX_OPENING_LEN)? {
        [] => ShownValue::Id(OpeningId(r.take(32)?.try_into().ok()?)),
        stored => ShownValue::Opening(stored.to_vec()),
    };
    Some((event, slot, value))
}
