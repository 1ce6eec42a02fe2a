//! How a store is made and opened.

use std::path::Path;

use quipu_merge::{AuthorKey, ForkPolicy, Genesis, Policy};

use crate::author;
use crate::copied::{self, Place};
use crate::db::{Db, Tuning};
use crate::error::{OpenError, StorageError};
use crate::fill;
use crate::format;
use crate::identity::{Identity, Passphrase};
use crate::ledger::{DATABASE, Ledger, is_store, now};
use crate::load;
use crate::loss;
use crate::repair;
use crate::signer::Signer;
use crate::unfinished::Unfinished;

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
    pub(crate) durability: Durability,
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
