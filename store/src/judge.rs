//! What a new event or certificate changes of what is there already: revokes and forks that make earlier events
//! void, redacts that erase values, and certificates, which make both final.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quipu_merge::{
    Act, AuthorKey, Authority, Dot, EventId, ForkPolicy, Lane, OpeningId, Seq, Subject, Verdicts,
};

use crate::bodies::Kept;
use crate::db::Db;
use crate::error::StorageError;
use crate::index::NewEvent;
use crate::lookup::{self, Stored};
use crate::missing;
use crate::record::EventRecord;
use crate::schema::{self, Family, Kind, meta};
use crate::writer::Writer;

/// The events whose values are erased, by author, id and place; and whether their bytes go for
/// good, or are kept in case the redact becomes void.
pub type Redacted = BTreeMap<(AuthorKey, EventId, Dot), bool>;

/// Openings that are erased in the events of one author; and whether their bytes go for good.
pub type Erased = BTreeMap<OpeningId, bool>;

/// The events whose values are erased by redacts that are not void.
pub fn redacted(authority: &Authority, verdicts: &Verdicts) -> Redacted {
    // Nobody can certify a redact in a ledger without validators.
    let uncertifiable = authority.genesis().validators.is_empty();
    let mut redacted = Redacted::new();
    for control in
        authority.events().iter().filter(|control| !verdicts.is_void_control(control.dot))
    {
        for act in &control.acts {
            if let Act::Redact { event, author, dot } = *act {
                *redacted.entry((author, event, dot)).or_default() |= uncertifiable
                    || control.author == author
                    || verdicts.certified().covers(control.dot);
            }
        }
    }
    redacted
}

/// What the verdicts on earlier events have become, where they changed, and the keys concerned.
#[derive(Default)]
pub struct Rejudged {
    /// Events that are void now, or no longer.
    pub void: BTreeMap<Dot, bool>,
    /// Values that are erased now, or no longer, by event and slot.
    pub erased: BTreeMap<(Dot, u16), bool>,
    /// The keys that these worked on, as in the family `state`.
    pub keys: BTreeSet<Vec<u8>>,
}

impl Writer {
    /// Whether taking in an event with these acts may change what others come to. Everything
    /// before it must be in the database then.
    pub fn changes_others(&self, acts: &[Act], forks: bool) -> bool {
        acts.iter().any(|act| !matches!(act, Act::Grant { .. })) || (forks && self.excludes())
    }

    /// Brings the verdicts up to date with a new event that is in the lanes already, and changes
    /// what earlier events come to where it makes them void or erases their values.
    pub fn judge_new(&mut self, db: &Db, new: &NewEvent<'_>) -> Result<(), StorageError> {
        let lanes = self.lanes.table().clone();
        let placement = new.admission.placement;
        let changes_others = self.changes_others(&new.admission.acts, placement.forks);
        let before = changes_others.then(|| self.verdicts.clone());
        let control = new.admission.control(new.event);
        if let Some(control) = &control {
            Arc::make_mut(&mut self.authority).insert(control.clone());
        }
        let extended = control.is_none_or(|c| Arc::make_mut(&mut self.verdicts).extend(&lanes, &c));
        let Some(before) = before else { return Ok(()) };
        let tips = self.lanes.clone();
        let within = |lane: Lane| tips.tip(lane);
        if !extended || (placement.forks && self.excludes()) {
            self.verdicts =
                Arc::new(Verdicts::new(&self.authority, &lanes, &within, &self.finality.cuts));
        }
        self.rejudge(db, &before, Some(placement.dot))
    }

    /// Brings what earlier events come to up to date with the verdicts, which were `before`. All of
    /// them are in the database, `new` aside, which is not judged here.
    pub fn rejudge(
        &mut self,
        db: &Db,
        before: &Verdicts,
        new: Option<Dot>,
    ) -> Result<(), StorageError> {
        let mut rejudged = Rejudged::default();
        self.mark_void(db, before, new, &mut rejudged)?;
        self.mark_erased(db, &mut rejudged)?;
        for key in &rejudged.keys {
            self.rebuild(db, key, &rejudged)?;
        }
        Ok(())
    }

    /// The slots of a new event whose openings its author has had erased before; and whether
    /// their bytes are to be dropped.
    pub fn erased_slots(
        &mut self,
        db: &Db,
        new: &NewEvent<'_>,
    ) -> Result<BTreeMap<u16, bool>, StorageError> {
        let author = new.event.event().author;
        if !self.erased_openings.contains_key(&author) {
            let erased = erased_of(db, &self.redacted, author)?;
            self.erased_openings.insert(author, erased);
        }
        let Some(erased) = self.erased_openings.get(&author).filter(|erased| !erased.is_empty())
        else {
            return Ok(BTreeMap::new());
        };
        let kept = Kept::decode(new.body_bytes);
        let values = kept.map(|kept| kept.values()).unwrap_or_default().into_iter();
        Ok(values.filter_map(|(slot, value)| Some((slot, *erased.get(&value)?))).collect())
    }

    fn excludes(&self) -> bool {
        self.authority.forks() == ForkPolicy::Exclude
    }

    /// Marks the events that became void, and those that no longer are.
    fn mark_void(
        &mut self,
        db: &Db,
        before: &Verdicts,
        new: Option<Dot>,
        rejudged: &mut Rejudged,
    ) -> Result<(), StorageError> {
        let lanes = self.lanes.table().clone();
        let acts: BTreeMap<Dot, _> =
            self.authority.events().iter().map(|e| (e.dot, e.clone())).collect();
        for author in self.verdicts.changed_since(before) {
            for &lane in lanes.of(author) {
                // What is certified is final.
                let certified = before.certified().latest().seq(lane);
                for_each_event(db, lane, certified, |dot, kept| {
                    if Some(dot) == new {
                        return Ok(());
                    }
                    let clock = lookup::clock_at(db.latest(), dot)?;
                    let acts = acts.get(&dot).map_or(&[][..], |control| &control.acts);
                    let is = self
                        .verdicts
                        .is_void(&lanes, &Subject { author, dot, clock: &clock, acts });
                    if is != db.latest().has(Family::Meta, &meta::void(dot))? {
                        rejudged.void.insert(dot, is);
                        rejudged.keys.extend(kept.operations().iter().map(key_of));
                    }
                    Ok(())
                })?;
            }
        }
        for (&dot, &void) in &rejudged.void {
            self.mark(db, &meta::void(dot), void)?;
        }
        Ok(())
    }

    /// Marks the values of redacted events as erased or not, wherever their authors used them.
    fn mark_erased(&mut self, db: &Db, rejudged: &mut Rejudged) -> Result<(), StorageError> {
        let now = redacted(&self.authority, &self.verdicts);
        let before = std::mem::replace(&mut self.redacted, now.clone());
        self.erased_openings.clear();
        let changed = |a: &Redacted, b: &Redacted| {
            let changed = a.iter().filter(|(target, drop)| b.get(target) != Some(drop));
            changed.map(|(target, _)| target.0).collect::<Vec<_>>()
        };
        let authors: BTreeSet<_> =
            [changed(&before, &now), changed(&now, &before)].concat().into_iter().collect();
        let lanes = self.lanes.table().clone();
        let mut dropped = BTreeMap::<Dot, Vec<u16>>::new();
        for author in authors {
            // Several events of an author may name one opening: what one redact no longer erases,
            // another may still do.
            let (before, now) = (erased_of(db, &before, author)?, erased_of(db, &now, author)?);
            for &lane in lanes.of(author) {
                for_each_event(db, lane, 0, |dot, kept| {
                    for (slot, value) in kept.values() {
                        let (was, is) = (before.get(&value), now.get(&value));
                        if was.is_some() != is.is_some() {
                            rejudged.erased.insert((dot, slot), is.is_some());
                            let operation = kept.operations().get(usize::from(slot));
                            rejudged.keys.extend(operation.map(key_of));
                        }
                        if is == Some(&true) && was != is {
                            dropped.entry(dot).or_default().push(slot);
                        }
                    }
                    Ok(())
                })?;
            }
        }
        for (&(dot, slot), &erased) in &rejudged.erased {
            self.mark(db, &meta::erased(dot, slot), erased)?;
            let missing = !erased && missing::is_marked(db.latest(), dot, slot)?;
            self.mark(db, &meta::missing(dot, slot), missing)?;
        }
        for (dot, slots) in dropped {
            self.drop_openings(db, dot, &slots)?;
            self.erase_pruned(db, dot, &slots)?;
            self.put(db, Family::Meta, &meta::erasure(dot), &[])?;
        }
        Ok(())
    }

    fn mark(&mut self, db: &Db, key: &[u8], set: bool) -> Result<(), StorageError> {
        if set { self.put(db, Family::Meta, key, &[]) } else { self.delete(db, Family::Meta, key) }
    }
}

/// Calls `visit` with every event of a lane after a position that is in the database.
fn for_each_event(
    db: &Db,
    lane: Lane,
    after: u64,
    mut visit: impl FnMut(Dot, &Kept) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let damaged = || StorageError::damaged(format!("an event of lane {}", lane.0));
    let mut walk = db.latest().walk(Family::Events, &lane.0.to_be_bytes())?;
    walk.seek(&schema::dot_key(Dot { lane, seq: Seq(after).next() }))?;
    while let Some((key, value)) = walk.item() {
        let dot = schema::parse_dot(key).ok_or_else(damaged)?;
        let record = EventRecord::decode(value).ok_or_else(damaged)?;
        visit(dot, &Kept::decode(record.body).ok_or_else(damaged)?)?;
        walk.next()?;
    }
    Ok(())
}

/// The openings of one author that these redacted events erase.
fn erased_of(db: &Db, redacted: &Redacted, author: AuthorKey) -> Result<Erased, StorageError> {
    let mut erased = Erased::new();
    for ((_, _, dot), drop) in redacted.iter().filter(|((by, ..), _)| *by == author) {
        for (_, opening) in Stored::read(db.latest(), *dot)?.kept()?.values() {
            *erased.entry(opening).or_default() |= *drop;
        }
    }
    Ok(erased)
}

/// The key in the family `state` that an operation works on.
pub fn key_of(operation: &quipu_merge::Operation) -> Vec<u8> {
    use quipu_merge::Operation as O;
    let (kind, member) = match operation {
        O::Put { .. } | O::Del { .. } => (Kind::Register, None),
        O::Inc { .. } => (Kind::Counter, None),
        O::Append { .. } => (Kind::List, None),
        O::Add { member, .. } | O::Rem { member, .. } => (Kind::Member, Some(member.as_bytes())),
    };
    schema::state_key(kind, operation.key().as_str(), member)
}
