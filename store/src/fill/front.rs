//! The store whose history comes in, and the second database as it is opened and made.

use std::path::{Path, PathBuf};

use quipu_merge::{AuthorKey, CheckpointId, Dot, Height, Lane, Seq, SignedEvent};
use rocksdb::ErrorKind;

use super::error::FillError;
use super::gathered::IN_MEMORY;
use super::place;
use super::prune::PRUNE_EVERY;
use crate::author;
use crate::certify::records;
use crate::db::{Db, Tuning};
use crate::error::{OpenError, StorageError};
use crate::exchange::FILLING;
use crate::format;
use crate::ledger::{DATABASE, Ledger};
use crate::load;
use crate::lookup::Stored;
use crate::options::{Durability, Options};
use crate::shallow::{Below, Shallow};
use crate::signer::Signer;

/// What has to be known of the store whose history comes in.
pub struct Front {
    /// Its directory.
    pub dir: PathBuf,
    pub author: AuthorKey,
    pub tuning: Tuning,
    pub below: Below,
    /// The first event of the ledger, and its body.
    pub genesis: (SignedEvent, Vec<u8>),
    pub target: Target,
    /// So many bytes of a cut are kept in memory until its checkpoint comes.
    pub in_memory: usize,
    /// So many events come, at least, before it is pruned while it is filled.
    pub prune_every: u64,
}

/// The checkpoint from which a shallow store starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
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
    pub fn of(front: &Ledger, shallow: &Shallow) -> Result<Self, FillError> {
        let stored = Stored::read(front.latest(), Dot { lane: Lane(0), seq: Seq::FIRST })?;
        let genesis = (stored.event()?.verified_before(), stored.record()?.body.to_vec());
        Ok(Self {
            dir: front.dir().to_owned(),
            author: front.author(),
            tuning: front.tuning,
            below: shallow.below,
            genesis,
            target: Target::of(front, shallow)?,
            in_memory: IN_MEMORY,
            prune_every: PRUNE_EVERY,
        })
    }

    /// The second database, as far as it has come. What cannot be gone on with is thrown away.
    pub fn open(&self) -> Result<Ledger, OpenError> {
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
pub fn open(dir: &Path, tuning: Tuning, authors: &[AuthorKey]) -> Result<Ledger, OpenError> {
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
pub fn is_unusable(error: &StorageError) -> bool {
    let StorageError::Database(error) = error else { return error.is_damage() };
    error.kind() != ErrorKind::IOError || error.as_ref().contains("No such file")
}
