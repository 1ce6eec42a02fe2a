//! What nobody else has and nothing can be derived from: it is taken over from the damaged database
//! as far as it can be read there.

use std::path::Path;

use quipu_merge::AuthorKey;
use rocksdb::WriteBatch;

use super::error::RepairError;
use crate::author;
use crate::copied::Place;
use crate::db::{Db, Salvage};
use crate::error::{OpenError, StorageError};
use crate::format;
use crate::identity::{Identity, Passphrase};
use crate::ledger::Ledger;
use crate::lookup;
use crate::receipts;
use crate::schema::{Family, meta};
use crate::shallow::Shallow;
use crate::votes;

/// How a record is taken over: what becomes of its key and value, or `None` where it is no record of
/// its kind.
type TakeOver = fn(&Taking<'_>, &[u8], &[u8]) -> Result<Option<Record>, StorageError>;
type Record = (Vec<u8>, Vec<u8>);

/// The local truths of the family `meta` that stand by themselves, by what their keys begin with.
/// The others are who the replica is and where ([`identify`]), pins and pruned values
/// ([`super::kept`]), and the events that wait, which are offered like all others.
const LOCAL: [(&[u8], TakeOver); 3] =
    [(b"N", name), (meta::RECEIPT, receipt), (meta::EVIDENCE, evidence)];

/// What is at hand for taking records over.
pub struct Taking<'t> {
    /// The damaged database.
    pub salvage: &'t Salvage,
    /// The store that is being made.
    pub ledger: &'t Ledger,
}

impl Taking<'_> {
    /// Takes over all records that are there, where the new database has none yet.
    pub fn take_over(&self) -> Result<(), StorageError> {
        let db = &self.ledger.db;
        let mut batch = WriteBatch::default();
        for (prefix, take_over) in LOCAL {
            self.salvage.visit(Family::Meta, prefix, |key, value| {
                if let Some((key, value)) = take_over(self, key, value)?
                    && !db.latest().has(Family::Meta, &key)?
                {
                    db.put(&mut batch, Family::Meta, &key, &value)?;
                }
                Ok::<_, StorageError>(())
            })?;
        }
        db.write(batch, true)
    }
}

fn name(_: &Taking<'_>, key: &[u8], value: &[u8]) -> Result<Option<Record>, StorageError> {
    let sound = key.len() == meta::name([0; 32]).len() && std::str::from_utf8(value).is_ok();
    Ok(sound.then(|| (key.to_vec(), value.to_vec())))
}

fn evidence(_: &Taking<'_>, key: &[u8], value: &[u8]) -> Result<Option<Record>, StorageError> {
    Ok(Some((key.to_vec(), value.to_vec())))
}

/// A receipt for an event that is lost would say that something is written that is not.
fn receipt(taking: &Taking<'_>, key: &[u8], value: &[u8]) -> Result<Option<Record>, StorageError> {
    let Some(event) = receipts::event_of(key, value) else { return Ok(None) };
    let held = lookup::dot_of(taking.ledger.latest(), event)?.is_some();
    Ok(held.then(|| (key.to_vec(), value.to_vec())))
}

/// Refuses a database in another format, as far as that can be read.
pub fn check_format(salvage: &Salvage) -> Result<(), OpenError> {
    let record = salvage.get(Family::Meta, meta::FORMAT);
    match record.map_or(Ok(()), |record| format::check_bytes(&record)) {
        Err(OpenError::Storage(_)) => Ok(()),
        other => other,
    }
}

/// Refuses a store that starts from a checkpoint.
pub fn check_whole(salvage: &Salvage) -> Result<(), RepairError> {
    let record = salvage.get(Family::Meta, meta::SHALLOW);
    match record.as_deref().and_then(Shallow::decode) {
        Some(shallow) => Err(RepairError::Shallow(shallow.height)),
        None => Ok(()),
    }
}

/// Who the replica is that has its store in `dir`: what the damaged databases say, or else its key.
pub fn authors(
    salvages: &[Salvage],
    dir: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<Vec<AuthorKey>, RepairError> {
    let recorded = salvages.iter().filter_map(|salvage| salvage.get(Family::Meta, meta::AUTHOR));
    match recorded.into_iter().find_map(|bytes| author::decode(&bytes)) {
        Some(authors) => Ok(authors),
        None => Ok(vec![Identity::load(dir, passphrase)?.author()]),
    }
}

/// Records in the new database who the replica is and where. Where its place cannot be read any
/// more, it is this one.
pub fn identify(
    db: &Db,
    salvages: &[Salvage],
    dir: &Path,
    authors: &[AuthorKey],
) -> Result<(), StorageError> {
    author::write(db, authors)?;
    // Of the log of votes the end may be gone.
    votes::lose(db)?;
    let mut places = salvages.iter().filter_map(|salvage| salvage.get(Family::Meta, meta::PLACE));
    match (places.next(), Place::of(dir)) {
        (Some(place), _) => {
            let mut batch = WriteBatch::default();
            db.put(&mut batch, Family::Meta, meta::PLACE, &place)?;
            db.write(batch, true)
        }
        (None, Ok(place)) => place.record(db),
        // There is no key file: the store looks like a copy until there is one.
        (None, Err(_)) => Ok(()),
    }
}
