//! The second database, once it is whole, takes in what the first one has more, and takes its place.
//!
//! Until that is decided, nothing of the first is changed: wherever this is cut short, it is done again
//! when the store is opened next, from what the first one has then.

use std::path::Path;

use super::front::{self, Target, is_unusable};
use super::{local, place};
use crate::author;
use crate::certify::{AcceptError, CertifiedCheckpoint, Divergence};
use crate::db::Db;
use crate::error::{MergeError, OpenError, StorageError};
use crate::exchange::{FILLING, Place};
use crate::incoming::Checked;
use crate::ingest::MergeReport;
use crate::ledger::{DATABASE, Ledger};
use crate::lookup;
use crate::mark::Loss;
use crate::merge::OtherReplica;
use crate::options::Options;
use crate::waiting::WaitingReason;

pub use super::place::is_whole;

/// Puts the database with the whole history in the place of that of the shallow store in `dir`, if all of
/// it has come. Tells whether that is put off because the disk does not let it: the store is left as it is
/// then.
pub fn settle(options: &Options, dir: &Path) -> Result<bool, OpenError> {
    if !FILLING.is_ready(dir) && !is_whole(dir) {
        return Ok(false);
    }
    // Another process may have been faster.
    let Some(lock) = FILLING.lock(dir)? else { return Ok(false) };
    if FILLING.is_ready(dir) {
        FILLING.finish(&Place::take(dir)?, &lock)?;
    }
    if !is_whole(dir) {
        return Ok(false);
    }
    let taken = take_over(options, dir, options.open_front(dir)?);
    match taken {
        Ok(Taken::All(loss)) => {
            if let Some(loss) = loss {
                loss.put_down(&FILLING.dir(dir))?;
            }
            FILLING.exchange(Place::take(dir)?, lock)?;
            Ok(false)
        }
        Ok(Taken::Nothing) => Ok(place::discard(dir).map(|()| false)?),
        Err(error) => match of_storage(&error) {
            // It is made anew. The store goes on with what it has.
            Some(error) if error.is_damage() => Ok(place::discard(dir).map(|()| false)?),
            Some(_) => Ok(true),
            None => Err(error),
        },
    }
}

fn of_storage(error: &OpenError) -> Option<&StorageError> {
    match error {
        OpenError::Storage(error) => Some(error),
        OpenError::Merge(error) => match &**error {
            MergeError::Storage(error) => Some(error),
            _ => None,
        },
        _ => None,
    }
}

/// What the second database has come to.
enum Taken {
    /// It has all that the first one has, which may have lost acknowledged writes before.
    All(Option<Loss>),
    /// It is of no use.
    Nothing,
}

/// Has the second database take in all that the first has more.
fn take_over(options: &Options, dir: &Path, front: Ledger) -> Result<Taken, OpenError> {
    let Some(shallow) = front.shallow() else { return Ok(Taken::Nothing) };
    let target = Target::of(&front, shallow)?;
    place::forget_loss(dir)?;
    let authors = author::recorded(front.latest())?;
    let opened = front::open(dir, options.tuning(), &authors);
    let filled = match opened {
        Ok(filled) => filled,
        Err(OpenError::Storage(error)) if is_unusable(&error) => return Ok(Taken::Nothing),
        Err(other) => return Err(other),
    };
    // What it has beyond the checkpoint, an attempt that was cut short has taken over.
    if !target.is_passed_by(&filled)? {
        return Ok(Taken::Nothing);
    }
    Merging { front: &front, filled: &filled }.run()?;
    fail::fail_point!("after-front-merged");
    local::take_over(&front, &filled)?;
    fail::fail_point!("after-front-taken-over");
    // What is in table files needs no log, and what is synced outlasts a power failure.
    filled.db.flush_tables()?;
    filled.sync()?;
    Ok(Taken::All(front.loss()))
}

impl Target {
    /// Whether a database has everything up to there.
    fn is_passed_by(self, ledger: &Ledger) -> Result<bool, StorageError> {
        let reached = ledger.certification().height >= Some(self.height);
        Ok(reached && ledger.held_id(&ledger.certifying.lock(), self.height)? == Some(self.id))
    }
}

/// Everything of the first database that every replica may have.
struct Merging<'m> {
    front: &'m Ledger,
    filled: &'m Ledger,
}

impl Merging<'_> {
    fn run(&self) -> Result<(), MergeError> {
        self.filled.merge_own(self.front)?;
        self.admit_waiting()?;
        self.release_held()?;
        Ok(self.accept_aside()?)
    }

    /// Offers the events that wait. Their signatures held when they were put there.
    fn admit_waiting(&self) -> Result<(), MergeError> {
        let mut checked = Vec::new();
        for (event, record) in self.front.waiting_records()? {
            checked.push(Ok(Checked::new(event.verified_before(), record.body, record.openings)));
        }
        self.filled.take_in_all(checked, true, &mut MergeReport::default())?;
        // Blocks of theirs may have come.
        let front = self.front.snapshot()?;
        self.filled.fill_missing(&mut OtherReplica(&front)).map(drop)
    }

    /// Admits what the first database holds and is not due by the clock any more, if that was set back.
    fn release_held(&self) -> Result<(), StorageError> {
        let mut held = Vec::new();
        for waiting in self.filled.waiting() {
            let due = matches!(waiting.reason, WaitingReason::Due(_));
            if due && lookup::dot_of(self.front.latest(), waiting.event)?.is_some() {
                held.push(waiting.event);
            }
        }
        if held.is_empty() {
            return Ok(());
        }
        self.filled.in_bulk(|hold| {
            hold.writer().certain = held.iter().copied().collect();
            let released = self.filled.release(hold, held, &mut MergeReport::default());
            hold.writer().certain.clear();
            released
        })
    }

    /// Offers the certified checkpoints that do not count in the first database: those that wait, and
    /// what contradicts it.
    fn accept_aside(&self) -> Result<(), StorageError> {
        let aside: Vec<CertifiedCheckpoint> = {
            let state = self.front.certifying.lock();
            let pending = state.pending.values().map(|pending| pending.certified.clone());
            let diverged = state.diverged.iter().map(|divergence| match divergence {
                Divergence::Certificates { other, .. } => CertifiedCheckpoint::clone(other),
                Divergence::Derived { certified, .. } => CertifiedCheckpoint::clone(certified),
            });
            pending.chain(diverged).collect()
        };
        for certified in aside {
            // What does not continue those before has come to nothing.
            if let Err(AcceptError::Storage(error)) = self.filled.accept(certified) {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Options {
    /// Opens the database of the store in `dir`, and says no more of the second one.
    fn open_front(&self, dir: &Path) -> Result<Ledger, OpenError> {
        let db =
            Db::open(&dir.join(DATABASE), false, self.tuning()).map_err(|error| match error {
                OpenError::Locked(_) => OpenError::Locked(dir.to_owned()),
                other => other,
            })?;
        self.open_database(dir, db)
    }
}
