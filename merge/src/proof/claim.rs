//! What a proof claims about a certified checkpoint, and whether it is so.

use std::fmt;

use super::chain::Walked;
use super::leaf;
use super::proven::{CheckpointFacts, Fact, KeyFacts, Proven};
use super::{Malformed, ProofError};
use crate::body::Key;
use crate::checkpoint::Height;
use crate::dump::{Shown, ShownWrite};
use crate::event::ParsedEvent;
use crate::id::{AuthorKey, EventId, OpeningId};
use crate::log_tree::{LogHash, check_consistency, check_inclusion, event_leaf_hash};
use crate::state_root::LeafKind;
use crate::state_tree::StateProof;

/// What a proof claims about the last checkpoint that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// That an event is in the certified log. It holds whether its values are erased or not.
    Event {
        /// The event's block.
        event: Vec<u8>,
        /// Its place in the log, from 0.
        index: u64,
        /// The proof of inclusion, by [`crate::prove_inclusion`].
        path: Vec<LogHash>,
    },
    /// What a key names in the certified state.
    Key {
        /// The key.
        key: ProvedKey,
        /// What it names, of every one of [`ProvedKey::kinds`] in their order: of a key that a kind
        /// is not told of, nothing is known to be absent.
        entries: Vec<KeyEntry>,
    },
    /// That its log continues that of an earlier checkpoint.
    Extends {
        /// The height of the earlier one, which is among those that the proof leads through.
        from: Height,
        /// The proof of consistency, by [`crate::prove_consistency`].
        path: Vec<LogHash>,
    },
}

/// Whose state is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvedKey {
    /// A register, counter, set and list.
    Key(Key),
    /// What an author holds.
    Author(AuthorKey),
}

impl fmt::Display for ProvedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "{:?}", key.as_str()),
            Self::Author(author) => author.fmt(f),
        }
    }
}

/// What a key names, of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The kind.
    pub kind: LeafKind,
    /// The encoding of the leaf's value ([`crate::Leaf::value`]); none where there is none.
    pub value: Option<Vec<u8>>,
    /// The way to it, or to where it would be.
    pub path: StateProof,
    /// Of a register that exists: what is at hand of each of its writes, in their order. Nothing
    /// of others.
    pub writes: Vec<Option<ProvedWrite>>,
}

/// What shows the value that a write has put into a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedWrite {
    /// The event's block, which says whose opening it must be.
    pub event: Vec<u8>,
    /// The opening's block.
    pub opening: Vec<u8>,
}

impl ProvedKey {
    /// The kinds of things that such a key names, ascending.
    pub const fn kinds(&self) -> &'static [LeafKind] {
        match self {
            Self::Key(_) => &[LeafKind::Register, LeafKind::Counter, LeafKind::Set, LeafKind::List],
            Self::Author(_) => &[LeafKind::Member],
        }
    }

    /// Whether these are of every kind, so that none can be hidden.
    pub(super) fn is_told_of_by(&self, entries: &[KeyEntry]) -> bool {
        entries.iter().map(|entry| entry.kind).eq(self.kinds().iter().copied())
    }

    /// Where the state's tree has what this names of a kind.
    pub fn key_hash(&self, kind: LeafKind) -> [u8; 32] {
        match self {
            Self::Key(key) => kind.key_hash(key.as_str().as_bytes()),
            Self::Author(author) => kind.key_hash(&author.0),
        }
    }
}

/// Checks a claim about the last of the checkpoints that are shown.
pub fn check(claim: &Claim, shown: &Walked) -> Result<Proven, ProofError> {
    let fact = match claim {
        Claim::Event { event, index, path } => check_event(shown, event, *index, path)?,
        Claim::Key { key, entries } => Fact::Key(check_key(shown, key, entries)?),
        Claim::Extends { from, path } => check_extends(shown, *from, path)?,
    };
    let at = CheckpointFacts::of(shown.id, &shown.last);
    Ok(Proven { ledger: shown.ledger, at, fact })
}

fn check_event(
    shown: &Walked,
    event: &[u8],
    index: u64,
    path: &[LogHash],
) -> Result<Fact, ProofError> {
    let signed = ParsedEvent::decode(event).and_then(ParsedEvent::verify);
    let event = signed.map_err(ProofError::Event)?;
    let leaf = (index, event_leaf_hash(event.id()));
    check_inclusion(path, (shown.last.size, shown.last.root), leaf)
        .map_err(|_| ProofError::NotInLog { event: event.id(), height: shown.last.height })?;
    let (author, seq, time) = (event.event().author, event.event().seq, event.event().time);
    Ok(Fact::Event { event: event.id(), index, author, seq, time })
}

fn check_extends(shown: &Walked, from: Height, path: &[LogHash]) -> Result<Fact, ProofError> {
    let (id, earlier) = shown.earlier(from).ok_or(ProofError::NotShown(from))?;
    let log = (shown.last.size, shown.last.root);
    check_consistency(path, log, (earlier.size, earlier.root))
        .map_err(|_| ProofError::NotContinued { from, to: shown.last.height })?;
    Ok(Fact::Extends(CheckpointFacts::of(*id, earlier)))
}

fn check_key(
    shown: &Walked,
    key: &ProvedKey,
    entries: &[KeyEntry],
) -> Result<KeyFacts, ProofError> {
    if !key.is_told_of_by(entries) {
        return Err(ProofError::Kinds);
    }
    let height = shown.last.height;
    let mut facts = KeyFacts::about(key);
    for entry in entries {
        let kind = entry.kind;
        let value = entry.value.as_deref();
        entry
            .path
            .check(shown.last.state, key.key_hash(kind), value)
            .map_err(|_| ProofError::NotInState { key: Box::new(key.clone()), kind, height })?;
        let fault =
            |fault: Malformed| ProofError::Value { key: Box::new(key.clone()), kind, fault };
        let Some(value) = value else { continue };
        facts.present.push(kind);
        match kind {
            LeafKind::Register => {
                let writes = leaf::register_writes(value).map_err(fault)?;
                facts.writes = show_writes(&writes, &entry.writes).map_err(fault)?;
            }
            LeafKind::Counter => facts.counter = Some(leaf::counter(value).map_err(fault)?),
            LeafKind::Set => facts.set = Some(leaf::set(value).map_err(fault)?),
            LeafKind::List => facts.list = Some(leaf::list(value).map_err(fault)?),
            LeafKind::Member => facts.roles = Some(leaf::member(value).map_err(fault)?),
        }
    }
    Ok(facts)
}

fn show_writes(
    writes: &[(EventId, OpeningId)],
    shown: &[Option<ProvedWrite>],
) -> Result<Vec<ShownWrite>, Malformed> {
    if writes.len() != shown.len() {
        return Err("not every write of the register is told of".into());
    }
    let pairs = writes.iter().zip(shown);
    let show = |(&(event, opening), at_hand): (&(EventId, OpeningId), &Option<ProvedWrite>)| {
        let value = match at_hand {
            Some(at_hand) => show_value(event, opening, at_hand)?,
            None => Shown::Nothing,
        };
        Ok(ShownWrite { event: event.to_string(), value })
    };
    pairs.map(show).collect()
}

fn show_value(event: EventId, opening: OpeningId, shown: &ProvedWrite) -> Result<Shown, Malformed> {
    if EventId::of(&shown.event) != event || OpeningId::of(&shown.opening) != opening {
        return Err("the blocks of a write are those of another one".into());
    }
    let event = ParsedEvent::decode(&shown.event).map_err(|refusal| refusal.to_string())?;
    Ok(Shown::by(event.event().author, &shown.opening))
}
