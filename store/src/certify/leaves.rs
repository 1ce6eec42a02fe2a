//! The leaves of the tree over a state, from what is kept of the certified state.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, EventId, Key, Leaf, LeafKind, Member, StateChange};

use super::fold::Cells;
use super::sink::Sink;
use super::source::FinalRecords;
use super::state::{Cell, CertifiedPut};
use crate::error::StorageError;
use crate::schema::{self, Family, Kind, certified};

/// Members of a set with the adds that stand.
type Members = BTreeMap<Member, Vec<EventId>>;

/// What has become of the leaves of the keys that have changed.
pub fn changes(
    records: &dyn FinalRecords,
    cells: &Cells,
) -> Result<Vec<StateChange>, StorageError> {
    let mut changes = Vec::new();
    let mut sets = BTreeSet::new();
    for (state_key, cell) in cells.changed() {
        let (kind, key, _) = schema::parse_state_key(state_key).ok_or_else(damaged)?;
        if kind == Kind::Member {
            sets.insert(key);
        } else {
            let kind = leaf_kind(kind);
            changes.push(change(kind, &key, leaf_of(&text(&key)?, cell)));
        }
    }
    for key in sets {
        let members = members(records, &key, cells)?;
        changes.push(change(LeafKind::Set, &key, set_leaf(&text(&key)?, &members)));
    }
    Ok(changes)
}

/// What has become of the leaves of authors, and the records of what they hold.
pub fn role_changes(
    records: &dyn FinalRecords,
    roles: &BTreeMap<AuthorKey, Vec<&'static str>>,
    sink: &mut dyn Sink,
) -> Result<Vec<StateChange>, StorageError> {
    let mut before = BTreeMap::new();
    records.each(&[certified::ROLES], &mut |key, value| {
        let author = key.get(1..).and_then(|key| key.try_into().ok()).ok_or_else(damaged)?;
        before.insert(AuthorKey(author), value.to_vec());
        Ok(())
    })?;
    let mut changes = Vec::new();
    for (author, held) in roles {
        let record = held.join(",").into_bytes();
        if before.remove(author).as_ref() != Some(&record) {
            changes.push(Leaf::member(author, held).into());
            sink.put(Family::Final, &certified::roles(*author), &record)?;
        }
    }
    for author in before.into_keys() {
        let key_hash = LeafKind::Member.key_hash(&author.0);
        changes.push(StateChange { key_hash, value: None });
        sink.delete(Family::Final, &certified::roles(author))?;
    }
    Ok(changes)
}

/// The encoding of the certified value of a key, if it exists.
pub fn value(
    records: &dyn FinalRecords,
    kind: LeafKind,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    let kind = match kind {
        LeafKind::Register => Kind::Register,
        LeafKind::Counter => Kind::Counter,
        LeafKind::List => Kind::List,
        LeafKind::Set => Kind::Set,
        LeafKind::Member => return member_value(records, key),
    };
    // What is no key has no value.
    let Ok(Some(key)) = std::str::from_utf8(key).map(|key| Key::new(key).ok()) else {
        return Ok(None);
    };
    if kind == Kind::Set {
        let members = members(records, key.as_str(), &Cells::default())?;
        return Ok(set_leaf(&key, &members).map(|leaf| leaf.value));
    }
    let state_key = schema::state_key(kind, key.as_str(), None);
    let Some(record) = records.get(&certified::state(&state_key))? else { return Ok(None) };
    let cell = Cell::decode(kind, &record).ok_or_else(damaged)?;
    Ok(leaf_of(&key, &cell).map(|leaf| leaf.value))
}

/// The leaf that a record of the certified state belongs to, by its kind and name.
pub fn name(record_key: &[u8]) -> Option<(LeafKind, Vec<u8>)> {
    match record_key.split_first()? {
        (&certified::STATE, state_key) => {
            let (kind, key, _) = schema::parse_state_key(state_key)?;
            Some((leaf_kind(kind), key.into_bytes()))
        }
        (&certified::ROLES, author) => Some((LeafKind::Member, author.to_vec())),
        _ => None,
    }
}

fn member_value(
    records: &dyn FinalRecords,
    author: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    let Ok(author) = author.try_into().map(AuthorKey) else { return Ok(None) };
    let Some(record) = records.get(&certified::roles(author))? else { return Ok(None) };
    let words = std::str::from_utf8(&record).map_err(|_| damaged())?;
    let words: Vec<_> = words.split(',').collect();
    Ok(Some(Leaf::member(&author, &words).value))
}

fn leaf_of(key: &Key, cell: &Cell) -> Option<Leaf> {
    match cell {
        Cell::Register(puts) if puts.is_empty() => None,
        Cell::Register(puts) => Some(register_leaf(key, puts)),
        Cell::Counter(sum) => sum.as_ref().map(|sum| Leaf::counter(key, sum)),
        Cell::List(tree) => (tree.size() > 0).then(|| Leaf::list(key, tree)),
        Cell::Member(_) => None,
    }
}

/// The leaf of a register in which these stand.
pub fn register_leaf(key: &Key, puts: &[CertifiedPut]) -> Leaf {
    let mut puts = puts.to_vec();
    puts.sort_unstable_by_key(|put| Reverse((put.number, put.time, put.event)));
    let writes: Vec<_> = puts.iter().map(|put| (put.event, put.opening)).collect();
    Leaf::register(key, &writes)
}

/// The leaf of a set with these members, if it has any.
pub fn set_leaf(key: &Key, members: &Members) -> Option<Leaf> {
    let members: BTreeMap<_, _> =
        members.iter().map(|(member, adds)| (member, adds.clone())).collect();
    (!members.is_empty()).then(|| Leaf::set(key, &members))
}

/// The members of a set, with what has changed of them.
fn members(records: &dyn FinalRecords, key: &str, cells: &Cells) -> Result<Members, StorageError> {
    let prefix = schema::state_key(Kind::Member, key, None);
    let mut members = Members::new();
    let mut take = |state_key: &[u8], cell: &Cell| {
        let Some((Kind::Member, _, Some(member))) = schema::parse_state_key(state_key) else {
            return Err(damaged());
        };
        let member = Member::new(&member).map_err(|_| damaged())?;
        let Cell::Member(adds) = cell else { return Err(damaged()) };
        let mut adds: Vec<_> = adds.iter().map(|(_, event)| *event).collect();
        adds.sort_unstable();
        if adds.is_empty() {
            members.remove(&member);
        } else {
            members.insert(member, adds);
        }
        Ok(())
    };
    records.each(&certified::state(&prefix), &mut |record_key, value| {
        let state_key = record_key.get(1..).unwrap_or_default();
        take(state_key, &Cell::decode(Kind::Member, value).ok_or_else(damaged)?)
    })?;
    for (state_key, cell) in cells.changed_from(&prefix) {
        take(state_key, cell)?;
    }
    Ok(members)
}

fn change(kind: LeafKind, key: &str, leaf: Option<Leaf>) -> StateChange {
    let key_hash = kind.key_hash(key.as_bytes());
    StateChange { key_hash, value: leaf.map(|leaf| leaf.value) }
}

fn leaf_kind(kind: Kind) -> LeafKind {
    match kind {
        Kind::Register => LeafKind::Register,
        Kind::Counter => LeafKind::Counter,
        Kind::List => LeafKind::List,
        Kind::Member | Kind::Set => LeafKind::Set,
    }
}

fn text(key: &str) -> Result<Key, StorageError> {
    Key::new(key).map_err(|_| damaged())
}

fn damaged() -> StorageError {
    StorageError::damaged("a record of the certified state")
}
