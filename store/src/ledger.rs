//! A ledger on disk, and what it holds in memory while it is open.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use quipu_merge::{EventId, Genesis, Micros};

use crate::blocks::{Blocks, remove_unfinished};
use crate::certify::{Certifying, StagedDerivations};
use crate::commit::Commits;
use crate::db::{Db, Reader, Tuning};
use crate::error::{OpenError, StorageError};
use crate::exchange::{FILLING, REPAIR};
use crate::identity::KEY_FILE;
use crate::load;
use crate::lookup::Places;
use crate::mark::{MARK_FILE, Tip};
use crate::options::{Durability, NewLedger, Options};
use crate::pool::Pool;
use crate::replica::Followers;
use crate::schema::FORMAT;
use crate::shallow::{Floor, Shallow};
use crate::signer::Signer;
use crate::unfinished::is_unfinished;
use crate::writer::{Published, Writer};

/// The directory of the database in the store's directory.
pub(crate) const DATABASE: &str = "db";
/// The directory of what is there for a while, as table files that the database is to take over, in the
/// store's directory.
pub(crate) const STAGING: &str = "staging";

/// Whether there is a store in `dir`, or what is left of one: one whose database is damaged or gone
/// is a store to be repaired.
pub fn is_store(dir: &Path) -> bool {
    let database = dir.join(DATABASE);
    let left = dir.join(MARK_FILE).is_file()
        || REPAIR.is_ready(dir)
        || FILLING.is_ready(dir)
        || (database.is_dir() && dir.join(KEY_FILE).is_file());
    (database.join("CURRENT").is_file() || left) && !is_unfinished(dir)
}

/// A ledger in a directory, opened by this process alone.
///
/// Threads may share it. Writing takes [`Ledger::transaction`], reading [`Ledger::snapshot`].
pub struct Ledger {
    pub(crate) dir: PathBuf,
    pub(crate) db: Db,
    pub(crate) durability: Durability,
    /// How the database is set up.
    pub(crate) tuning: Tuning,
    pub(crate) signer: Signer,
    /// Whether the store looks like a copy of another.
    pub(crate) copied: AtomicBool,
    pub(crate) writer: Mutex<Writer>,
    /// Who writes the groups of the writer.
    pub(crate) commits: Commits,
    published: RwLock<Arc<Published>>,
    /// Who is told of what is published.
    pub(crate) followers: Arc<Followers>,
    /// Events that were looked for lately.
    pub(crate) places: Places,
    /// The numbers of blocks, and who is using which.
    pub(crate) blocks: Blocks,
    /// What is known of certified checkpoints beside those that count.
    pub(crate) certifying: Certifying,
    /// Checkpoints that were derived lately.
    pub(crate) staged: StagedDerivations,
    /// Held by whoever drops bodies, or brings them back.
    pub(crate) pruning: Mutex<()>,
    /// Where the store starts, if it is shallow.
    pub(crate) floor: Option<Floor>,
}

impl Ledger {
    /// Makes a new ledger in `dir` with the default options.
    ///
    /// # Errors
    /// Those of [`Options::create`].
    pub fn create(dir: impl AsRef<Path>, new: &NewLedger) -> Result<Self, OpenError> {
        Options::new().create(dir, new)
    }

    /// Opens the ledger in `dir` with the default options.
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        Options::new().open(dir)
    }

    pub(crate) fn start(
        options: &Options,
        dir: &Path,
        db: Db,
        signer: Signer,
        copied: bool,
    ) -> Result<Self, OpenError> {
        remove_unfinished(&db)?;
        remove_staging(dir)?;
        let blocks = Blocks::load(db.latest())?;
        let (published, lanes) = load::published(db.latest())?;
        let floor = Floor::load(db.latest(), lanes.table())?;
        let own = load::own_tip(db.latest(), &lanes, signer.author())?;
        db.start_mark(Tip::of(&published, own.as_ref()));
        let writer = Writer::new(&published, lanes, own);
        let pool = Pool::load(db.latest(), floor.as_ref())?;
        let certifying = Certifying::load(db.latest(), published.finality.chain.clone())?;
        let ledger = Self {
            dir: dir.to_owned(),
            db,
            durability: options.durability,
            tuning: options.tuning(),
            signer,
            copied: AtomicBool::new(copied),
            followers: writer.news.followers.clone(),
            writer: Mutex::new(writer),
            commits: Commits::new(published.commit),
            published: RwLock::new(Arc::new(published)),
            places: Places::default(),
            blocks,
            certifying,
            staged: StagedDerivations::default(),
            pruning: Mutex::new(()),
            floor,
        };
        ledger.lock_writer().pool = pool;
        match ledger.admit_due().and_then(|_| ledger.count_pending()) {
            // What is there can be read all the same, and what is due stays so.
            Err(StorageError::NoRoom { .. }) => {}
            caught_up => caught_up?,
        }
        Ok(ledger)
    }

    /// The ledger's id: that of its genesis event.
    pub fn id(&self) -> EventId {
        self.published().authority.ledger()
    }

    /// The operation that started the ledger.
    pub fn genesis(&self) -> Genesis {
        self.published().authority.genesis().clone()
    }

    /// The events that no other follows, ascending, up to `limit` of them. Nothing is read for it.
    pub fn heads(&self, limit: usize) -> Vec<EventId> {
        self.published().heads.iter().take(limit).map(|head| head.id).collect()
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the store starts, if what precedes a checkpoint is not here.
    pub fn shallow(&self) -> Option<&Shallow> {
        self.floor.as_ref().map(|floor| &floor.shallow)
    }

    /// The version of the layout on disk.
    pub const fn format(&self) -> u32 {
        FORMAT
    }

    /// Waits until everything committed is on the disk.
    ///
    /// # Errors
    /// The disk; the store must be opened again.
    pub fn sync(&self) -> Result<(), StorageError> {
        let result = self.db.sync();
        if let Err(error) = &result {
            self.lock_writer().poison(error);
        }
        result
    }

    /// Rewrites the database's files, so that they take up no more room than they need.
    ///
    /// # Errors
    /// The disk.
    pub fn compact(&self) -> Result<(), StorageError> {
        self.db.compact()
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A directory for files that are there for a while, in the store's. It may have to be made, and goes
    /// with all that is in it when the store is opened.
    pub fn staging(&self) -> PathBuf {
        self.dir.join(STAGING)
    }

    pub(crate) const fn latest(&self) -> Reader<'_> {
        self.db.latest()
    }

    /// Whether the store looks like a copy of another with the same key.
    pub fn is_copied(&self) -> bool {
        self.copied.load(Ordering::Relaxed)
    }

    pub(crate) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|broken| {
            let mut writer = broken.into_inner();
            writer.poison(&StorageError::damaged("a thread panicked while writing"));
            writer
        })
    }

    pub(crate) fn publish(&self, published: Arc<Published>) {
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = published;
    }
}

/// Removes what a crash has left of what was there for a while.
fn remove_staging(dir: &Path) -> Result<(), StorageError> {
    let staging = dir.join(STAGING);
    match std::fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(StorageError::file(&staging)(error))
        }
        _ => Ok(()),
    }
}

/// The local clock.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX).min(Micros::MAX.0))
}
