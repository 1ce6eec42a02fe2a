//! A ledger on disk: making one, opening it, and the way from a stamped event to a durable one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use quipu_merge::{AuthorKey, EventId, ForkPolicy, Genesis, Micros, Policy};

use crate::author;
use crate::blocks::{Blocks, remove_unfinished};
use crate::certify::{Certifying, StagedDerivations};
use crate::commit::Commits;
use crate::copied::{self, Place};
use crate::db::{Db, Reader, Tuning};
use crate::error::{OpenError, StorageError};
use crate::exchange::{FILLING, REPAIR};
use crate::fill;
use crate::format;
use crate::identity::{Identity, KEY_FILE, Passphrase};
use crate::load;
use crate::lookup::Places;
use crate::loss;
use crate::mark::{MARK_FILE, Tip};
use crate::pool::Pool;
use crate::repair;
use crate::replica::Followers;
use crate::schema::FORMAT;
use crate::shallow::{Floor, Shallow};
use crate::signer::Signer;
use crate::unfinished::{Unfinished, is_unfinished};
use crate::writer::{Published, Writer};

/// The directory of the database in the store's directory.
pub(crate) const DATABASE: &str = "db";
/// The directory of table files that the database has not taken over yet, in the store's directory.
pub(crate) const STAGING: &str = "staging";

/// When a commit returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the events are on the disk.
    #[default]
    Immediate,
    /// When they are handed to the operating system: a crash of the machine (not of the process)
    /// may lose the last ones, and [`Ledger::sync`] makes sure of them. An own event that was lost
    /// after others had seen it forks the author, so this is for bulk work before sharing.
    Relaxed,
}

/// What a new ledger is to be.
#[derive(Clone, Debug)]
pub struct NewLedger {
    /// A name for people, up to 256 bytes.
    pub name: String,
    /// Who may write.
    pub policy: Policy,
    /// What becomes of authors that fork.
    pub forks: ForkPolicy,
    /// Admins beside this replica's key.
    pub admins: Vec<AuthorKey>,
    /// The first validators; `None` for this replica's key alone.
    pub validators: Option<Vec<AuthorKey>>,
}

impl Default for NewLedger {
    fn default() -> Self {
        Self {
            name: String::new(),
            policy: Policy::Members,
            forks: ForkPolicy::Keep,
            admins: Vec::new(),
            validators: None,
        }
    }
}

/// How to open or create a store.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use quipu_store::{Durability, NewLedger, Options};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("ledger");
/// let ledger = Options::new().durability(Durability::Relaxed).create(&path, &NewLedger::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    durability: Durability,
    pub(crate) passphrase: Option<Passphrase>,
    cache: usize,
    write_buffer: usize,
    min_free: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Immediate,
            passphrase: None,
            cache: 64 << 20,
            write_buffer: 32 << 20,
            min_free: None,
        }
    }
}

impl Options {
    /// The defaults: durable commits, a key without a passphrase.
    pub fn new() -> Self {
        Self::default()
    }

    /// When a commit returns.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The passphrase of the key: to read it when something is to be written, and to encrypt a new
    /// one. See [`Ledger::unlock`] to give it later.
    #[must_use]
    pub fn passphrase(mut self, passphrase: Passphrase) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// Memory for what has been read from the disk, in bytes; 64 MiB unless set.
    #[must_use]
    pub const fn cache(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// Memory for what is not in table files yet, in bytes; 32 MiB unless set.
    #[must_use]
    pub const fn write_buffer(mut self, bytes: usize) -> Self {
        self.write_buffer = bytes;
        self
    }

    /// How many bytes stay free on the store's file system: writes fail with
    /// [`StorageError::NoRoom`] before the disk is full, and reading goes on. Unless set, 64 MiB,
    /// or a sixteenth of a file system below 1 GiB; 0 keeps nothing. It is looked at from time to
    /// time: what others write there meanwhile, and one large transaction, may still fill the disk.
    #[must_use]
    pub const fn min_free(mut self, bytes: u64) -> Self {
        self.min_free = Some(bytes);
        self
    }

    /// Makes a new ledger in `dir`, with a key and a genesis event of its own.
    ///
    /// # Errors
    /// [`OpenError::Exists`] where `dir` is there and not empty, [`OpenError::Genesis`] where a
    /// limit is broken, [`OpenError::Key`] where a key is none. What was made is removed again.
    pub fn create(&self, dir: impl AsRef<Path>, new: &NewLedger) -> Result<Ledger, OpenError> {
        let mut named = new.admins.iter().chain(new.validators.iter().flatten());
        if let Some(key) = named.find(|key| !key.can_sign()) {
            return Err(OpenError::Key(*key));
        }
        self.build(dir.as_ref(), |identity, db| {
            let mut admins = new.admins.clone();
            admins.retain(|admin| *admin != identity.author());
            admins.sort_unstable();
            admins.dedup();
            let mut validators = new.validators.clone().unwrap_or_else(|| vec![identity.author()]);
            validators.sort_unstable();
            validators.dedup();
            let genesis = Genesis {
                name: new.name.clone(),
                policy: new.policy,
                forks: new.forks,
                admins,
                validators,
            };
            load::found(db, identity, genesis, now())
        })
    }

    /// Opens the ledger in `dir`. Its private key is not needed before something is written.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::Locked`] where another process has it open,
    /// [`OpenError::Format`], and errors of the disk. Nothing has changed.
    pub fn open(&self, dir: impl AsRef<Path>) -> Result<Ledger, OpenError> {
        let dir = dir.as_ref();
        if !is_store(dir) {
            return Err(OpenError::NotFound(dir.to_owned()));
        }
        repair::settle(dir)?;
        let put_off = fill::settle(self, dir)?;
        fail::fail_point!("before-database-opened");
        let db = format::open(&dir.join(DATABASE), self.tuning()).map_err(|error| match error {
            OpenError::Locked(_) => OpenError::Locked(dir.to_owned()),
            other => other,
        })?;
        if repair::is_left(dir) || (fill::is_whole(dir) && !put_off) {
            // Another database has come that takes the place of this one. Nothing is written in between.
            drop(db);
            return self.open(dir);
        }
        let loss = db.loss();
        self.open_database(dir, db).map_err(|error| loss::explain(error, loss))
    }

    pub(crate) fn open_database(&self, dir: &Path, db: Db) -> Result<Ledger, OpenError> {
        format::check(db.latest())?;
        format::upgrade(&db)?;
        loss::settle(&db)?;
        let signer = Signer::open(dir, &db, self.passphrase.as_ref())?;
        let copied = copied::is_copied(dir, db.latest())?;
        Ledger::start(self, dir, db, signer, copied)
    }

    /// Makes the store's directory with a key and a database that `first` fills.
    pub(crate) fn build(
        &self,
        dir: &Path,
        first: impl FnOnce(&Identity, &Db) -> Result<(), OpenError>,
    ) -> Result<Ledger, OpenError> {
        self.build_filled(dir, first, |_| Ok(())).map(|(ledger, ())| ledger)
    }

    /// Makes a store as [`Self::build`] does, and fills it further.
    pub(crate) fn build_filled<T>(
        &self,
        dir: &Path,
        first: impl FnOnce(&Identity, &Db) -> Result<(), OpenError>,
        fill: impl FnOnce(&Ledger) -> Result<T, OpenError>,
    ) -> Result<(Ledger, T), OpenError> {
        Self::make(dir, || {
            let ledger = self.build_in(dir, first)?;
            let filled = fill(&ledger)?;
            Ok((ledger, filled))
        })
    }

    /// Has `make` make a store in `dir`. It is a store only when all of that is done; an error
    /// removes it again.
    pub(crate) fn make<T, E: From<OpenError> + From<StorageError>>(
        dir: &Path,
        make: impl FnOnce() -> Result<(Ledger, T), E>,
    ) -> Result<(Ledger, T), E> {
        let unfinished = Unfinished::start(dir)?;
        let made = make().and_then(|made| {
            made.0.sync()?;
            Ok(made)
        });
        if made.is_err() {
            unfinished.abandon();
            return made;
        }
        fail::fail_point!("before-finished");
        unfinished.finish()?;
        made
    }

    fn build_in(
        &self,
        dir: &Path,
        first: impl FnOnce(&Identity, &Db) -> Result<(), OpenError>,
    ) -> Result<Ledger, OpenError> {
        let identity = Identity::generate()?;
        identity.save(dir, self.passphrase.as_ref())?;
        fail::fail_point!("after-key-saved");
        let db = Db::open(&dir.join(DATABASE), true, self.tuning())?;
        fail::fail_point!("after-database-made");
        first(&identity, &db)?;
        fail::fail_point!("after-genesis");
        Place::of(dir)?.record(&db)?;
        author::record(&db, identity.author())?;
        Ledger::start(self, dir, db, Signer::new(identity), false)
    }

    /// The options of a store whose database is set up like another.
    pub(crate) const fn tuned(durability: Durability, tuning: Tuning) -> Self {
        let Tuning { cache, write_buffer, min_free } = tuning;
        Self { durability, passphrase: None, cache, write_buffer, min_free }
    }

    pub(crate) const fn tuning(&self) -> Tuning {
        Tuning { cache: self.cache, write_buffer: self.write_buffer, min_free: self.min_free }
    }
}

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

    /// Where table files are written that the database is to take over.
    pub(crate) fn staging(&self) -> PathBuf {
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

/// Removes what a crash has left of table files that nothing took over.
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
