//! Keys of the state on their way: what stands of one after the other, and the tree over them.

use std::collections::BTreeMap;

use quipu_merge::{
    Height, Key, Leaf, LogTree, Member, OpeningId, StateNodes, extend_state, list_entry_hash,
};

use super::super::StartError;
use super::Out;
use super::state::Place;
use crate::certify::{Cell, CertifiedPut, TreeNodes, register_leaf, set_leaf};
use crate::error::StorageError;
use crate::record::{Standing, Sum, Version, Written, put_number};
use crate::schema::{self, Family, Kind, certified, meta, tree};

/// So many leaves go into the tree at once.
const LEAVES: usize = 16_384;
/// Or so many bytes of them.
const LEAVES_LEN: usize = 16 << 20;
/// A set whose leaf is longer than this, in bytes, cannot be started from: all of it is in memory then.
pub const MAX_SET_LEN: usize = 256 << 20;

/// Bytes of a set's leaf for each add beside the members.
const ADD_LEN: usize = 48;

/// The key that is being read.
enum Open {
    Nothing,
    Register {
        key: Key,
        puts: Vec<(CertifiedPut, u16)>,
    },
    List {
        key: Key,
        tree: LogTree,
        last: Option<(u64, u16)>,
    },
    Set {
        key: Key,
        members: BTreeMap<Member, Vec<quipu_merge::EventId>>,
        len: usize,
        member: Option<OpenMember>,
    },
}

struct OpenMember {
    member: Member,
    adds: Vec<Place>,
}

/// Keys on their way.
pub struct Cells {
    open: Open,
    /// The last key, as in the family `state`.
    last: Vec<u8>,
    keys: u64,
    leaves: Vec<Leaf>,
    len: usize,
    root: Option<[u8; 32]>,
    height: Height,
    /// The size of the certified log.
    size: u64,
    /// The time of genesis, at which counters have what they have come to.
    genesis_time: quipu_merge::Micros,
}

impl Cells {
    pub const fn new(height: Height, size: u64, genesis_time: quipu_merge::Micros) -> Self {
        Self {
            open: Open::Nothing,
            last: Vec::new(),
            keys: 0,
            leaves: Vec::new(),
            len: 0,
            root: None,
            height,
            size,
            genesis_time,
        }
    }

    /// Begins a key; those before it are complete.
    pub fn begin(
        &mut self,
        out: &mut Out<'_>,
        kind: Kind,
        key: &Key,
        member: Option<&Member>,
    ) -> Result<(), StartError> {
        let state_key = schema::state_key(kind, key.as_str(), member.map(Member::as_bytes));
        if state_key <= self.last {
            return Err(StartError::corrupt("keys that do not ascend"));
        }
        self.end_member(out)?;
        let goes_on =
            matches!(&self.open, Open::Set { key: of, .. } if kind == Kind::Member && of == key);
        if !goes_on {
            self.end(out)?;
            self.keys += 1;
        }
        self.last = state_key;
        match (kind, &mut self.open) {
            (Kind::Register, open) => *open = Open::Register { key: key.clone(), puts: Vec::new() },
            (Kind::List, open) => {
                *open = Open::List { key: key.clone(), tree: LogTree::new(), last: None };
            }
            (Kind::Member, open) => {
                let member =
                    member.map(|member| OpenMember { member: member.clone(), adds: Vec::new() });
                match open {
                    Open::Set { member: last, .. } => *last = member,
                    open => {
                        let (key, members) = (key.clone(), BTreeMap::new());
                        *open = Open::Set { key, members, len: 0, member };
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a counter.
    pub fn counter(&mut self, out: &mut Out<'_>, key: &Key, sum: i128) -> Result<(), StartError> {
        self.begin(out, Kind::Counter, key, None)?;
        let cell = Cell::Counter(Some(sum));
        put_cell(out, &self.last, &cell)?;
        out.put(Family::State, &self.last, &Sum { sum, events: 1 }.encode())?;
        let (dot, time) = (super::FIRST, self.genesis_time);
        let version = Version { dot, time, written: Written::Amount(sum) };
        let version_key = schema::version_key(&self.last, dot.lane, time);
        out.put(Family::Versions, &version_key, &version.encode_tail())?;
        self.leaf(Leaf::counter(key, &sum));
        Ok(())
    }

    /// Takes a put that stands in the register.
    pub fn put(&mut self, place: &Place, slot: u16, opening: OpeningId) -> Result<(), StartError> {
        let Open::Register { puts, .. } = &mut self.open else { return Err(misplaced()) };
        // Of one branch, the last write of a key covers those before.
        if puts.iter().any(|(put, _)| put.dot.lane == place.dot.lane) {
            return Err(StartError::contradiction("two writes of one branch stand"));
        }
        let Place { dot, number, time, id, .. } = *place;
        puts.push((CertifiedPut { dot, number, time, event: id, opening }, slot));
        Ok(())
    }

    /// Takes an add that keeps the member in.
    pub fn add(&mut self, place: &Place) -> Result<(), StartError> {
        let Open::Set { member: Some(member), .. } = &mut self.open else {
            return Err(misplaced());
        };
        if member.adds.iter().any(|add| add.dot.lane == place.dot.lane) {
            return Err(StartError::contradiction("two adds of one branch stand"));
        }
        member.adds.push(place.clone());
        Ok(())
    }

    /// Takes an entry of the list.
    pub fn entry(
        &mut self,
        out: &mut Out<'_>,
        index: u64,
        place: &Place,
        slot: u16,
        opening: OpeningId,
    ) -> Result<(), StartError> {
        let Open::List { tree, last, .. } = &mut self.open else { return Err(misplaced()) };
        if last.is_some_and(|last| last >= (index, slot)) || index >= self.size {
            return Err(StartError::corrupt("entries of a list that do not ascend"));
        }
        *last = Some((index, slot));
        tree.append(list_entry_hash(place.id, opening));
        let Place { dot, time, .. } = *place;
        let mut entry = Vec::with_capacity(12);
        put_number(&mut entry, u64::from(dot.lane.0));
        put_number(&mut entry, time.0);
        out.put(Family::Final, &certified::element(&self.last, index, slot), &entry)?;
        let version = Version { dot, time, written: Written::Value { slot, beside: None } };
        let version_key = schema::element_key(&self.last, time, dot.lane, slot);
        Ok(out.put(Family::Versions, &version_key, &version.encode_tail())?)
    }

    /// Adds a leaf to the tree.
    pub fn leaf(&mut self, leaf: Leaf) {
        self.len += leaf.value.len();
        self.leaves.push(leaf);
    }

    /// Adds to the tree what there is, where it is much.
    pub fn grow_some(&mut self, out: &mut Out<'_>) -> Result<(), StartError> {
        if self.leaves.len() < LEAVES && self.len < LEAVES_LEN { Ok(()) } else { self.grow(out) }
    }

    /// Ends the last key. Tells how many there are, and the root of the tree.
    pub fn finish(mut self, out: &mut Out<'_>) -> Result<(u64, Option<[u8; 32]>), StartError> {
        self.end_member(out)?;
        self.end(out)?;
        self.grow(out)?;
        Ok((self.keys, self.root))
    }

    fn end_member(&mut self, out: &mut Out<'_>) -> Result<(), StartError> {
        let Open::Set { members, len, member, .. } = &mut self.open else { return Ok(()) };
        let Some(OpenMember { member, mut adds }) = member.take() else { return Ok(()) };
        if adds.is_empty() {
            return Err(misplaced());
        }
        // In the order of the log, in which they are folded.
        adds.sort_unstable_by_key(|add| (add.number, add.time, add.id));
        let cell = Cell::Member(adds.iter().map(|add| (add.dot, add.id)).collect());
        put_cell(out, &self.last, &cell)?;
        let writes = adds.iter().map(|add| (add, Written::Member));
        out.put(Family::State, &self.last, &standing(writes))?;
        let mut events: Vec<_> = adds.iter().map(|add| add.id).collect();
        events.sort_unstable();
        *len += member.as_bytes().len() + ADD_LEN * (events.len() + 1);
        members.insert(member, events);
        let too_long = *len > MAX_SET_LEN;
        if too_long {
            return Err(StartError::TooMuch { what: "bytes of one set", limit: MAX_SET_LEN });
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Out<'_>) -> Result<(), StartError> {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Register { key, puts } => self.end_register(out, &key, puts)?,
            Open::List { key, tree, .. } => {
                let cell = Cell::List(tree);
                put_cell(out, &self.last, &cell)?;
                let Cell::List(tree) = cell else { return Err(misplaced()) };
                out.put(Family::State, &self.last, &count(tree.size()))?;
                self.leaf(Leaf::list(&key, &tree));
            }
            Open::Set { key, members, .. } => {
                let set = schema::state_key(Kind::Set, key.as_str(), None);
                out.put(Family::State, &set, &count(members.len() as u64))?;
                set_leaf(&key, &members).into_iter().for_each(|leaf| self.leaf(leaf));
            }
        }
        Ok(())
    }

    fn end_register(
        &mut self,
        out: &mut Out<'_>,
        key: &Key,
        mut puts: Vec<(CertifiedPut, u16)>,
    ) -> Result<(), StartError> {
        puts.sort_unstable_by_key(|(put, _)| (put.number, put.time, put.event));
        let writes = puts.iter().map(|(put, slot)| Version {
            dot: put.dot,
            time: put.time,
            // Values that stand below the floor are not kept beside their keys: who erases them finds
            // them by their events.
            written: Written::Value { slot: *slot, beside: None },
        });
        let record = Standing { writes: writes.collect(), ..Standing::default() };
        out.put(Family::State, &self.last, &record.encode())?;
        if puts.len() > 1 {
            out.put(Family::Meta, &meta::conflict(&self.last), &[])?;
        }
        let puts: Vec<_> = puts.into_iter().map(|(put, _)| put).collect();
        self.leaf(register_leaf(key, &puts));
        put_cell(out, &self.last, &Cell::Register(puts))
    }

    fn grow(&mut self, out: &mut Out<'_>) -> Result<(), StartError> {
        if self.leaves.is_empty() {
            return Ok(());
        }
        self.len = 0;
        // What has been added before is read from the database.
        if self.root.is_some() {
            out.flush()?;
        }
        let leaves = std::mem::take(&mut self.leaves);
        let nodes = TreeNodes(out.db.latest());
        let update = extend_tree(&nodes, self.root.is_some(), self.height, leaves)?;
        for (key, node) in &update.nodes {
            out.put(Family::Tree, &tree::node(key), node)?;
        }
        self.root = Some(update.root);
        Ok(())
    }
}

fn extend_tree<N>(
    nodes: &N,
    begun: bool,
    height: Height,
    leaves: Vec<Leaf>,
) -> Result<quipu_merge::StateUpdate, StorageError>
where
    N: StateNodes<Error: std::error::Error + 'static>,
{
    let update = extend_state(nodes, begun, height, leaves);
    update.map_err(|error| StorageError::damaged(error.to_string()))
}

fn standing<'p>(writes: impl Iterator<Item = (&'p Place, Written)>) -> Vec<u8> {
    let version =
        |(place, written): (&Place, Written)| Version { dot: place.dot, time: place.time, written };
    Standing { writes: writes.map(version).collect(), ..Standing::default() }.encode()
}

/// Writes what is certified of a key, of which something stands.
fn put_cell(out: &mut Out<'_>, state_key: &[u8], cell: &Cell) -> Result<(), StartError> {
    let record = cell.encode().ok_or_else(misplaced)?;
    Ok(out.put(Family::Final, &certified::state(state_key), &record)?)
}

fn count(count: u64) -> Vec<u8> {
    let mut record = Vec::with_capacity(8);
    put_number(&mut record, count);
    record
}

fn misplaced() -> StartError {
    StartError::corrupt("a key of which nothing stands, or a write of no key")
}
