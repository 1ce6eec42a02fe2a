//! An overview of a store.

use std::collections::BTreeMap;
use std::path::Path;

use quipu_merge::{AuthorKey, EventId, ForkPolicy, Height, Policy};

use crate::bodies::pruned_to;
use crate::certify::CertificationStatus;
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::shallow::Shallow;
use crate::waiting::WaitingInfo;

/// An overview of a store.
#[derive(Clone, Debug)]
pub struct Status {
    /// The ledger's id.
    pub ledger: EventId,
    /// Its name, for people.
    pub name: String,
    /// Who may write.
    pub policy: Policy,
    /// What becomes of forks.
    pub forks_policy: ForkPolicy,
    /// This replica's key.
    pub author: AuthorKey,
    /// What this replica's key holds.
    pub roles: Vec<&'static str>,
    /// How many events there are up to the heads. All of them are held, unless the store is shallow.
    pub events: u64,
    /// Where the store starts, if what precedes a checkpoint is not here.
    pub shallow: Option<Shallow>,
    /// How many authors wrote them.
    pub authors: u64,
    /// The events that no other follows.
    pub heads: Vec<EventId>,
    /// The lowest position that two events of an author share, by author.
    pub forks: BTreeMap<AuthorKey, u64>,
    /// How many events are void.
    pub void: u64,
    /// How many registers have more than one value.
    pub conflicts: u64,
    /// What waits, and why.
    pub waiting: Vec<WaitingInfo>,
    /// How many bytes wait.
    pub waiting_bytes: u64,
    /// How many values are not whole here: they have not come with their events.
    pub missing_values: u64,
    /// How many values have been pruned here.
    pub pruned_values: u64,
    /// The checkpoint up to which operations may have been pruned here. What precedes the one that a
    /// shallow store starts from has not.
    pub pruned_to: Option<Height>,
    /// How far certification has come.
    pub certification: CertificationStatus,
    /// Whether the store looks like a copy of another with the same key.
    pub copied: bool,
    /// What the store takes up on the disk, in bytes.
    pub disk_bytes: u64,
    /// The version of the layout on disk.
    pub format: u32,
}

impl Ledger {
    /// An overview. Nothing in it costs more than what it lists.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn status(&self) -> Result<Status, ReadError> {
        let snapshot = self.snapshot()?;
        let genesis = self.genesis();
        let author = self.author();
        let waiting_bytes = self.lock_writer().pool.bytes();
        Ok(Status {
            ledger: self.id(),
            name: genesis.name,
            policy: genesis.policy,
            forks_policy: genesis.forks,
            author,
            roles: snapshot.roles()?.remove(&author).unwrap_or_default(),
            events: snapshot.len()?,
            shallow: self.shallow().cloned(),
            authors: snapshot.version()?.len() as u64,
            heads: snapshot.heads()?,
            forks: snapshot.forks()?,
            void: self.count_void()?,
            conflicts: snapshot.conflicts("")?.len() as u64,
            waiting: self.waiting(),
            waiting_bytes,
            missing_values: self.count_missing()?,
            pruned_values: self.count_pruned()?,
            pruned_to: pruned_to(snapshot.reader())?
                .filter(|height| self.shallow().is_none_or(|shallow| shallow.height < *height)),
            certification: self.certification(),
            copied: self.is_copied(),
            disk_bytes: size_of(self.dir())?,
            format: self.format(),
        })
    }
}

/// What the files below a directory take up. Files that go away meanwhile do not count.
pub(crate) fn size_of(dir: &Path) -> Result<u64, StorageError> {
    let mut total = 0;
    for entry in std::fs::read_dir(dir).map_err(StorageError::file(dir))? {
        let entry = entry.map_err(StorageError::file(dir))?;
        match entry.metadata() {
            Ok(data) if data.is_dir() => total += size_of(&entry.path())?,
            Ok(data) => total += data.len(),
            Err(_) => {}
        }
    }
    Ok(total)
}
