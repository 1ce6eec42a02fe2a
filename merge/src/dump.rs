//! The state of a cut as one JSON object, in the format's shape.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64_NOPAD, HEXLOWER};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::id::{AuthorKey, BlockId, EventId};
use crate::state::{State, ValueRef, Write};
use crate::state_root::{StateRootError, state_root};
use crate::value::{Content, Opening};

/// What can be shown of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Erased, unreadable or not at hand.
    Nothing,
    /// Bytes: text where they are UTF-8.
    Bytes(Vec<u8>),
    /// Content in blocks of its own.
    Link(BlockId),
}

impl Shown {
    /// What an opening block shows of `value`: nothing where it is malformed or another author's.
    pub fn of(value: ValueRef, opening: &[u8]) -> Self {
        Self::by(value.author, opening)
    }

    /// What an opening block shows of a value that `author` has written.
    pub(crate) fn by(author: AuthorKey, opening: &[u8]) -> Self {
        match Opening::decode(opening) {
            Ok(opening) if opening.author == author => match opening.content {
                Content::Inline(bytes) => Self::Bytes(bytes),
                Content::Linked(link) => Self::Link(link.block),
            },
            _ => Self::Nothing,
        }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Bytes(bytes) => DagJsonBytes(bytes).serialize(serializer),
            Self::Link(id) => DagJsonLink(*id).serialize(serializer),
        }
    }
}

/// Bytes as DAG-JSON: text where they are UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct DagJsonBytes<'a>(pub &'a [u8]);

impl Serialize for DagJsonBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => nested(serializer, &[("bytes", BASE64_NOPAD.encode(self.0))]),
        }
    }
}

/// A link as DAG-JSON.
#[derive(Clone, Copy, Debug)]
pub struct DagJsonLink(pub BlockId);

impl Serialize for DagJsonLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("/", &self.0.to_string())?;
        map.end()
    }
}

fn nested<S: Serializer>(serializer: S, inner: &[(&str, String)]) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    let inner: BTreeMap<_, _> = inner.iter().map(|(key, value)| (*key, value)).collect();
    map.serialize_entry("/", &inner)?;
    map.end()
}

/// A value that stands in a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownWrite {
    /// The event that wrote it.
    pub event: String,
    /// The value.
    pub value: Shown,
}

/// What a dump tells beside the folded state.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The id of genesis.
    pub ledger: EventId,
    /// The heads of the cut, ascending.
    pub heads: Vec<EventId>,
    /// How many events the cut holds.
    pub events: u64,
    /// The largest position of each author.
    pub version: BTreeMap<AuthorKey, u64>,
    /// The lowest position that two events of an author share.
    pub forks: BTreeMap<AuthorKey, u64>,
    /// The void events.
    pub void: BTreeSet<EventId>,
    /// What each author holds.
    pub roles: BTreeMap<AuthorKey, Vec<&'static str>>,
}

/// The state of a cut as one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dump {
    /// The id of genesis.
    pub ledger: String,
    /// The heads, ascending by binary CID.
    pub heads: Vec<String>,
    /// How many events the cut holds.
    pub events: u64,
    /// The largest position of each author.
    pub version: BTreeMap<String, u64>,
    /// The lowest position that two events of an author share.
    pub forks: BTreeMap<String, u64>,
    /// The ids of void events, ascending as text.
    pub void: BTreeSet<String>,
    /// What each author holds, ascending.
    pub roles: BTreeMap<String, Vec<&'static str>>,
    /// The values of each register, in the order of precedence.
    pub registers: BTreeMap<String, Vec<ShownWrite>>,
    /// The sums, in decimal.
    pub counters: BTreeMap<String, String>,
    /// The members, ascending by their bytes.
    pub sets: BTreeMap<String, Vec<Shown>>,
    /// The values in order.
    pub lists: BTreeMap<String, Vec<Shown>>,
    /// The state root, in hex.
    pub state_root: String,
}

impl Dump {
    /// Puts an overview and a state together; `show` tells what is at hand of a value.
    ///
    /// # Errors
    /// The tree over the state cannot be built.
    pub fn new(
        overview: &Overview,
        state: &State,
        show: &mut dyn FnMut(ValueRef) -> Shown,
    ) -> Result<Self, StateRootError> {
        let root = state_root(state.leaves(&overview.roles))?;
        let text = |key: &AuthorKey| key.to_string();
        let mut shown = |write: &Write| ShownWrite {
            event: write.place.id.to_string(),
            value: write.value.map_or(Shown::Nothing, &mut *show),
        };
        let registers = state
            .registers()
            .map(|(key, puts)| (key.to_string(), puts.iter().map(&mut shown).collect()));
        let registers = registers.collect();
        let lists = state.lists().map(|(key, list)| {
            (key.to_string(), list.values().map(|(_, value)| show(value)).collect())
        });
        Ok(Self {
            ledger: overview.ledger.to_string(),
            heads: overview.heads.iter().map(ToString::to_string).collect(),
            events: overview.events,
            version: overview.version.iter().map(|(author, seq)| (text(author), *seq)).collect(),
            forks: overview.forks.iter().map(|(author, seq)| (text(author), *seq)).collect(),
            void: overview.void.iter().map(ToString::to_string).collect(),
            roles: overview
                .roles
                .iter()
                .map(|(author, held)| (text(author), held.clone()))
                .collect(),
            registers,
            counters: state
                .counters()
                .map(|(key, sum)| (key.to_string(), sum.to_string()))
                .collect(),
            sets: state.sets().map(|(key, set)| (key.to_string(), shown_members(set))).collect(),
            lists: lists.collect(),
            state_root: HEXLOWER.encode(&root),
        })
    }
}

fn shown_members(set: &crate::state::Set) -> Vec<Shown> {
    set.members().keys().map(|member| Shown::Bytes(member.as_bytes().to_vec())).collect()
}
