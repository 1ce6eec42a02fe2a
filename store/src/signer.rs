//! Who signs for this replica: its public key is known from the database, its secret one is read
//! when something is to be signed for the first time.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use quipu_merge::AuthorKey;

use crate::author;
use crate::db::Db;
use crate::error::{IdentityError, OpenError, StorageError};
use crate::identity::{HandshakeKey, Identity, KEY_FILE, Passphrase};
use crate::ledger::Ledger;
use crate::load;

/// The replica's author, and its key once that has been read.
pub(crate) struct Signer {
    state: RwLock<State>,
    /// Held by whoever changes the key or its file.
    changing: Mutex<()>,
}

struct State {
    author: AuthorKey,
    /// The authors whose key the file may hold: more than one where a change of key was cut short
    /// and the file could not be read yet.
    expected: Vec<AuthorKey>,
    /// To read the key with.
    passphrase: Option<Passphrase>,
    identity: Option<Arc<Identity>>,
}

impl Signer {
    /// Signs with a key that is at hand.
    pub fn new(identity: impl Into<Arc<Identity>>) -> Self {
        let identity = identity.into();
        let author = identity.author();
        let identity = Some(identity);
        Self::start(State { author, expected: vec![author], passphrase: None, identity })
    }

    /// The signer of the store in `dir`. The key file is read only where a change of key was cut
    /// short.
    pub fn open(dir: &Path, db: &Db, passphrase: Option<&Passphrase>) -> Result<Self, OpenError> {
        let expected = author::recorded(db.latest())?;
        // Where it cannot be read, that matters only to what is written, and is said there.
        if expected.len() > 1
            && let Ok(identity) = Identity::load(dir, passphrase)
            && expected.contains(&identity.author())
        {
            author::record(db, identity.author())?;
            return Ok(Self::new(identity));
        }
        let unknown = || StorageError::damaged("the record of this replica's key");
        let author = author::most_likely(dir, &expected).ok_or_else(unknown)?;
        let passphrase = passphrase.cloned();
        Ok(Self::start(State { author, expected, passphrase, identity: None }))
    }

    const fn start(state: State) -> Self {
        Self { state: RwLock::new(state), changing: Mutex::new(()) }
    }

    /// The right to change the key or its file, which one thread has at a time.
    pub fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The author, known without its key.
    pub fn author(&self) -> AuthorKey {
        self.read().author
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// This replica's public key. It is known without the private one.
    pub fn author(&self) -> AuthorKey {
        self.signer.author()
    }

    /// Reads the private key now, rather than when something is to be signed for the first time;
    /// once it has been read, this does nothing. Only writing needs it. Without a passphrase, the
    /// one that the store was opened with is used.
    ///
    /// # Errors
    /// [`IdentityError::PassphraseNeeded`], [`IdentityError::WrongPassphrase`],
    /// [`IdentityError::OtherKey`], and what is wrong with the key file. The ledger can be read as
    /// before, and this be tried again.
    pub fn unlock(&self, passphrase: Option<&Passphrase>) -> Result<(), IdentityError> {
        self.identity_by(passphrase).map(drop)
    }

    /// Does what [`Self::unlock`] does with a key that has been read before: by a ledger of this store that
    /// was closed since, say.
    ///
    /// # Errors
    /// [`IdentityError::OtherKey`], and errors of the database. The ledger can be read as before.
    pub fn unlock_with(&self, key: HandshakeKey) -> Result<(), IdentityError> {
        self.take_up(key.0).map(drop)
    }

    /// The key, to prove it to peers. It stays what it is when the replica's key is rotated.
    ///
    /// # Errors
    /// Those of [`Self::unlock`].
    pub fn handshake_key(&self) -> Result<HandshakeKey, IdentityError> {
        self.identity().map(HandshakeKey)
    }

    /// The key to sign with.
    pub(crate) fn identity(&self) -> Result<Arc<Identity>, IdentityError> {
        self.identity_by(None)
    }

    fn identity_by(&self, passphrase: Option<&Passphrase>) -> Result<Arc<Identity>, IdentityError> {
        let given = {
            let state = self.signer.read();
            if let Some(identity) = &state.identity {
                return Ok(identity.clone());
            }
            passphrase.or(state.passphrase.as_ref()).cloned()
        };
        // Decrypting takes long by design: nobody has to wait for it.
        self.take_up(Identity::load(&self.dir, given.as_ref())?)
    }

    /// Takes over the key that was found in the file, if it is the one that belongs there.
    fn take_up(&self, identity: impl Into<Arc<Identity>>) -> Result<Arc<Identity>, IdentityError> {
        let identity = identity.into();
        let mut writer = self.lock_writer();
        let mut state = self.signer.state.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread was faster, and may have replaced the key since.
        if let Some(identity) = &state.identity {
            return Ok(identity.clone());
        }
        let found = identity.author();
        if !state.expected.contains(&found) {
            let (path, expected) = (self.dir.join(KEY_FILE), state.author);
            return Err(IdentityError::OtherKey { path, found, expected });
        }
        if state.expected.len() > 1 {
            author::record(&self.db, found)?;
        }
        if found != state.author {
            writer.own = load::own_tip(self.db.latest(), &writer.lanes, found)?;
        }
        *state = State {
            author: found,
            expected: vec![found],
            passphrase: None,
            identity: Some(identity.clone()),
        };
        Ok(identity)
    }

    /// Signs with another key from now on.
    pub(crate) fn replace_identity(&self, identity: Identity) -> Result<(), StorageError> {
        let mut writer = self.lock_writer();
        writer.own = load::own_tip(self.db.latest(), &writer.lanes, identity.author())?;
        let mut state = self.signer.state.write().unwrap_or_else(PoisonError::into_inner);
        state.author = identity.author();
        state.expected = vec![identity.author()];
        state.identity = Some(Arc::new(identity));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rocksdb::WriteBatch;

    use super::*;
    use crate::options::NewLedger;
    use crate::schema::{Family, meta};

    fn set_record(dir: &Path, record: Option<&[u8]>) {
        let ledger = Ledger::open(dir).unwrap();
        let mut batch = WriteBatch::default();
        match record {
            Some(bytes) => ledger.db.put(&mut batch, Family::Meta, meta::AUTHOR, bytes).unwrap(),
            None => ledger.db.delete(&mut batch, Family::Meta, meta::AUTHOR).unwrap(),
        }
        ledger.db.write(batch, true).unwrap();
    }

    #[test]
    fn a_damaged_record_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        for (case, record) in
            [None, Some(&[][..]), Some(&[7; 31]), Some(&[7; 65])].into_iter().enumerate()
        {
            let dir = place.path().join(case.to_string());
            drop(Ledger::create(&dir, &NewLedger::default()).unwrap());
            set_record(&dir, record);
            let damaged = Ledger::open(&dir).map(drop);
            assert!(matches!(damaged, Err(OpenError::Storage(StorageError::Damaged { .. }))));
        }
    }
}
