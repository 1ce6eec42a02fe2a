//! Column families and their keys. All that decides how bytes are laid out in the database.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `meta` | a tag and more, see [`meta`] | small things |
//! | `events` | lane, seq | clock, event, body: see [`crate::record`] |
//! | `ids` | digest of the event's id | lane, seq |
//! | `order` | time, lane | seq |
//! | `openings` | lane, seq, first slot | a page of openings: see [`crate::opening`] |
//! | `blocks` | number | raw block or manifest, after its codec and digest |
//! | `digests` | codec, digest | number of the block, and its length where it is here |
//! | `edges` | number, what refers to the block | nothing |
//! | `state` | kind, key, member | what stands now: see [`crate::record`] |
//! | `versions` | kind, key, member, lane, time (lists: time, lane, slot) | what stood before; every amount of a counter, every value of a list |
//! | `final` | a tag and more, see [`certified`] and [`checkpoints`] | the certified log, how far certified cuts go, their state; checkpoints |
//! | `tree` | a tag and more, see [`tree`] | the tree over the certified state |

pub mod certified;
pub mod checkpoints;
pub mod meta;
pub mod tree;

use quipu_merge::{BlockId, Dot, Lane, Micros, Seq};

/// The version of this layout.
pub const FORMAT: u32 = 2;
/// The oldest layout that can be read.
pub const OLDEST_FORMAT: u32 = 1;

/// The column families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Small things, by tag.
    Meta,
    /// Events with their bodies.
    Events,
    /// Where an event is, by id.
    Ids,
    /// Events by time.
    Order,
    /// Openings, by event and slot.
    Openings,
    /// Blocks of long values, by number.
    Blocks,
    /// The numbers of blocks, by digest.
    Digests,
    /// What refers to a block.
    Edges,
    /// What stands now, by key.
    State,
    /// What stood before, by key.
    Versions,
    /// What is certified, and checkpoints.
    Final,
    /// The tree over the certified state.
    Tree,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Meta,
        Self::Events,
        Self::Ids,
        Self::Order,
        Self::Openings,
        Self::Blocks,
        Self::Digests,
        Self::Edges,
        Self::State,
        Self::Versions,
        Self::Final,
        Self::Tree,
    ];

    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Events => "events",
            Self::Ids => "ids",
            Self::Order => "order",
            Self::Openings => "openings",
            Self::Blocks => "blocks",
            Self::Digests => "digests",
            Self::Edges => "edges",
            Self::State => "state",
            Self::Versions => "versions",
            Self::Final => "final",
            Self::Tree => "tree",
        }
    }
}

/// Kinds of keyed things, in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A counter.
    Counter = b'c',
    /// A list: in `state` how many values it has, in `versions` the values.
    List = b'l',
    /// A member of a set.
    Member = b'm',
    /// A register.
    Register = b'r',
    /// A set: in `state` how many members it has.
    Set = b's',
}

/// Lane and seq.
pub fn dot_key(dot: Dot) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&dot.lane.0.to_be_bytes());
    key[4..].copy_from_slice(&dot.seq.0.to_be_bytes());
    key
}

/// Reads lane and seq back.
pub fn parse_dot(key: &[u8]) -> Option<Dot> {
    let (lane, seq) = key.split_first_chunk::<4>()?;
    let lane = Lane(u32::from_be_bytes(*lane));
    Some(Dot { lane, seq: Seq(u64::from_be_bytes(seq.try_into().ok()?)) })
}

/// Time and lane.
pub fn order_key(time: Micros, lane: Lane) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&time.0.to_be_bytes());
    key[8..].copy_from_slice(&lane.0.to_be_bytes());
    key
}

/// Reads time and lane back.
pub fn parse_order(key: &[u8]) -> Option<(Micros, Lane)> {
    let (time, lane) = key.split_first_chunk::<8>()?;
    let lane = Lane(u32::from_be_bytes(lane.try_into().ok()?));
    Some((Micros(u64::from_be_bytes(*time)), lane))
}

/// Lane, seq and slot: the index of an operation in its body.
pub fn opening_key(dot: Dot, slot: u16) -> [u8; 14] {
    let mut key = [0; 14];
    key[..12].copy_from_slice(&dot_key(dot));
    key[12..].copy_from_slice(&slot.to_be_bytes());
    key
}

/// Codec and digest.
pub fn digest_key(id: BlockId) -> [u8; 33] {
    let mut key = [0; 33];
    key[0] = id.codec as u8;
    key[1..].copy_from_slice(&id.digest);
    key
}

/// The key of something in `state`: no such key begins another, and the order is that of the
/// keys' bytes.
pub fn state_key(kind: Kind, key: &str, member: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 3 + member.map_or(0, |m| m.len() + 2));
    out.push(kind as u8);
    escape(&mut out, key.as_bytes());
    out.extend_from_slice(END);
    if let Some(member) = member {
        escape(&mut out, member);
        out.extend_from_slice(END);
    }
    out
}

/// What all keys of a kind begin with whose text begins with `prefix`.
pub fn state_prefix(kind: Kind, prefix: &str) -> Vec<u8> {
    let mut out = vec![kind as u8];
    escape(&mut out, prefix.as_bytes());
    out
}

/// The kind of a key in `state`.
pub fn kind_of(state_key: &[u8]) -> Option<Kind> {
    match state_key.first()? {
        b'c' => Some(Kind::Counter),
        b'l' => Some(Kind::List),
        b'm' => Some(Kind::Member),
        b'r' => Some(Kind::Register),
        b's' => Some(Kind::Set),
        _ => None,
    }
}

/// Reads the key and the member of a key in `state` back.
pub fn parse_state_key(bytes: &[u8]) -> Option<(Kind, String, Option<Vec<u8>>)> {
    let (kind, rest) = (kind_of(bytes)?, bytes.get(1..)?);
    let (key, rest) = unescape(rest)?;
    let key = String::from_utf8(key).ok()?;
    if kind != Kind::Member {
        return rest.is_empty().then_some((kind, key, None));
    }
    let (member, rest) = unescape(rest)?;
    rest.is_empty().then_some((kind, key, Some(member)))
}

/// A version of a register, a counter or a member.
pub fn version_key(state_key: &[u8], lane: Lane, time: Micros) -> Vec<u8> {
    [state_key, &lane.0.to_be_bytes(), &time.0.to_be_bytes()].concat()
}

/// Reads lane and time of a version back.
pub fn parse_version(state_key_len: usize, key: &[u8]) -> Option<(Lane, Micros)> {
    let (lane, time) = key.get(state_key_len..)?.split_first_chunk::<4>()?;
    let time = Micros(u64::from_be_bytes(time.try_into().ok()?));
    Some((Lane(u32::from_be_bytes(*lane)), time))
}

/// A value of a list.
pub fn element_key(state_key: &[u8], time: Micros, lane: Lane, slot: u16) -> Vec<u8> {
    [state_key, &order_key(time, lane), &slot.to_be_bytes()].concat()
}

/// Reads time, lane and slot of a list's value back.
pub fn parse_element(state_key_len: usize, key: &[u8]) -> Option<(Micros, Lane, u16)> {
    let (order, slot) = key.get(state_key_len..)?.split_first_chunk::<12>()?;
    let (time, lane) = parse_order(order)?;
    Some((time, lane, u16::from_be_bytes(slot.try_into().ok()?)))
}

/// The smallest key that does not begin with `prefix` and comes after all that do.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

const END: &[u8] = &[0, 0];

fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(u8::MAX);
        }
    }
}

fn unescape(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [0, 0, rest @ ..] => return Some((out, rest)),
            [0, u8::MAX, tail @ ..] => {
                out.push(0);
                rest = tail;
            }
            [0, ..] | [] => return None,
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}
