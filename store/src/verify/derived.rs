//! What the events come to: verdicts, erasures, and every key, from scratch.

use std::collections::BTreeMap;

use quipu_merge::{
    AuthorKey, Authority, Clock, Dot, Effect, EventId, Lanes, Micros, OpeningId, Operation, Place,
    State, Subject, UNCERTIFIED, Verdicts,
};

use super::expected::Expected;
use super::{Check, order, start};
use crate::bodies::Kept;
use crate::error::StorageError;
use crate::judge::{key_of, redacted};
use crate::lookup::{self, Stored};
use crate::opening;
use crate::record::{Version, Written};
use crate::schema::{self, Family, Kind, meta};

/// Derives everything again and compares.
pub fn check(
    check: &mut Check<'_, '_, '_>,
    lanes: &Lanes,
    authority: &Authority,
) -> Result<(), StorageError> {
    let within = |lane| lanes.tip(lane);
    let certified = &check.snapshot.published().finality.cuts;
    let verdicts = Verdicts::new(authority, lanes.table(), &within, certified);
    let mut openings = BTreeMap::new();
    for ((author, _, dot), drop) in redacted(authority, &verdicts) {
        let kept = Stored::read(check.reader(), dot).and_then(|stored| stored.kept());
        if let Some(kept) = check.sound("a redacted event", kept)? {
            for (_, value) in kept.values() {
                *openings.entry((author, value)).or_default() |= drop;
            }
        }
    }
    let controls =
        authority.events().iter().map(|event| (event.dot, event.acts.as_slice())).collect();
    let mut folded_start = None;
    let mut derived = Derived {
        lanes,
        verdicts,
        controls,
        openings,
        void: 0,
        erased: 0,
        expected: Expected::default(),
        state: State::new(),
    };
    if let Some(start) = &check.start {
        let folded = start.fold_into(check.snapshot.reader(), certified, &mut derived.state);
        folded_start = Some(folded);
        start::seed(start, &mut derived.expected);
    }
    if let Some(folded) = folded_start {
        check.sound("what the store starts with", folded)?;
    }
    order::for_each(check, |check, dot, stored| derived.event(check, dot, stored))?;
    let void = check.each(Family::Meta, b"V", |_, _, _| Ok(()))?;
    if void != derived.void {
        check.find(format!("{void} events are marked as void where {} are", derived.void));
    }
    let erased = check.each(Family::Meta, b"E", |_, _, _| Ok(()))?;
    if erased != derived.erased {
        check.find(format!("{erased} values are marked as erased where {} are", derived.erased));
    }
    if let Some(what) = derived.expected.disagrees(&derived.state) {
        check.find(format!("two ways of folding disagree: {what}"));
    }
    derived.expected.compare(check)
}

struct Derived<'v> {
    lanes: &'v Lanes,
    verdicts: Verdicts,
    controls: BTreeMap<Dot, &'v [quipu_merge::Act]>,
    /// The openings that redacts erase, with their authors, and whether their bytes go for good.
    openings: BTreeMap<(AuthorKey, OpeningId), bool>,
    void: u64,
    erased: u64,
    expected: Expected,
    state: State,
}

impl Derived<'_> {
    fn event(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        stored: &Stored<'_>,
    ) -> Result<(), StorageError> {
        // What cannot be read has been found already.
        let (Ok(record), Ok(event), Ok(kept)) = (stored.record(), stored.event(), stored.kept())
        else {
            return Ok(());
        };
        let Ok(clock) = lookup::clock_of(check.reader(), dot, record.clock) else { return Ok(()) };
        let (id, content) = (event.id(), event.event());
        let author = content.author;
        let acts = self.controls.get(&dot).copied().unwrap_or_default();
        let marked = check.get(Family::Meta, &meta::void(dot))?.is_some();
        let void = if check.is_below(dot) && acts.is_empty() {
            // What it has seen is not known here; what it has written is checked otherwise.
            marked
        } else {
            let subject = Subject { author, dot, clock: &clock, acts };
            self.verdicts.is_void(self.lanes.table(), &subject)
        };
        self.void += u64::from(void);
        if marked != void {
            check.find(format!(
                "event {id}: it is {}void, and the mark says otherwise",
                if void { "" } else { "not " }
            ));
        }
        self.erasures(check, dot, id, author, &kept)?;
        let mut writer = Keys { check, expected: &mut self.expected };
        writer.event(dot, content.time, &clock, void, kept.operations())?;
        if !void {
            let place = Place { number: UNCERTIFIED, time: content.time, id };
            self.state.apply(&Effect {
                place,
                author,
                dot,
                clock: &clock,
                operations: kept.operations(),
            });
        }
        Ok(())
    }

    fn erasures(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        dot: Dot,
        id: EventId,
        author: AuthorKey,
        kept: &Kept,
    ) -> Result<(), StorageError> {
        if self.openings.is_empty() {
            return Ok(());
        }
        for (slot, value) in kept.values() {
            let drop = self.openings.get(&(author, value)).copied();
            let erased = drop.is_some();
            self.erased += u64::from(erased);
            if check.get(Family::Meta, &meta::erased(dot, slot))?.is_some() != erased {
                let is = if erased { "" } else { "not " };
                check.find(format!(
                    "event {id}: its value {slot} is {is}erased, and the mark says otherwise"
                ));
            }
            let held = opening::find(check.reader(), dot, slot);
            let held = check.sound("the openings", held)?.flatten();
            if drop == Some(true) && held.is_some() {
                check.find(format!("event {id}: its value {slot} is erased, and still there"));
            }
        }
        Ok(())
    }
}

/// Folds the keys of an event, and checks the records of versions on the way.
struct Keys<'k, 's, 'l, 'p> {
    check: &'k mut Check<'s, 'l, 'p>,
    expected: &'k mut Expected,
}

impl Keys<'_, '_, '_, '_> {
    fn event(
        &mut self,
        dot: Dot,
        time: Micros,
        clock: &Clock,
        void: bool,
        operations: &[Operation],
    ) -> Result<(), StorageError> {
        let mut last = BTreeMap::new();
        let mut amounts = BTreeMap::<_, i128>::new();
        for (slot, operation) in (0_u16..).zip(operations) {
            let state_key = key_of(operation);
            let written = match operation {
                Operation::Put { .. } => Written::Value { slot, beside: None },
                Operation::Add { .. } => Written::Member,
                Operation::Del { .. } | Operation::Rem { .. } => Written::Gone,
                Operation::Inc { by, .. } => {
                    *amounts.entry(state_key).or_default() += i128::from(by.get());
                    continue;
                }
                Operation::Append { .. } => {
                    let key = schema::element_key(&state_key, time, dot.lane, slot);
                    let version =
                        Version { dot, time, written: Written::Value { slot, beside: None } };
                    self.version(&key, &version)?;
                    self.expected.add_element(state_key, void);
                    continue;
                }
            };
            last.insert(state_key, written);
        }
        for (state_key, amount) in amounts {
            let version = Version { dot, time, written: Written::Amount(amount) };
            self.shelved(&state_key, &version)?;
            self.expected.add_amount(state_key, amount, void);
        }
        for (state_key, written) in last {
            let version = Version { dot, time, written };
            for shelved in self.expected.write(&state_key, version, clock, void) {
                self.shelved(&state_key, &shelved)?;
            }
        }
        Ok(())
    }

    fn shelved(&mut self, state_key: &[u8], version: &Version) -> Result<(), StorageError> {
        self.version(&schema::version_key(state_key, version.dot.lane, version.time), version)
    }

    /// There is a record of this version, and it is right.
    fn version(&mut self, key: &[u8], expected: &Version) -> Result<(), StorageError> {
        self.expected.versions += 1;
        let record = self.check.get(Family::Versions, key)?;
        let found =
            record.and_then(|bytes| Version::decode_tail(expected.dot.lane, expected.time, &bytes));
        let matches = match &found {
            Some(found) => same(self.check, expected, found)?,
            None => false,
        };
        if !matches {
            let Dot { lane, seq } = expected.dot;
            self.check.find(format!(
                "the version of {} by event {seq} on lane {} is missing or wrong",
                name(key),
                lane.0
            ));
        }
        Ok(())
    }
}

/// Whether a record of a write is what it should be. A copy of the value may be missing in it,
/// which costs a look-up; one that is there must be that of the opening, and not be erased.
pub fn same(
    check: &mut Check<'_, '_, '_>,
    expected: &Version,
    found: &Version,
) -> Result<bool, StorageError> {
    let Written::Value { slot, beside: copy } = &found.written else {
        return Ok(expected == found);
    };
    let Version { dot, time, .. } = *found;
    let bare = Version { dot, time, written: Written::Value { slot: *slot, beside: None } };
    if *expected != bare {
        return Ok(false);
    }
    let Some(copy) = copy else { return Ok(true) };
    let opening = opening::find(check.reader(), dot, *slot);
    let opening = check.sound("the openings", opening)?.flatten();
    let original = opening.and_then(|stored| opening::beside(&stored));
    Ok(original.as_ref() == Some(copy)
        && check.get(Family::Meta, &meta::erased(dot, *slot))?.is_none())
}

/// How a record's key appears in a finding.
pub fn name(state_key: &[u8]) -> String {
    let kind = match state_key.first() {
        Some(&kind) if kind == Kind::Counter as u8 => "counter",
        Some(&kind) if kind == Kind::List as u8 => "list",
        Some(&kind) if kind == Kind::Member as u8 => "the member of set",
        Some(&kind) if kind == Kind::Register as u8 => "register",
        Some(&kind) if kind == Kind::Set as u8 => "set",
        _ => return format!("record {}", super::hex(state_key)),
    };
    let text = state_key.get(1..).unwrap_or_default();
    let end = text.windows(2).position(|pair| pair == [0, 0]).unwrap_or(text.len());
    format!("{kind} {:?}", String::from_utf8_lossy(text.get(..end).unwrap_or_default()))
}
