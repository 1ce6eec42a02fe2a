//! The second database, while history comes into it.

use quipu_merge::{CheckpointId, EventId, Height, Refusal};

use super::error::FillError;
use super::front::{Front, Target};
use super::gathered::Gathered;
use super::history::HistoryItem;
use super::place;
use super::prune::Pruned;
use crate::certify::{AcceptError, Acceptance, CertifiedCheckpoint};
use crate::error::StorageError;
use crate::exchange::FILLING;
use crate::incoming::{Checked, Incoming, check_all, check_hashes};
use crate::ingest::{BATCH, MergeReport, Outcome};
use crate::ledger::Ledger;
use crate::missing::ValueSource;
use crate::pace::Pace;
use crate::schema::Family;
use crate::shallow::{Below, Shallow};

/// The history below a shallow store, as far as it has come. There is one at a time.
///
/// Dropped, it keeps what is certified, and [`Ledger::open_filling`] goes on after the last checkpoint.
pub struct Filling {
    front: Front,
    /// None where it could not be opened again.
    work: Option<Work>,
}

/// What there is of it.
struct Work {
    /// The second database: what is certified.
    ledger: Ledger,
    /// What has come after that.
    gathered: Gathered,
    pruned: Pruned,
}

impl Work {
    fn open(front: &Front) -> Result<Self, FillError> {
        let ledger = front.open()?;
        let (gathered, pruned) = (Gathered::after(&ledger)?, Pruned::of(&ledger)?);
        Ok(Self { ledger, gathered, pruned })
    }
}

impl Filling {
    pub(super) fn open(front: &Ledger, shallow: &Shallow) -> Result<Self, FillError> {
        Self::of(Front::of(front, shallow)?)
    }

    pub(super) fn of(front: Front) -> Result<Self, FillError> {
        let work = Some(Work::open(&front)?);
        Ok(Self { front, work })
    }

    /// The place in the certified log of the event that comes next, where the first event is 0.
    pub fn next(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.gathered.size())
    }

    /// How many events there are to come in all.
    pub const fn total(&self) -> u64 {
        self.front.target.size
    }

    /// The checkpoint from which the store starts: its height and id.
    pub const fn target(&self) -> (Height, CheckpointId) {
        (self.front.target.height, self.front.target.id)
    }

    /// Whether all events and checkpoints have come, and are what is certified.
    pub fn is_whole(&self) -> bool {
        self.work.as_ref().is_some_and(|work| self.front.target.is_reached_by(&work.ledger))
    }

    /// Takes in what [`Ledger::history`] of a replica that is believed in nothing has given from a place in
    /// the certified log on, which must be [`Self::next`]. Events count when their checkpoint has come and
    /// is certified over just these; what counts is on the disk when this returns.
    ///
    /// # Errors
    /// [`FillError`]. What has come after the last checkpoint that counts is to come again, from
    /// [`Self::next`]; with [`StorageError::NoRoom`], once there is room.
    pub fn take(&mut self, from: u64, items: Vec<HistoryItem>) -> Result<(), FillError> {
        if self.work.is_none() {
            self.work = Some(Work::open(&self.front)?);
        }
        if from != self.next() {
            return Err(FillError::Place { wanted: self.next(), found: from });
        }
        let Some(work) = &mut self.work else { return Ok(()) };
        let taken = Taking { front: &self.front, work }.all(items);
        if let Err(error) = &taken {
            self.go_back(error);
        }
        taken
    }

    /// Forgets what no checkpoint has confirmed.
    fn go_back(&mut self, error: &FillError) {
        let usable = match error {
            FillError::Beyond(_) => false,
            FillError::Storage(error) => matches!(error, StorageError::NoRoom { .. }),
            _ => true,
        };
        if let Some(work) = &mut self.work
            && usable
            && let Ok(gathered) = Gathered::after(&work.ledger)
        {
            work.gathered = gathered;
        } else {
            // It is opened again when something comes.
            self.work = None;
        }
    }

    /// Drops what is not to stay of bodies and values, where a store was started so ([`Below::Pruned`]) and
    /// all or much has come since the last time.
    ///
    /// # Errors
    /// Those of [`Ledger::prune`]; it goes on where it was the next time.
    pub fn prune(&mut self, progress: &mut dyn Pace) -> Result<(), FillError> {
        let whole = self.is_whole();
        let Some(work) = self.work.as_mut().filter(|_| self.front.below == Below::Pruned) else {
            return Ok(());
        };
        let certified = work.ledger.certification().events;
        if whole || work.pruned.is_due(certified, self.front.prune_every) {
            work.pruned.prune(&work.ledger, progress)?;
        }
        Ok(())
    }

    /// Looks in a source for the values that have not come along, of those that are to stay.
    pub(super) fn take_values(&mut self, source: &mut impl ValueSource) -> Result<(), FillError> {
        self.prune(&mut |_, _| {})?;
        match &self.work {
            Some(work) => Ok(work.ledger.fill_missing(source).map(drop)?),
            None => Err(self.not_whole()),
        }
    }

    /// Says that the history is whole. It takes its place when the store is opened next.
    ///
    /// # Errors
    /// [`FillError::NotWhole`], and errors of the disk. What has come stays.
    pub fn finish(mut self) -> Result<(), FillError> {
        if !self.is_whole() {
            return Err(self.not_whole());
        }
        self.prune(&mut |_, _| {})?;
        if let Some(Work { ledger, .. }) = self.work.take() {
            // What is in table files needs no log, and what is synced outlasts a power failure.
            ledger.db.flush_tables()?;
            ledger.sync()?;
        }
        fail::fail_point!("before-filling-whole");
        place::mark_whole(&self.front.dir)?;
        fail::fail_point!("after-filling-whole");
        Ok(())
    }

    /// The second database.
    #[cfg(test)]
    pub(super) fn database(&self) -> Option<&Ledger> {
        self.work.as_ref().map(|work| &work.ledger)
    }

    pub(super) fn not_whole(&self) -> FillError {
        FillError::NotWhole { held: self.next(), total: self.total() }
    }
}

/// Taking in a portion.
struct Taking<'f> {
    front: &'f Front,
    work: &'f mut Work,
}

impl Taking<'_> {
    fn all(&mut self, items: Vec<HistoryItem>) -> Result<(), FillError> {
        let mut events = Vec::new();
        for item in items {
            match item {
                HistoryItem::Event(event) => events.push(event),
                HistoryItem::Checkpoint(certified) => {
                    self.gather(std::mem::take(&mut events))?;
                    self.count(certified)?;
                }
            }
            if events.len() == BATCH {
                self.gather(std::mem::take(&mut events))?;
            }
        }
        self.gather(events)
    }

    /// Keeps the next events of the log until their checkpoint comes.
    fn gather(&mut self, events: Vec<Incoming>) -> Result<(), FillError> {
        if events.is_empty() {
            return Ok(());
        }
        let Work { ledger, gathered, .. } = &mut *self.work;
        let total = self.front.target.size;
        if gathered.size() + events.len() as u64 > total {
            return Err(FillError::TooMany(total));
        }
        let checked = match self.front.below {
            Below::Signatures => check_all(events),
            Below::Hashes | Below::Pruned => check_hashes(events),
        };
        let checked = checked.into_iter().collect::<Result<Vec<_>, Refusal>>();
        let checked = checked.map_err(FillError::Refused)?;
        gathered.add(checked, self.front.in_memory, &FILLING.dir(&self.front.dir), &ledger.db)
    }

    /// Lets the next checkpoint count, where it certifies what has come.
    fn count(&mut self, certified: CertifiedCheckpoint) -> Result<(), FillError> {
        self.believe(&certified)?;
        self.compare(&certified)?;
        let height = certified.height();
        let after = Gathered::after(&self.work.ledger)?;
        let ledger = &self.work.ledger;
        std::mem::replace(&mut self.work.gathered, after).give(|events| {
            offer(ledger, events)?;
            fail::fail_point!("between-filled");
            Ok(())
        })?;
        match ledger.accept(certified) {
            Ok(Acceptance::Counted) => {}
            Err(AcceptError::Storage(error)) => return Err(error.into()),
            // Whoever has certified it is wrong, or this replica is.
            Ok(_) | Err(_) => return Err(FillError::Differs(height)),
        }
        self.work.gathered = Gathered::after(ledger)?;
        Ok(ledger.sync()?)
    }

    /// Looks whether a checkpoint continues those before and is certified, whatever it says of events.
    fn believe(&self, certified: &CertifiedCheckpoint) -> Result<(), FillError> {
        let CertifiedCheckpoint { checkpoint, certificate, cut, validators } = certified;
        let (height, mut chain) = (checkpoint.height, self.work.ledger.held_chain());
        let continues = if cut.seal().0 == checkpoint.cut {
            chain.accept(checkpoint, certificate, validators).map_err(AcceptError::from)
        } else {
            Err(AcceptError::Cut(checkpoint.cut))
        };
        continues.map_err(|why| FillError::Checkpoint { height, why })?;
        let Target { height: last, id, .. } = self.front.target;
        if height == last && certified.id() != id {
            return Err(FillError::OtherCheckpoint(height));
        }
        Ok(())
    }

    /// Looks whether what has come is what a checkpoint certifies.
    fn compare(&self, certified: &CertifiedCheckpoint) -> Result<(), FillError> {
        let Work { ledger, gathered, .. } = &*self.work;
        let (height, size, found) =
            (certified.height(), certified.checkpoint.size, gathered.size());
        if size != found {
            return Err(FillError::Size { height, size, found });
        }
        if gathered.root() != certified.checkpoint.root {
            return Err(FillError::Root(height));
        }
        // Where this was cut short before, some of these events are here already, and no others.
        let beyond = ledger.snapshot()?.len()?.saturating_sub(ledger.certification().events);
        let held = |id: EventId| ledger.latest().has(Family::Ids, &id.0);
        if beyond > 0 && gathered.count(held)? != beyond {
            place::forget_begun(&self.front.dir)?;
            return Err(FillError::Beyond(beyond));
        }
        Ok(())
    }
}

/// Admits events that are certified, none of which may have to wait, not even for its time.
fn offer(ledger: &Ledger, checked: Vec<Checked>) -> Result<(), FillError> {
    let ids: Vec<_> = checked.iter().map(|checked| checked.event.id()).collect();
    let mut offered = ids.iter();
    ledger.in_bulk(|hold| {
        hold.writer().certain = ids.iter().copied().collect();
        let checked = checked.into_iter().map(Ok).collect();
        let taken = ledger.offer_all(hold, checked, &mut MergeReport::default(), |outcome| {
            let event = offered.next().copied();
            match outcome {
                Ok(Outcome::Admitted | Outcome::Known) => Ok(()),
                _ => Err(FillError::NotAdmitted(event.unwrap_or(ledger.id()))),
            }
        });
        hold.writer().certain.clear();
        taken
    })
}
