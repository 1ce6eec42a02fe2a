//! Keys and names: what belongs to this replica and to no history.

use std::path::Path;
use std::sync::atomic::Ordering;

use quipu_merge::{AuthorKey, Control, Role};
use rocksdb::WriteBatch;

use crate::author;
use crate::copied::Place;
use crate::error::{IdentityError, OpenError, StorageError, WriteError};
use crate::identity::{Identity, Passphrase};
use crate::ledger::Ledger;
use crate::options::Options;
use crate::schema::{FORMAT, Family, meta};
use crate::transaction::Committed;
use crate::votes;

/// A change of key.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The key before.
    pub old: AuthorKey,
    /// The key from now on.
    pub new: AuthorKey,
    /// The roles that the old key gave to the new one.
    pub granted: Vec<Role>,
    /// The event that did so; none where the old key could not.
    pub event: Option<Committed>,
}

impl Ledger {
    /// Makes a new key for this replica. The old one grants it its roles first, if it is an
    /// admin's and this store is the only one that has it. The passphrase, if any, encrypts the
    /// new key as well.
    ///
    /// # Errors
    /// The old key cannot be had, the grant not be written, or the new key not be saved: the old
    /// key stays.
    pub fn rotate_identity(
        &self,
        passphrase: Option<&Passphrase>,
    ) -> Result<Rotation, RotationError> {
        let _changing = self.signer.change();
        let old = self.identity()?.author();
        let next = Identity::generate()?;
        let new = next.author();
        let held = self
            .snapshot()
            .map_err(read_failed)?
            .roles()
            .map_err(read_failed)?
            .remove(&old)
            .unwrap_or_default();
        let roles = [Role::Admin, Role::Validator, Role::Writer];
        let granted: Vec<_> =
            roles.into_iter().filter(|role| held.contains(&role.word())).collect();
        // A copy must write nothing with the key that it was copied with, nor a store that has lost
        // its latest events.
        let safe = !self.is_copied() && self.check_not_lost(old).is_ok();
        let may = granted.contains(&Role::Admin) && safe;
        let granted = if may { granted } else { Vec::new() };
        let event = if may {
            let grants = granted.iter().map(|&role| Control::Grant { author: new, role });
            Some(self.control(grants.collect())?)
        } else {
            None
        };
        fail::fail_point!("after-grant");
        self.save_identity(&next, passphrase)?;
        self.replace_identity(next)?;
        self.db.settle_loss()?;
        Ok(Rotation { old, new, granted, event })
    }

    /// Encrypts the key with a passphrase, or stops doing so.
    ///
    /// # Errors
    /// The key cannot be had or saved: it stays as it was.
    pub fn set_passphrase(&self, passphrase: Option<&Passphrase>) -> Result<(), IdentityError> {
        let _changing = self.signer.change();
        let identity = self.identity()?;
        self.save_identity(&identity, passphrase)
    }

    /// Puts a key in the place of the one there, or leaves that as it was.
    fn save_identity(
        &self,
        identity: &Identity,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), IdentityError> {
        // A copy stays one as long as it has the key that it was copied with.
        let other = identity.author() != self.author();
        let own = !self.is_copied() || other;
        identity.write_beside(self.dir(), passphrase)?;
        if own {
            Place::record_next(self.dir(), &self.db)?;
        }
        if other {
            author::record_next(&self.db, identity.author())?;
        }
        fail::fail_point!("before-key-replaced");
        Identity::replace(self.dir())?;
        fail::fail_point!("after-key-replaced");
        if own {
            self.own_place()?;
        }
        if other {
            author::record(&self.db, identity.author())?;
        }
        Ok(())
    }

    /// Says that this store was moved and not copied, or that the other copy is gone, and that
    /// nobody else holds events that this one has lost: its key is used here from now on.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn keep_place(&self) -> Result<(), StorageError> {
        // What the other copy has signed as a validator is not known here.
        if self.is_copied() || self.loss().is_some() {
            votes::lose(&self.db)?;
        }
        self.own_place()?;
        self.db.settle_loss()
    }

    fn own_place(&self) -> Result<(), StorageError> {
        Place::of(self.dir())?.record(&self.db)?;
        self.copied.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the key is encrypted.
    ///
    /// # Errors
    /// The key file cannot be read.
    pub fn has_passphrase(&self) -> Result<bool, IdentityError> {
        Identity::is_encrypted(self.dir())
    }

    /// Gives an author a name, here and nowhere else, or takes it away.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn set_name(&self, author: AuthorKey, name: Option<&str>) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let key = meta::name(author.0);
        match name {
            Some(name) => self.db.put(&mut batch, Family::Meta, &key, name.as_bytes())?,
            None => self.db.delete(&mut batch, Family::Meta, &key)?,
        }
        self.db.write(batch, true)
    }
}

impl Options {
    /// Rewrites a store in an older format in the current one. Tells which that is.
    ///
    /// # Errors
    /// Those of [`Options::open`]: a format newer than this version cannot be read at all.
    pub fn upgrade(&self, dir: impl AsRef<Path>) -> Result<u32, OpenError> {
        // Opening it rewrites it.
        self.open(dir).map(|_| FORMAT)
    }
}

/// A key cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The new key cannot be granted the roles of the old one.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The new key cannot be made or saved.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn read_failed(error: crate::error::ReadError) -> StorageError {
    match error {
        crate::error::ReadError::Storage(error) => error,
        other => StorageError::damaged(other.to_string()),
    }
}
