//! The version of the layout on disk: refusing one that this version does not read, by its number.

use std::path::Path;

use rocksdb::WriteBatch;

use crate::db::{self, Db, Reader, Tuning};
use crate::error::{OpenError, StorageError};
use crate::schema::{FORMAT, Family, OLDEST_FORMAT, meta};

/// Opens the database in `path`, whose format is still to be checked.
///
/// The column families of another format may be others, with which RocksDB does not open it at
/// all: then its format is looked up in what can be read of it. An older one that can be read lacks
/// families, which are made.
pub fn open(path: &Path, tuning: Tuning) -> Result<Db, OpenError> {
    let failed = match Db::open(path, false, tuning) {
        Ok(db) => return Ok(db),
        Err(error) => error,
    };
    if !matches!(
        &failed,
        OpenError::Storage(StorageError::Database(_) | StorageError::Corrupt { .. })
    ) {
        return Err(failed);
    }
    match found(path, tuning) {
        Some(found) if (OLDEST_FORMAT..FORMAT).contains(&found) => Db::open_lacking(path, tuning),
        Some(found) if found != FORMAT => Err(unreadable(found)),
        _ => Err(failed),
    }
}

/// Refuses a database in another format.
pub fn check(reader: Reader<'_>) -> Result<(), OpenError> {
    check_bytes(&record(reader)?)
}

/// Makes a database that has been opened one of this format.
///
/// Format 1 had no checkpoints, and lacks nothing but their families, which are empty.
pub fn upgrade(db: &Db) -> Result<(), OpenError> {
    if record(db.latest())? != FORMAT.to_be_bytes() {
        let mut batch = WriteBatch::default();
        db.put(&mut batch, Family::Meta, meta::FORMAT, &FORMAT.to_be_bytes())?;
        db.write(batch, true)?;
    }
    Ok(())
}

/// The format of the database in `path`, where it can be told.
fn found(path: &Path, tuning: Tuning) -> Option<u32> {
    db::peek(path, tuning, Family::Meta, meta::FORMAT)
        .ok()
        .flatten()
        .and_then(|bytes| decode(&bytes))
}

fn record(reader: Reader<'_>) -> Result<Vec<u8>, StorageError> {
    let damaged = || StorageError::damaged("the record of the format");
    Ok(reader.get(Family::Meta, meta::FORMAT)?.ok_or_else(damaged)?.to_vec())
}

/// Refuses another format than this version reads, by its record.
pub fn check_bytes(record: &[u8]) -> Result<(), OpenError> {
    let damaged = || StorageError::damaged("the record of the format");
    let found = decode(record).ok_or_else(damaged)?;
    if (OLDEST_FORMAT..=FORMAT).contains(&found) { Ok(()) } else { Err(unreadable(found)) }
}

fn decode(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

const fn unreadable(found: u32) -> OpenError {
    let hint = if found > FORMAT { "use a newer version" } else { "`quipu upgrade` rewrites it" };
    OpenError::Format { found, oldest: OLDEST_FORMAT, newest: FORMAT, hint }
}

#[cfg(test)]
mod tests {
    use rocksdb::{DB, Options};

    use super::*;
    use crate::ledger::{DATABASE, Ledger};
    use crate::options::NewLedger;

    /// A store that was written in another format, with families changed as `change` does.
    fn of_format(format: u32, change: impl FnOnce(&mut DB)) -> (tempfile::TempDir, DB) {
        let dir = tempfile::tempdir().unwrap();
        drop(Ledger::create(dir.path(), &NewLedger::default()).unwrap());
        let (path, options) = (dir.path().join(DATABASE), Options::default());
        let families = DB::list_cf(&options, &path).unwrap();
        let mut db = DB::open_cf(&options, &path, families).unwrap();
        db.put_cf(db.cf_handle("meta").unwrap(), meta::FORMAT, format.to_be_bytes()).unwrap();
        change(&mut db);
        (dir, db)
    }

    fn assert_refused((dir, db): (tempfile::TempDir, DB), format: u32, says: &str) {
        let locked = Ledger::open(dir.path()).map(drop);
        assert!(matches!(locked, Err(OpenError::Locked(_))), "{locked:?}");
        drop(db);
        // It stays refused, and the lock is given back.
        for _ in 0..2 {
            match Ledger::open(dir.path()) {
                Err(OpenError::Format { found, newest: FORMAT, hint, .. }) => {
                    assert_eq!((found, hint), (format, says));
                }
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("it opens"),
            }
        }
    }

    fn more(db: &mut DB) {
        db.create_cf("later", &Options::default()).unwrap();
        db.put_cf(db.cf_handle("later").unwrap(), b"k", b"v").unwrap();
    }

    fn fewer(db: &mut DB) {
        db.drop_cf("versions").unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        for change in [|_: &mut DB| (), more, fewer] {
            assert_refused(of_format(FORMAT + 1, change), FORMAT + 1, "use a newer version");
        }
    }

    #[test]
    fn an_older_format_is_refused_by_name() {
        let older = OLDEST_FORMAT - 1;
        for change in [|_: &mut DB| (), more, fewer] {
            assert_refused(of_format(older, change), older, "`quipu upgrade` rewrites it");
        }
    }

    #[test]
    fn format_1_is_opened_and_is_of_this_format_then() {
        let lacking = |db: &mut DB| {
            ["final", "tree"].iter().for_each(|family| db.drop_cf(family).unwrap());
        };
        // A crash may have left it with some of the families.
        let partly = |db: &mut DB| db.drop_cf("tree").unwrap();
        for change in [&lacking as &dyn Fn(&mut DB), &partly, &|_| ()] {
            let (dir, db) = of_format(1, change);
            drop(db);
            for _ in 0..2 {
                let ledger = Ledger::open(dir.path()).unwrap();
                assert!(ledger.verify(&mut |_, _| {}).unwrap().is_sound());
                let record = ledger.latest().get(Family::Meta, meta::FORMAT).unwrap();
                assert_eq!(record.as_deref(), Some(FORMAT.to_be_bytes().as_slice()));
            }
        }
    }

    #[test]
    fn families_that_the_format_does_not_have_are_damage() {
        for change in [more, fewer] {
            let (dir, db) = of_format(FORMAT, change);
            drop(db);
            let opened = Ledger::open(dir.path()).map(drop);
            assert!(matches!(opened, Err(OpenError::Storage(_))), "{opened:?}");
        }
    }
}
