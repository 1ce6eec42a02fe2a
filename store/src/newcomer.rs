//! A replica that has a key and nothing else yet: it is to get its first event from a peer, who may
//! have to be told of its key before.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quipu_merge::{AuthorKey, ParsedEvent};

use crate::author;
use crate::copied::Place;
use crate::db::Db;
use crate::error::{MergeError, OpenError};
use crate::identity::{HandshakeKey, Identity, KEY_FILE};
use crate::incoming::Incoming;
use crate::ledger::{DATABASE, Ledger};
use crate::load;
use crate::merge::Progress;
use crate::options::Options;
use crate::room;
use crate::signer::Signer;
use crate::start::{self, StartError, StartInfo, StartOptions};
use crate::unfinished::Unfinished;

/// A directory with a key, which becomes a replica with [`Self::join`]. Dropped before, it keeps the key:
/// [`Options::newcomer`] goes on with it.
pub struct Newcomer {
    dir: PathBuf,
    options: Options,
    identity: Arc<Identity>,
    unfinished: Unfinished,
    /// Whether the key was made just now: nobody has been shown it.
    is_fresh: bool,
}

/// What is to be removed where nothing comes of a newcomer whose key nobody needs.
#[derive(Debug)]
pub struct Leftover {
    dir: PathBuf,
    made_dir: bool,
}

impl Leftover {
    /// Removes the key and whatever else has been made, and the directory where it was made too. A
    /// newcomer that has become a replica stays, and so does what cannot be removed.
    pub fn remove(self) {
        // The next attempt says what is in its way.
        let _ = Unfinished::undo(&self.dir, self.made_dir);
    }
}

impl Options {
    /// Makes a key in `dir`, which is new or empty, or takes the one that an earlier call has left
    /// there.
    ///
    /// # Errors
    /// [`OpenError::Exists`] where `dir` holds something else, [`OpenError::Locked`] where another
    /// process is at it, [`OpenError::Identity`] where the key that is there cannot be read.
    pub fn newcomer(&self, dir: impl AsRef<Path>) -> Result<Newcomer, OpenError> {
        let dir = dir.as_ref();
        let unfinished = Unfinished::resume(dir, &[KEY_FILE])?;
        let passphrase = self.passphrase.as_ref();
        let is_fresh = !dir.join(KEY_FILE).exists();
        let identity = if is_fresh {
            let made = Identity::generate()
                .and_then(|identity| identity.save(dir, passphrase).map(|()| identity));
            match made {
                Ok(identity) => identity,
                Err(error) => {
                    unfinished.abandon();
                    return Err(error.into());
                }
            }
        } else {
            Identity::load(dir, passphrase)?
        };
        let (dir, options, identity) = (dir.to_owned(), self.clone(), Arc::new(identity));
        Ok(Newcomer { dir, options, identity, unfinished, is_fresh })
    }
}

impl Newcomer {
    /// The key that the replica will have.
    pub fn author(&self) -> AuthorKey {
        self.identity.author()
    }

    /// The key, to prove it to peers.
    pub fn handshake_key(&self) -> HandshakeKey {
        HandshakeKey(self.identity.clone())
    }

    /// What to remove where nothing comes of it; `None` where the key is from an earlier attempt: somebody
    /// may have been told of it, and given it a role.
    pub fn leftover(&self) -> Option<Leftover> {
        let made_dir = self.unfinished.has_made_dir();
        self.is_fresh.then(|| Leftover { dir: self.dir.clone(), made_dir })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How many bytes may be written there before less is free than is to be kept, where that can be told.
    pub fn room(&self) -> Option<u64> {
        room::free(&self.dir, self.options.tuning().min_free)
            .map(|(free, kept)| free.saturating_sub(kept))
    }

    /// Makes the replica, with the first event of its ledger alone.
    ///
    /// # Errors
    /// [`OpenError::Merge`] where this is not the first event of any ledger, and errors of the disk.
    /// The key stays.
    pub fn join(self, genesis: &Incoming) -> Result<Ledger, OpenError> {
        let signed = ParsedEvent::decode(&genesis.event).and_then(ParsedEvent::verify);
        let signed = signed.map_err(MergeError::from)?;
        let body = genesis.body.as_deref().unwrap_or_default();
        self.become_store(|db| load::first(db, &signed, body))
    }

    /// Makes a shallow store of a file that [`Ledger::write_start`] has written: see
    /// [`Options::start_from`].
    ///
    /// # Errors
    /// [`OpenError::Start`] where nothing can be started from the file, and errors of the disk. The key
    /// stays.
    pub fn start_from(
        self,
        file: &mut dyn Read,
        start: &StartOptions,
        progress: Progress<'_>,
    ) -> Result<(Ledger, StartInfo), OpenError> {
        let mut info = None;
        let ledger = self.become_store(|db| {
            info = Some(start::build(db, file, start, progress)?);
            Ok(())
        })?;
        let info = info.ok_or(StartError::NotOne)?;
        Ok((ledger, info))
    }

    /// Makes the replica, with a database that `fill` fills.
    fn become_store(
        self,
        fill: impl FnOnce(&Db) -> Result<(), OpenError>,
    ) -> Result<Ledger, OpenError> {
        let Self { dir, options, identity, unfinished, .. } = self;
        let db = Db::open(&dir.join(DATABASE), true, options.tuning())?;
        fill(&db)?;
        Place::of(&dir)?.record(&db)?;
        author::record(&db, identity.author())?;
        let ledger = Ledger::start(&options, &dir, db, Signer::new(identity), false)?;
        ledger.sync()?;
        unfinished.finish()?;
        Ok(ledger)
    }
}

impl std::fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (dir, author) = (&self.dir, self.author());
        f.debug_struct("Newcomer")
            .field("dir", dir)
            .field("author", &author)
            .finish_non_exhaustive()
    }
}
