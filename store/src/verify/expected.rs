//! What the records of the current state should be, and whether they are.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{Clock, Dot, Lane, Seq, State};

use super::Check;
use super::derived::{name, same};
use crate::error::StorageError;
use crate::index::decode_count;
use crate::judge::key_of;
use crate::lookup::Stored;
use crate::record::{self, MAX_LANES, OlderLanes, Standing, Sum, Version, Written};
use crate::schema::{self, Family, Kind, meta};

/// The current state, by the keys of the family `state`, without values.
#[derive(Default)]
pub struct Expected {
    standing: BTreeMap<Vec<u8>, Writes>,
    sums: BTreeMap<Vec<u8>, Sum>,
    counts: BTreeMap<Vec<u8>, u64>,
    /// How many records of versions there should be.
    pub versions: u64,
}

/// The writes of a key that stand, and the lanes of the others.
#[derive(Default)]
struct Writes {
    older: BTreeSet<Lane>,
    standing: Vec<Version>,
}

impl Writes {
    fn values(&self) -> impl Iterator<Item = &Version> {
        self.standing.iter().filter(|version| version.written != Written::Gone)
    }
}

impl Expected {
    /// Takes a write that stands where the store starts.
    pub fn start(&mut self, state_key: &[u8], version: Version) {
        let version = Version { written: bare(version.written), ..version };
        self.standing.entry(state_key.to_vec()).or_default().standing.push(version);
    }

    /// Counts a value of a list.
    pub fn add_element(&mut self, state_key: Vec<u8>, void: bool) {
        *self.counts.entry(state_key).or_default() += u64::from(!void);
    }

    /// Adds to a counter.
    pub fn add_amount(&mut self, state_key: Vec<u8>, amount: i128, void: bool) {
        let sum = self.sums.entry(state_key).or_default();
        if !void {
            sum.sum += amount;
            sum.events += 1;
        }
    }

    /// Applies a write of a register or a member. Returns the writes that do not stand from now on.
    pub fn write(
        &mut self,
        state_key: &[u8],
        version: Version,
        clock: &Clock,
        void: bool,
    ) -> Vec<Version> {
        if !self.standing.contains_key(state_key) {
            self.standing.insert(state_key.to_vec(), Writes::default());
        }
        let Some(writes) = self.standing.get_mut(state_key) else { return Vec::new() };
        let shelved = if void {
            vec![version]
        } else {
            let covered = writes.standing.extract_if(.., |write| clock.covers(write.dot)).collect();
            writes.standing.push(version);
            covered
        };
        writes.older.extend(shelved.iter().map(|version| version.dot.lane));
        shelved
    }

    /// Where this differs from the same state folded by the replicated types.
    pub fn disagrees(&self, state: &State) -> Option<String> {
        let key = |kind, key: &quipu_merge::Key| schema::state_key(kind, key.as_str(), None);
        let of = |kind: Kind| {
            self.standing.iter().filter(move |(key, writes)| {
                key.first() == Some(&(kind as u8)) && writes.values().next().is_some()
            })
        };
        for (register, puts) in state.registers() {
            let puts: BTreeSet<_> =
                puts.iter().map(|put| (put.dot, put.value.map(|value| value.slot))).collect();
            let slot = |version: &Version| match version.written {
                Written::Value { slot, .. } => Some(u32::from(slot)),
                _ => None,
            };
            let own = self.standing.get(&key(Kind::Register, register)).map(Writes::values);
            if own
                .into_iter()
                .flatten()
                .map(|version| (version.dot, slot(version)))
                .collect::<BTreeSet<_>>()
                != puts
            {
                return Some(format!("register {register}"));
            }
        }
        if state.registers().count() != of(Kind::Register).count() {
            return Some("the number of registers".to_owned());
        }
        let mut members = 0;
        for (set, content) in state.sets() {
            for (member, adds) in content.members() {
                members += 1;
                let own = self.standing.get(&schema::state_key(
                    Kind::Member,
                    set.as_str(),
                    Some(member.as_bytes()),
                ));
                if own.is_none_or(|writes| writes.values().count() != adds.len()) {
                    return Some(format!("set {set}"));
                }
            }
        }
        if members != of(Kind::Member).count() {
            return Some("the number of members".to_owned());
        }
        for (counter, sum) in state.counters() {
            if self.sums.get(&key(Kind::Counter, counter)).map(|own| own.sum.to_string())
                != Some(sum.to_string())
            {
                return Some(format!("counter {counter}"));
            }
        }
        for (list, content) in state.lists() {
            if self.counts.get(&key(Kind::List, list)) != Some(&(content.values().len() as u64)) {
                return Some(format!("list {list}"));
            }
        }
        // What only void events worked on has a record, but does not exist.
        let sums = self.sums.values().filter(|sum| sum.events > 0).count();
        let lists = self.counts.values().filter(|count| **count > 0).count();
        let numbers = (state.counters().count(), state.lists().count()) == (sums, lists);
        (!numbers).then(|| "the number of counters or lists".to_owned())
    }

    /// Compares with the records.
    pub fn compare(mut self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        for (state_key, writes) in &self.standing {
            if let Some((Kind::Member, set, _)) = schema::parse_state_key(state_key)
                && writes.values().next().is_some()
            {
                *self.counts.entry(schema::state_key(Kind::Set, &set, None)).or_default() += 1;
            }
        }
        self.conflicts(check)?;
        self.check_versions(check)?;
        check.each(Family::State, &[], |check, state_key, value| {
            let right = match schema::parse_state_key(state_key) {
                Some((Kind::Register | Kind::Member, ..)) => {
                    let expected = self.standing.remove(state_key);
                    match expected.zip(Standing::decode(value)) {
                        Some((expected, found)) => stands(check, expected, found)?,
                        None => false,
                    }
                }
                Some((Kind::Counter, ..)) => {
                    let sum = self.sums.remove(state_key);
                    sum.is_some_and(|sum| value == sum.encode())
                }
                Some((Kind::List, ..)) => {
                    let count = self.counts.remove(state_key);
                    count.is_some() && decode_count(value) == count
                }
                // A set that has lost its members may have a record or not.
                Some((Kind::Set, ..)) => {
                    let count = self.counts.remove(state_key);
                    decode_count(value) == Some(count.unwrap_or(0))
                }
                None => false,
            };
            if !right {
                check.find(format!(
                    "the current state of {} is not what its events come to",
                    name(state_key)
                ));
            }
            Ok(())
        })?;
        for missing in self.standing.keys().chain(self.sums.keys()).chain(self.counts.keys()) {
            check.find(format!("the current state of {} is missing", name(missing)));
        }
        Ok(())
    }

    fn conflicts(&self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        let register = |key: &[u8]| key.first() == Some(&(Kind::Register as u8));
        let mut expected = 0;
        for (state_key, _) in self
            .standing
            .iter()
            .filter(|(key, writes)| register(key) && writes.values().count() > 1)
        {
            expected += 1;
            if check.get(Family::Meta, &meta::conflict(state_key))?.is_none() {
                check.find(format!("{} is missing in the list of conflicts", name(state_key)));
            }
        }
        let listed = check.each(Family::Meta, b"K", |_, _, _| Ok(()))?;
        if listed > expected {
            check.find(format!(
                "the list of conflicts has {listed} entries where {expected} should be"
            ));
        }
        Ok(())
    }

    /// All versions that should be there have been looked up: more of them are strays.
    fn check_versions(&self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        check.report.versions = check.each(Family::Versions, &[], |_, _, _| Ok(()))?;
        if check.report.versions <= self.versions {
            return Ok(());
        }
        check.find(format!(
            "there are {} records of versions where {} should be",
            check.report.versions, self.versions
        ));
        check.each(Family::Versions, &[], |check, key, value| {
            if self.is_stray(check, key, value)? {
                check.find(format!(
                    "the version {} of {} does not belong there",
                    super::hex(key),
                    name(key)
                ));
            }
            Ok(())
        })?;
        Ok(())
    }

    fn is_stray(
        &self,
        check: &mut Check<'_, '_, '_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, StorageError> {
        let tail = if key.first() == Some(&(Kind::List as u8)) { 14 } else { 12 };
        let Some((state_key, place)) =
            key.len().checked_sub(tail).and_then(|at| key.split_at_checked(at))
        else {
            return Ok(true);
        };
        let lane = match tail {
            14 => schema::parse_element(0, place).map(|(_, lane, _)| lane),
            _ => schema::parse_version(0, place).map(|(lane, _)| lane),
        };
        let Some((lane, seq)) = lane.zip(record::Reader(value).number()) else { return Ok(true) };
        let dot = Dot { lane, seq: Seq(seq) };
        if self
            .standing
            .get(state_key)
            .is_some_and(|writes| writes.standing.iter().any(|write| write.dot == dot))
        {
            return Ok(true);
        }
        let kept = Stored::read(check.reader(), dot).and_then(|stored| stored.kept());
        let time =
            Stored::read(check.reader(), dot).and_then(|stored| Ok(stored.event()?.event().time));
        let at = match tail {
            14 => schema::parse_element(0, place).map(|(time, ..)| time),
            _ => schema::parse_version(0, place).map(|(_, time)| time),
        };
        Ok(match (kept, time) {
            (Ok(kept), Ok(time)) => {
                at != Some(time)
                    || !kept.operations().iter().any(|operation| key_of(operation) == state_key)
            }
            _ => true,
        })
    }
}

/// A write without the copy of its value.
fn bare(written: Written) -> Written {
    match written {
        Written::Value { slot, .. } => Written::Value { slot, beside: None },
        other => other,
    }
}

/// Whether the record of a register or a member is what it should be.
fn stands(
    check: &mut Check<'_, '_, '_>,
    mut expected: Writes,
    mut found: Standing,
) -> Result<bool, StorageError> {
    // Lanes stay listed whose versions went with their bodies.
    let gone = check.gone.is_some();
    let older = match &found.older {
        OlderLanes::Few(lanes) if gone => {
            expected.older.iter().all(|lane| lanes.binary_search(lane).is_ok())
        }
        OlderLanes::Few(lanes) => expected.older.iter().eq(lanes),
        OlderLanes::Many => gone || expected.older.len() > MAX_LANES,
    };
    if !older || expected.standing.len() != found.writes.len() {
        return Ok(false);
    }
    expected.standing.sort_unstable_by_key(|version| version.dot);
    found.writes.sort_unstable_by_key(|version| version.dot);
    for (expected, found) in expected.standing.iter().zip(&found.writes) {
        if !same(check, expected, found)? {
            return Ok(false);
        }
    }
    Ok(true)
}
