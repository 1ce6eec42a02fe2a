//! Repairing a store: a new database is made of the raw events that can still be read, by the rules
//! for events of others, so that everything derived is derived again. The damaged one is kept.

mod certified;
mod error;
mod events;
mod kept;
mod local;
mod lost;
mod place;
mod sources;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use quipu_merge::{EventId, Height};

use self::events::{Events, Offered, Raw};
use self::local::Taking;
use self::sources::Sources;
use crate::db::{Db, Salvage, remake};
use crate::error::{OpenError, ReadError, StorageError};
use crate::exchange::{Place, REPAIR};
use crate::ledger::{DATABASE, Ledger, is_store};
use crate::load;
use crate::lookup::Stored;
use crate::mark::Loss;
use crate::merge::Progress;
use crate::options::Options;
use crate::schema::{Family, meta};
use crate::signer::Signer;
use crate::verify::{Finding, VerifyReport};

pub use self::error::RepairError;
pub use self::lost::Unplaced;
pub(crate) use self::place::{is_left, settle};

/// How to repair a store.
#[derive(Clone, Debug, Default)]
pub struct RepairOptions {
    /// Where to fetch what is lost: directories of other replicas, and CAR files.
    pub from: Vec<PathBuf>,
    /// Make a new database even where nothing is wrong.
    pub force: bool,
}

/// What a repair has come to.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// What was wrong before: the findings of [`Ledger::verify`], or why the store did not open.
    pub found: Vec<Finding>,
    /// Whether the database was made anew. It is not where nothing is wrong.
    pub repaired: bool,
    /// Events that were kept.
    pub kept: u64,
    /// Events that came from the sources.
    pub fetched: u64,
    /// Places of the damaged database that could not be read, and records that are not what was
    /// put there.
    pub unreadable: u64,
    /// Events that can be read, and have to wait because events that they follow are gone.
    pub unplaced: Vec<Unplaced>,
    /// Those of them for which there is no room among the waiting events: only the damaged
    /// database has them.
    pub left_behind: u64,
    /// Events that were in the index and could not be had.
    pub lost_events: u64,
    /// Values that were here and could not be had.
    pub lost_values: u64,
    /// Pins of events and blocks that could not be had.
    pub lost_pins: u64,
    /// Certified checkpoints that were here and could not be had, or lack events now.
    pub lost_checkpoints: u64,
    /// Values that are not whole here, those included that never were.
    pub missing_values: u64,
    /// Acknowledged writes that are gone, if any are: own events are refused until they are back,
    /// or the key is another.
    pub loss: Option<Loss>,
    /// Where the damaged database is kept, if there was one.
    pub damaged: Option<PathBuf>,
    /// What checking the store has found in the end.
    pub verified: VerifyReport,
}

impl RepairReport {
    /// Whether the store is sound and has all that it had.
    pub fn is_whole(&self) -> bool {
        self.verified.is_sound()
            && self.unplaced.is_empty()
            && self.lost_events + self.lost_values + self.lost_pins + self.lost_checkpoints == 0
            && self.loss.is_none()
    }
}

impl Options {
    /// Makes the store in `dir` sound again: whatever can be derived is derived anew from the raw
    /// events, and what is lost is fetched from the sources that are given. Where nothing is wrong,
    /// nothing is done.
    ///
    /// The new database is made beside the damaged one, which takes its place only when it is
    /// whole, and the damaged one is kept under another name. A crash leaves either, and opening the
    /// store finishes what was begun.
    ///
    /// # Errors
    /// [`RepairError`] says what is missing. The store is as it was before.
    pub fn repair(
        &self,
        dir: impl AsRef<Path>,
        what: &RepairOptions,
        progress: Progress<'_>,
    ) -> Result<RepairReport, RepairError> {
        let dir = dir.as_ref();
        if !is_store(dir) {
            return Err(OpenError::NotFound(dir.to_owned()).into());
        }
        settle(dir)?;
        let verified = self.look(dir, progress)?;
        let mut report = RepairReport { found: verified.findings.clone(), ..Default::default() };
        if report.found.is_empty() && !what.force {
            return Ok(RepairReport { verified, ..report });
        }
        let mut sources = Sources::open(dir, &what.from)?;
        let place = Place::take(dir)?;
        place::check_room(&place, self.tuning().min_free)?;
        let lock = place::working(&place, |work| {
            let salvages = self.salvage(&place.database(), &work.join("copy"), work);
            let rebuild =
                Rebuild { options: self, dir, work, salvages: &salvages, report: &mut report };
            rebuild.run(&mut sources, progress)
        })?;
        report.damaged = REPAIR.exchange(place, lock)?;
        report.repaired = true;
        report.verified = verify(&self.open(dir)?, progress)?;
        Ok(report)
    }

    /// Checks the store as it is. What keeps it from being opened is a finding.
    fn look(&self, dir: &Path, progress: Progress<'_>) -> Result<VerifyReport, RepairError> {
        let checked = match self.open(dir) {
            Ok(ledger) => verify(&ledger, progress),
            Err(OpenError::Storage(error)) => Err(error.into()),
            Err(other) => return Err(other.into()),
        };
        match checked {
            Err(RepairError::Storage(error)) if is_of_database(&error) => Ok(VerifyReport {
                findings: vec![Finding { what: error.to_string() }],
                ..VerifyReport::default()
            }),
            other => other,
        }
    }

    /// What can be read of the database in `path`: as it is and, where that does not do, in a copy
    /// with a new manifest.
    fn salvage(&self, path: &Path, copy: &Path, logs: &Path) -> Vec<Salvage> {
        let as_it_is = Salvage::open(path, logs, self.tuning()).ok();
        if as_it_is.as_ref().is_some_and(|salvage| !salvage.is_stuck()) {
            return as_it_is.into_iter().collect();
        }
        let remade = remake(path, copy, self.tuning()).ok();
        as_it_is.into_iter().chain(remade).collect()
    }
}

fn verify(ledger: &Ledger, progress: Progress<'_>) -> Result<VerifyReport, RepairError> {
    ledger.verify(&mut |done, total| progress(done, total)).map_err(|error| match error {
        ReadError::Storage(error) => error.into(),
        other => StorageError::damaged(other.to_string()).into(),
    })
}

/// Whether an error is about the database, which can be made anew.
const fn is_of_database(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::Damaged { .. } | StorageError::Corrupt { .. } | StorageError::Database(_)
    )
}

/// A new database that is being made.
struct Rebuild<'r> {
    options: &'r Options,
    dir: &'r Path,
    work: &'r Path,
    /// What can be read of the damaged one.
    salvages: &'r [Salvage],
    report: &'r mut RepairReport,
}

impl Rebuild<'_> {
    fn run(self, sources: &mut Sources, progress: Progress<'_>) -> Result<(), RepairError> {
        for salvage in self.salvages {
            local::check_format(salvage)?;
            local::check_whole(salvage)?;
        }
        let events: Vec<_> = self.salvages.iter().map(Events::find).collect();
        let ledger = self.found(&events, sources)?;
        kept::take_over_bodies(self.salvages, &ledger)?;
        let mut offered = Offered::default();
        for (events, salvage) in events.iter().zip(self.salvages) {
            events.offer(&ledger, &mut offered, progress)?;
            Taking { salvage, ledger: &ledger }.take_over()?;
            kept::take_over_pruned(salvage, &ledger)?;
        }
        let mut certified = None;
        for salvage in self.salvages {
            certified::offer(salvage, &ledger)?;
            certified = certified.max(certified::last_height(salvage)?);
        }
        let never = self.never_whole()?;
        sources.bring(&ledger, progress)?;
        for salvage in self.salvages {
            certified::take_over_lines(salvage, &ledger)?;
        }
        let counted = ledger.certification().height;
        self.report.lost_checkpoints = height_of(certified).saturating_sub(height_of(counted));
        self.report.lost_pins = kept::take_over_pins(self.salvages, &ledger)?;
        self.settle(&ledger, &events, offered, &never)?;
        // What is in table files needs no log, and what is synced outlasts a power failure.
        ledger.db.flush_tables()?;
        Ok(ledger.sync()?)
    }

    /// Makes the new database with the first event of the ledger.
    fn found(&self, events: &[Events<'_>], sources: &mut Sources) -> Result<Ledger, RepairError> {
        let no_genesis = || RepairError::NoGenesis(self.dir.to_owned());
        let (event, body) = match events.iter().find_map(Events::genesis) {
            Some(found) => found,
            None => sources.genesis()?.ok_or_else(no_genesis)?,
        };
        let passphrase = self.options.passphrase.as_ref();
        let authors = local::authors(self.salvages, self.dir, passphrase)?;
        let db = Db::open(&self.work.join(DATABASE), true, self.options.tuning())?;
        load::first(&db, &event, &body)?;
        local::identify(&db, self.salvages, self.dir, &authors)?;
        let signer = Signer::open(self.dir, &db, passphrase)?;
        Ok(Ledger::start(self.options, self.work, db, signer, false)?)
    }

    /// The values that the damaged database marks as never having been whole here.
    fn never_whole(&self) -> Result<BTreeSet<(EventId, u16)>, StorageError> {
        let mut never = BTreeSet::new();
        for salvage in self.salvages {
            salvage.visit(Family::Meta, meta::MISSING, |key, _| {
                let event = meta::parse_missing(key)
                    .and_then(|(dot, slot)| Some((Raw::read(salvage, dot)?.event.id(), slot)));
                never.extend(event);
                Ok::<_, StorageError>(())
            })?;
        }
        Ok(never)
    }

    /// Tells what has become of everything, and puts down what is gone.
    fn settle(
        self,
        ledger: &Ledger,
        events: &[Events<'_>],
        offered: Offered,
        never: &BTreeSet<(EventId, u16)>,
    ) -> Result<(), RepairError> {
        let Offered { mut kept, bad, mut unplaced } = offered;
        let before = unplaced.len();
        let mut placed = BTreeSet::new();
        for id in unplaced.keys() {
            if ledger.latest().has(Family::Ids, &id.0)? {
                placed.insert(*id);
            }
        }
        unplaced.retain(|id, _| !placed.contains(id));
        kept += (before - unplaced.len()) as u64;
        kept += u64::from(events.iter().any(|events| events.genesis().is_some()));
        let mut lost = BTreeMap::new();
        for events in events {
            lost.extend(events.lost(ledger, &unplaced)?);
        }
        let own = ledger.author();
        let own_unplaced = unplaced.iter().filter(|(_, (author, _))| *author == own);
        let own_lost = lost.iter().filter(|(_, (author, _))| *author == Some(own));
        let own_gone = own_unplaced.map(|(id, (_, seq))| (*id, *seq));
        let own_gone = own_gone.chain(own_lost.map(|(id, (_, seq))| (*id, *seq)));
        let unreadable = bad + self.salvages.iter().map(Salvage::unreadable).sum::<u64>();
        let all = unreadable == 0 && self.salvages.len() == 1;
        let loss = lost::loss(self.dir, ledger, own_gone, all)?;
        if let Some(loss) = &loss {
            loss.put_down(self.work)?;
        }
        let waiting: BTreeSet<_> = ledger.waiting().into_iter().map(|info| info.event).collect();
        let report = self.report;
        report.kept = kept;
        report.fetched = ledger.snapshot()?.len()?.saturating_sub(kept);
        report.unreadable = unreadable;
        report.left_behind = unplaced.keys().filter(|id| !waiting.contains(id)).count() as u64;
        report.unplaced = lost::by_author(&unplaced);
        report.lost_events = lost.len() as u64;
        (report.missing_values, report.lost_values) = missing_values(ledger, never)?;
        report.loss = loss;
        Ok(())
    }
}

fn height_of(height: Option<Height>) -> u64 {
    height.map_or(0, |height| height.0)
}

/// How many values are not whole, and how many of them are not among those that never were.
fn missing_values(
    ledger: &Ledger,
    never: &BTreeSet<(EventId, u16)>,
) -> Result<(u64, u64), StorageError> {
    let (mut missing, mut lost) = (0, 0);
    let mut walk = ledger.latest().walk(Family::Meta, meta::MISSING)?;
    walk.first()?;
    while let Some((key, _)) = walk.item() {
        let damaged = || StorageError::damaged("the mark of a missing value");
        let (dot, slot) = meta::parse_missing(key).ok_or_else(damaged)?;
        let event = Stored::read(ledger.latest(), dot)?.event()?.id();
        missing += 1;
        lost += u64::from(!never.contains(&(event, slot)));
        walk.next()?;
    }
    Ok((missing, lost))
}
