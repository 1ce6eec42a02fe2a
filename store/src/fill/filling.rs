//! The second database, while history comes into it.

use std::path::{Path, PathBuf};

use quipu_merge::{
    AuthorKey, CheckpointId, Dot, EventId, Height, Lane, Micros, Refusal, Seq, SignedEvent,
};
use rocksdb::ErrorKind;

use super::error::FillError;
use super::history::HistoryItem;
use super::place;
use crate::author;
use crate::certify::{AcceptError, Acceptance, CertifiedCheckpoint, records};
use crate::db::{Db, Tuning};
use crate::error::{OpenError, StorageError};
use crate::exchange::FILLING;
use crate::format;
use crate::incoming::{Checked, Incoming, check_all, check_hashes};
use crate::ingest::{BATCH, MergeReport, Outcome};
use crate::ledger::{DATABASE, Durability, Ledger, Options};
use crate::load;
use crate::lookup::Stored;
use crate::missing::ValueSource;
use crate::shallow::{Below, Shallow};
use crate::signer::Signer;

/// The history below a shallow store, as far as it has come. There is one at a time.
///
/// Dropped, it keeps what is certified, and [`Ledger::open_filling`] goes on after the last checkpoint.
pub struct Filling {
    front: Front,
    /// The second database. None after it could not be made anew.
    ledger: Option<Ledger>,
    /// The place in the certified log of the event that comes next.
    next: u64,
    /// Where the last event stands that has come after the last checkpoint.
    last: Option<(Micros, EventId)>,
}

/// What has to be known of the store whose history comes in.
pub(super) struct Front {
    /// Its directory.
    pub dir: PathBuf,
    pub author: AuthorKey,
    pub tuning: Tuning,
    pub below: Below,
    /// The first event of the ledger, and its body.
    pub genesis: (SignedEvent, Vec<u8>),
    pub target: Target,
}

/// The checkpoint from which a shallow store starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub height: Height,
    pub id: CheckpointId,
    /// How many events it certifies.
    pub size: u64,
}

impl Target {
    /// Where a store starts.
    pub fn of(front: &Ledger, shallow: &Shallow) -> Result<Self, StorageError> {
        let height = shallow.height;
        let checkpoint = records::checkpoint(front.latest(), height)?;
        let damaged = |_| StorageError::damaged(format!("checkpoint {height}"));
        Ok(Self { height, id: checkpoint.seal().map_err(damaged)?.0, size: checkpoint.size })
    }

    /// Whether a database has everything up to there, and nothing else.
    pub fn is_reached_by(self, ledger: &Ledger) -> bool {
        let published = ledger.published();
        let chain = &published.finality.chain;
        let within = ledger.lock_writer().lanes.clone();
        (chain.height(), chain.tip(), chain.size()) == (Some(self.height), Some(self.id), self.size)
            && published.lanes.count(&|lane| within.tip(lane)) == self.size
    }
}

impl Front {
    fn of(front: &Ledger, shallow: &Shallow) -> Result<Self, FillError> {
        let stored = Stored::read(front.latest(), Dot { lane: Lane(0), seq: Seq::FIRST })?;
        let genesis = (stored.event()?.verified_before(), stored.record()?.body.to_vec());
        Ok(Self {
            dir: front.dir().to_owned(),
            author: front.author(),
            tuning: front.tuning,
            below: shallow.below,
            genesis,
            target: Target::of(front, shallow)?,
        })
    }

    /// The second database, as far as it has come. What cannot be gone on with is thrown away.
    fn open(&self) -> Result<Ledger, OpenError> {
        if place::is_begun(&self.dir) {
            let opened = open(&self.dir, self.tuning, &[self.author]);
            match opened {
                Ok(ledger) if self.can_go_on(&ledger) => return Ok(ledger),
                Ok(_) => {}
                Err(OpenError::Storage(error)) if is_unusable(&error) => {}
                Err(other) => return Err(other),
            }
        }
        self.make()
    }

    /// Whether a database is one of this ledger, up to a checkpoint that the store does not start
    /// beyond.
    fn can_go_on(&self, ledger: &Ledger) -> bool {
        let certified = ledger.certification();
        ledger.id() == self.genesis.0.id()
            && certified.diverged.is_empty()
            && (certified.events < self.target.size || self.target.is_reached_by(ledger))
    }

    /// Makes the second database with the first event of the ledger.
    fn make(&self) -> Result<Ledger, OpenError> {
        place::clear(&self.dir)?;
        let (event, body) = &self.genesis;
        let db = Db::open(&FILLING.dir(&self.dir).join(DATABASE), true, self.tuning)?;
        load::first(&db, event, body)?;
        author::record(&db, self.author)?;
        fail::fail_point!("before-filling-begun");
        place::mark_begun(&self.dir)?;
        start(&self.dir, db, self.tuning)
    }
}

/// Opens the second database of the store in `dir`, as that of these authors.
pub(super) fn open(dir: &Path, tuning: Tuning, authors: &[AuthorKey]) -> Result<Ledger, OpenError> {
    let db = format::open(&FILLING.dir(dir).join(DATABASE), tuning)?;
    format::check(db.latest())?;
    if let Some(loss) = db.loss() {
        return Err(StorageError::damaged(loss.to_string()).into());
    }
    author::write(&db, authors)?;
    start(dir, db, tuning)
}

fn start(dir: &Path, db: Db, tuning: Tuning) -> Result<Ledger, OpenError> {
    // Portions are synced, not events.
    let options = Options::tuned(Durability::Relaxed, tuning);
    let signer = Signer::open(dir, &db, None)?;
    Ledger::start(&options, &FILLING.dir(dir), db, signer, false)
}

/// Whether an error of opening the second database says that it is no database any more: it is made anew
/// then. The disk may be better next time.
pub(super) fn is_unusable(error: &StorageError) -> bool {
    let StorageError::Database(error) = error else { return error.is_damage() };
    error.kind() != ErrorKind::IOError || error.as_ref().contains("No such file")
}

impl Filling {
    pub(super) fn open(front: &Ledger, shallow: &Shallow) -> Result<Self, FillError> {
        Self::of(Front::of(front, shallow)?)
    }

    pub(super) fn of(front: Front) -> Result<Self, FillError> {
        let ledger = front.open()?;
        let next = ledger.certification().events;
        Ok(Self { front, ledger: Some(ledger), next, last: None })
    }

    /// The place in the certified log of the event that comes next, where the first event is 0.
    pub const fn next(&self) -> u64 {
        self.next
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
        self.ledger.as_ref().is_some_and(|ledger| self.front.target.is_reached_by(ledger))
    }

    /// Takes in what [`Ledger::history`] of a replica that is believed in nothing has given from a place in
    /// the certified log on, which must be [`Self::next`]. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`FillError`]. Where the source is to blame, see there. Otherwise [`Self::next`] tells where to go
    /// on; with [`StorageError::NoRoom`], once there is room.
    pub fn take(&mut self, from: u64, items: Vec<HistoryItem>) -> Result<(), FillError> {
        if from != self.next {
            return Err(FillError::Place { wanted: self.next, found: from });
        }
        let taken = self.take_all(items);
        if let Err(error) = &taken {
            if error.is_false() {
                self.ledger = None;
                self.ledger = Some(self.front.make()?);
            }
            // What has come after the last checkpoint is to come again.
            self.next = self.ledger()?.certification().events;
            self.last = None;
        }
        taken
    }

    /// Looks in a source for the values that have not come along.
    pub(super) fn take_values(&mut self, source: &mut impl ValueSource) -> Result<(), FillError> {
        self.ledger()?.fill_missing(source)?;
        Ok(())
    }

    /// Says that the history is whole. It takes its place when the store is opened next.
    ///
    /// # Errors
    /// [`FillError::NotWhole`], and errors of the disk. What has come stays.
    pub fn finish(mut self) -> Result<(), FillError> {
        if !self.is_whole() {
            return Err(self.not_whole());
        }
        if let Some(ledger) = self.ledger.take() {
            // What is in table files needs no log, and what is synced outlasts a power failure.
            ledger.db.flush_tables()?;
            ledger.sync()?;
        }
        fail::fail_point!("before-filling-whole");
        place::mark_whole(&self.front.dir)?;
        fail::fail_point!("after-filling-whole");
        Ok(())
    }

    pub(super) const fn not_whole(&self) -> FillError {
        FillError::NotWhole { held: self.next, total: self.total() }
    }

    fn ledger(&self) -> Result<&Ledger, StorageError> {
        let gone = || StorageError::Poisoned("the history could not be begun anew".to_owned());
        self.ledger.as_ref().ok_or_else(gone)
    }

    fn take_all(&mut self, items: Vec<HistoryItem>) -> Result<(), FillError> {
        let mut events = Vec::new();
        for item in items {
            match item {
                HistoryItem::Event(event) => events.push(event),
                HistoryItem::Checkpoint(certified) => {
                    self.admit(std::mem::take(&mut events))?;
                    self.accept(certified)?;
                }
            }
            if events.len() == BATCH {
                self.admit(std::mem::take(&mut events))?;
            }
        }
        self.admit(events)?;
        Ok(self.ledger()?.sync()?)
    }

    /// Admits the next events of the log.
    fn admit(&mut self, events: Vec<Incoming>) -> Result<(), FillError> {
        if events.is_empty() {
            return Ok(());
        }
        let next = self.next + events.len() as u64;
        if next > self.total() {
            return Err(FillError::TooMany(self.total()));
        }
        let checked = match self.front.below {
            Below::Signatures => check_all(events),
            _ => check_hashes(events),
        };
        let checked = checked.into_iter().collect::<Result<Vec<_>, Refusal>>();
        let checked = checked.map_err(FillError::Refused)?;
        let last = self.follow(&checked)?;
        offer(self.ledger()?, checked)?;
        fail::fail_point!("between-filled");
        (self.next, self.last) = (next, last);
        Ok(())
    }

    /// Looks whether events follow each other as in the log, and tells where the last of them stands.
    fn follow(&self, events: &[Checked]) -> Result<Option<(Micros, EventId)>, FillError> {
        let mut last = self.last;
        for event in events {
            let place = (event.event.event().time, event.event.id());
            if last >= Some(place) {
                return Err(FillError::Order(place.1));
            }
            last = Some(place);
        }
        Ok(last)
    }

    /// Lets the next checkpoint count, which is derived for that.
    fn accept(&mut self, certified: CertifiedCheckpoint) -> Result<(), FillError> {
        let (height, id) = (certified.height(), certified.id());
        let (size, found) = (certified.checkpoint.size, self.next);
        if size != found {
            return Err(FillError::Size { height, size, found });
        }
        let ledger = self.ledger()?;
        match ledger.accept(certified) {
            Ok(Acceptance::Counted) => {}
            Ok(_) => return Err(FillError::Differs(height)),
            Err(AcceptError::Storage(error)) => return Err(error.into()),
            Err(why) => return Err(FillError::Checkpoint { height, why }),
        }
        if height == self.front.target.height && id != self.front.target.id {
            return Err(FillError::OtherCheckpoint(height));
        }
        // What came before this, and from whom, is not known: it may be more than what is certified.
        let found = ledger.snapshot()?.len()?;
        if size != found {
            return Err(FillError::Size { height, size, found });
        }
        self.last = None;
        Ok(())
    }
}

/// Admits events, none of which may have to wait. Those that are certified need not wait for their
/// time; whether these are, their checkpoint will tell.
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
                Ok(Outcome::Waits(reason) | Outcome::Dropped(reason)) => {
                    let event = event.unwrap_or(ledger.id());
                    Err(FillError::Waits { event, reason })
                }
                Err(refusal) => Err(FillError::Refused(refusal)),
            }
        });
        hold.writer().certain.clear();
        taken
    })
}
