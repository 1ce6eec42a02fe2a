//! Start files as the format's page has them (section 17): taken apart into fields, and put together
//! again, so that a change gets past lengths and hashes.

mod fields;
mod forge;
mod resign;

use std::collections::BTreeSet;

use quipu_merge::{BodyId, EventId};

pub use forge::Means;

/// What a file begins with.
const MAGIC: &[u8] = b"quipu-start\x01";
/// Length of the hash that it ends with, in bytes.
const HASH_LEN: usize = 32;

/// One field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number, or a flag, that something certified shows to be right.
    Number(u64),
    /// A number, or a flag, that only the events below the checkpoint can show to be right.
    Said(u64),
    /// Bytes after their length.
    Part(Vec<u8>),
    /// As many bytes as there always are.
    Bytes(Vec<u8>),
}

/// What comes and goes as one: an event of a chapter, an item, a hash.
pub type Record = Vec<Field>;

/// A frame, record by record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What kind of a frame it is.
    pub letter: u8,
    /// The events of a chapter, which it counts; no others have any.
    pub events: Vec<Record>,
    /// Everything else.
    pub records: Vec<Record>,
}

/// A file, frame by frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFile {
    /// Its frames.
    pub frames: Vec<Frame>,
}

impl StartFile {
    /// Takes a file apart, if it is put together as the page says and has its hash.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let (content, hash) = file.split_at_checked(file.len().checked_sub(HASH_LEN)?)?;
        if blake3(content) != hash {
            return None;
        }
        let mut left = content.strip_prefix(MAGIC)?;
        let mut frames = Vec::new();
        while let Some((letter, rest)) = left.split_first() {
            left = rest;
            let content = fields::part(&mut left)?;
            frames.push(fields::frame(*letter, content)?);
        }
        Some(Self { frames })
    }

    /// Puts a file together, with its hash.
    pub fn seal(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for frame in &self.frames {
            file.push(frame.letter);
            fields::put_part(&mut file, &fields::content(frame));
        }
        reseal(file)
    }

    /// What the file says that nothing in it can show: two files that say the same here and are both
    /// taken must come to the same in everything.
    pub fn said(&self) -> (Vec<u64>, BTreeSet<Vec<u64>>) {
        let said = |record: &Record| {
            let said = record.iter().filter_map(|field| match field {
                Field::Said(number) => Some(*number),
                _ => None,
            });
            said.collect::<Vec<u64>>()
        };
        let in_order = self.frames.iter().flat_map(|frame| &frame.records).flat_map(said);
        // An event may be named by several chapters, and by one in its place.
        let of_events = self.frames.iter().flat_map(|frame| &frame.events).map(said);
        (in_order.collect(), of_events.collect())
    }

    /// Counts what there is as the last frame should have it.
    fn count_again(&mut self) {
        let (mut keys, mut events) = (0, 0);
        let (mut special, mut set) = (BTreeSet::new(), None);
        for frame in &self.frames {
            let blocks = frame.records.iter().flatten().filter_map(|field| match field {
                Field::Part(block) => Some(block),
                _ => None,
            });
            if matches!(frame.letter, b'g' | b'l' | b'c' | b'r') {
                special.extend(blocks.take(1).map(|block| EventId::of(block)));
            } else if frame.letter == b'k' {
                events += frame.events.iter().filter(|event| has_block(event)).count() as u64;
                for item in &frame.records {
                    let [Field::Bytes(letter), rest @ ..] = item.as_slice() else { continue };
                    match letter.first() {
                        Some(b'c' | b'l' | b'r') => keys += 1,
                        Some(b'm') => {
                            let key = rest.first().cloned();
                            keys += u64::from(key != set);
                            set = key;
                        }
                        _ => {}
                    }
                }
            }
        }
        let totals = vec![Field::Number(keys), Field::Number(events + special.len() as u64)];
        if let Some(last) = self.frames.iter_mut().find(|frame| frame.letter == b'e') {
            last.records = vec![totals];
        }
    }
}

fn has_block(event: &Record) -> bool {
    event.iter().any(|field| matches!(field, Field::Part(block) if !block.is_empty()))
}

/// Adds the hash of what there is.
pub fn reseal(mut content: Vec<u8>) -> Vec<u8> {
    let hash = blake3(&content);
    content.extend_from_slice(&hash);
    content
}

/// The digest in the id of any block.
fn blake3(bytes: &[u8]) -> [u8; HASH_LEN] {
    BodyId::of(bytes).0
}
