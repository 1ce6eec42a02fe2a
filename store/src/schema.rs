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

/// Keys of the family `meta`.
pub mod meta {
    use super::{BlockId, Dot, Lane, digest_key, dot_key, parse_dot};

    /// The layout's version.
    pub const FORMAT: &[u8] = b"format";
    /// The ledger's id, as a digest.
    pub const LEDGER: &[u8] = b"ledger";
    /// The number of the last commit, and the heads.
    pub const HEADS: &[u8] = b"heads";
    /// The author that the replica is: see [`crate::author`].
    pub const AUTHOR: &[u8] = b"author";
    /// Where the store was when it was last used.
    pub const PLACE: &[u8] = b"place";

    /// Where a shallow store starts: see [`crate::shallow`].
    pub const SHALLOW: &[u8] = b"shallow";

    /// Block numbers below this may be in use.
    pub const NUMBERS: &[u8] = b"numbers";
    /// What the marks of table files begin with that have been taken over, but whose blocks may
    /// not be known.
    pub const UNFINISHED: &[u8] = b"U";
    /// What the marks of garbage begin with.
    pub const GARBAGE: &[u8] = b"G";

    /// What the marks begin with of events whose erased values may still be in files, and of the
    /// blocks of such values.
    pub const ERASURE: &[u8] = b"X";

    /// An event whose erased values may still be in files.
    pub fn erasure(dot: Dot) -> Vec<u8> {
        [ERASURE, dot_key(dot).as_slice()].concat()
    }

    /// A deleted block of an erased value that may still be in files.
    pub fn erased_block(number: u64) -> Vec<u8> {
        [ERASURE, number.to_be_bytes().as_slice()].concat()
    }

    /// Stands for the number of deleted blocks of an erased value of which nothing tells any more
    /// which they were.
    pub const UNKNOWN_BLOCKS: u64 = u64::MAX;

    /// Table files with blocks from this number on.
    pub fn unfinished(first: u64) -> Vec<u8> {
        [UNFINISHED, first.to_be_bytes().as_slice()].concat()
    }

    /// A block that may be garbage.
    pub fn garbage(number: u64) -> Vec<u8> {
        [GARBAGE, number.to_be_bytes().as_slice()].concat()
    }

    /// A lane: its author and where it leaves another.
    pub fn lane(lane: Lane) -> Vec<u8> {
        [b"L", lane.0.to_be_bytes().as_slice()].concat()
    }

    /// The n-th control event.
    pub fn control(number: u64) -> Vec<u8> {
        [b"C", number.to_be_bytes().as_slice()].concat()
    }

    /// A void event.
    pub fn void(dot: Dot) -> Vec<u8> {
        [b"V", dot_key(dot).as_slice()].concat()
    }

    /// A value that has been erased, by where it stands.
    pub fn erased(dot: Dot, slot: u16) -> Vec<u8> {
        [b"E", dot_key(dot).as_slice(), &slot.to_be_bytes()].concat()
    }

    /// What the marks of missing values begin with.
    pub const MISSING: &[u8] = b"M";

    /// A value that is not whole here, by where it stands.
    pub fn missing(dot: Dot, slot: u16) -> Vec<u8> {
        [MISSING, dot_key(dot).as_slice(), &slot.to_be_bytes()].concat()
    }

    /// Reads where a missing value stands.
    pub fn parse_missing(key: &[u8]) -> Option<(Dot, u16)> {
        let (dot, slot) = key.strip_prefix(MISSING)?.split_last_chunk::<2>()?;
        Some((parse_dot(dot)?, u16::from_be_bytes(*slot)))
    }

    /// Up to which checkpoint bodies may be gone: see [`crate::bodies`].
    pub const BODIES: &[u8] = b"bodies";

    /// There where the tree over the certified state was derived while bodies were gone: other
    /// heights may have brought its nodes in.
    pub const REGROWN: &[u8] = b"regrown";

    /// What the records of pruned values begin with.
    pub const PRUNED: &[u8] = b"P";

    /// Which values of an event have been pruned: see [`crate::pruned`].
    pub fn pruned(dot: Dot) -> Vec<u8> {
        [PRUNED, dot_key(dot).as_slice()].concat()
    }

    /// What the marks of pinned blocks begin with.
    pub const PINNED_BLOCK: &[u8] = b"Ib";
    /// What the marks of pinned events begin with.
    pub const PINNED_EVENT: &[u8] = b"Ie";

    /// A pinned block.
    pub fn pinned_block(id: BlockId) -> Vec<u8> {
        [PINNED_BLOCK, digest_key(id).as_slice()].concat()
    }

    /// A pinned event.
    pub fn pinned_event(dot: Dot) -> Vec<u8> {
        [PINNED_EVENT, dot_key(dot).as_slice()].concat()
    }

    /// What receipts begin with.
    pub const RECEIPT: &[u8] = b"R";

    /// A receipt, by its name.
    pub fn receipt(name: &[u8]) -> Vec<u8> {
        [RECEIPT, name].concat()
    }

    /// What the log of votes begins with: alone, whose votes they are; otherwise an entry.
    pub const VOTES: &[u8] = b"J";

    /// An entry of the log of votes.
    pub fn vote(number: u64) -> Vec<u8> {
        [VOTES, number.to_be_bytes().as_slice()].concat()
    }

    /// Reads the number of an entry back.
    pub fn parse_vote(key: &[u8]) -> Option<u64> {
        Some(u64::from_be_bytes(key.strip_prefix(VOTES)?.try_into().ok()?))
    }

    /// What evidence against validators begins with.
    pub const EVIDENCE: &[u8] = b"Y";

    /// A piece of evidence, by its name.
    pub fn evidence(name: &[u8]) -> Vec<u8> {
        [EVIDENCE, name].concat()
    }

    /// A register with more than one value.
    pub fn conflict(state_key: &[u8]) -> Vec<u8> {
        [b"K", state_key].concat()
    }

    /// What local names begin with.
    pub const NAMES: &[u8] = b"N";

    /// A local name.
    pub fn name(author: [u8; 32]) -> Vec<u8> {
        [NAMES, author.as_slice()].concat()
    }

    /// A waiting event.
    pub fn waiting(event: [u8; 32]) -> Vec<u8> {
        [b"W", event.as_slice()].concat()
    }
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
