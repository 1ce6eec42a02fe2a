//! What a proof has shown, and how programs print it.

use data_encoding::HEXLOWER;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::claim::ProvedKey;
use crate::checkpoint::{Checkpoint, Height};
use crate::dump::{Shown, ShownWrite};
use crate::id::{AuthorKey, CheckpointId, EventId, Micros, Seq};
use crate::log_tree::LogHash;
use crate::state_root::LeafKind;

/// What a proof has shown. Serializes as one JSON object, in the format's JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The ledger.
    pub ledger: EventId,
    /// The certified checkpoint under which it is so.
    pub at: CheckpointFacts,
    /// What is so.
    pub fact: Fact,
}

/// A certified checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFacts {
    /// Its id.
    pub checkpoint: CheckpointId,
    /// Its height.
    pub height: Height,
    /// Events in its cut.
    pub size: u64,
    /// The largest time in its cut.
    pub time: Micros,
}

/// What a proof has shown about a certified checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// An event is in its log.
    Event {
        /// The event.
        event: EventId,
        /// Its place in the log, from 0.
        index: u64,
        /// Who wrote it.
        author: AuthorKey,
        /// Its position in the author's chain.
        seq: Seq,
        /// When it says that it was written.
        time: Micros,
    },
    /// What a key names in its state.
    Key(KeyFacts),
    /// Its log continues that of this earlier checkpoint.
    Extends(CheckpointFacts),
}

/// What a key names in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// The key, or the author's, as text.
    pub key: String,
    /// The kinds of things that such a key names, ascending; the proof tells of all of them.
    pub kinds: &'static [LeafKind],
    /// Those that exist, ascending. Where there are none, nothing exists under the key.
    pub present: Vec<LeafKind>,
    /// What the register holds: its value first, then the conflicts. A value is nothing where it
    /// is erased, cannot be read, or was not at hand.
    pub writes: Vec<ShownWrite>,
    /// The sum, in decimal.
    pub counter: Option<String>,
    /// The members.
    pub set: Option<Vec<Shown>>,
    /// The list.
    pub list: Option<ListFacts>,
    /// What the author holds.
    pub roles: Option<Vec<String>>,
}

/// What a state tells of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListFacts {
    /// How many values it holds.
    pub count: u64,
    /// The root of the tree over them.
    pub root: LogHash,
}

impl CheckpointFacts {
    pub(super) const fn of(id: CheckpointId, checkpoint: &Checkpoint) -> Self {
        let Checkpoint { height, size, time, .. } = *checkpoint;
        Self { checkpoint: id, height, size, time }
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("height", &self.height.0)?;
        map.serialize_entry("checkpoint", &self.checkpoint.to_string())?;
        map.serialize_entry("size", &self.size)?;
        map.serialize_entry("time", &self.time.0)
    }
}

impl KeyFacts {
    pub(super) fn about(key: &ProvedKey) -> Self {
        let kinds = key.kinds();
        let key = match key {
            ProvedKey::Key(key) => key.to_string(),
            ProvedKey::Author(author) => author.to_string(),
        };
        Self {
            key,
            kinds,
            present: Vec::new(),
            writes: Vec::new(),
            counter: None,
            set: None,
            list: None,
            roles: None,
        }
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("present", &!self.present.is_empty())?;
        map.serialize_entry("key", &self.key)?;
        let words = |kinds: &[LeafKind]| kinds.iter().map(|kind| word(*kind)).collect::<Vec<_>>();
        map.serialize_entry("kinds", &words(self.kinds))?;
        map.serialize_entry("exists", &words(&self.present))?;
        if self.kinds.contains(&LeafKind::Register) {
            let mut writes = self.writes.iter();
            map.serialize_entry("value", &writes.next().map(|first| &first.value))?;
            let first = self.writes.first().map(|first| &first.event);
            map.serialize_entry("written_by", &first)?;
            map.serialize_entry("conflicts", writes.as_slice())?;
        }
        if let Some(counter) = &self.counter {
            map.serialize_entry("counter", counter)?;
        }
        if let Some(set) = &self.set {
            map.serialize_entry("set", set)?;
        }
        if let Some(list) = &self.list {
            map.serialize_entry("list", list)?;
        }
        if let Some(roles) = &self.roles {
            map.serialize_entry("roles", roles)?;
        }
        Ok(())
    }
}

impl Serialize for Proven {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.fact {
            Fact::Event { event, index, author, seq, time } => {
                map.serialize_entry("proof", "event")?;
                map.serialize_entry("present", &true)?;
                map.serialize_entry("event", &event.to_string())?;
                map.serialize_entry("index", index)?;
                map.serialize_entry("author", &author.to_string())?;
                map.serialize_entry("seq", &seq.0)?;
                map.serialize_entry("written", &time.0)?;
            }
            Fact::Key(facts) => {
                map.serialize_entry("proof", "key")?;
                facts.write(&mut map)?;
            }
            Fact::Extends(earlier) => {
                map.serialize_entry("proof", "extends")?;
                map.serialize_entry("from", earlier)?;
            }
        }
        self.at.write(&mut map)?;
        map.serialize_entry("ledger", &self.ledger.to_string())?;
        map.end()
    }
}

impl Serialize for CheckpointFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        self.write(&mut map)?;
        map.end()
    }
}

impl Serialize for ListFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("count", &self.count)?;
        map.serialize_entry("root", &HEXLOWER.encode(&self.root))?;
        map.end()
    }
}

const fn word(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::Register => "register",
        LeafKind::Counter => "counter",
        LeafKind::Set => "set",
        LeafKind::List => "list",
        LeafKind::Member => "member",
    }
}
