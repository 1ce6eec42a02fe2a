//! Opening the database, whatever state a crash has left its log in.

use std::path::Path;

use rocksdb::{Cache, ColumnFamilyDescriptor, DB, DBRecoveryMode, Error, ErrorKind, Options};

use super::culprit::open_failure;
use super::logs;
use super::options::{Tuning, database_options, family_options};
use crate::error::OpenError;
use crate::mark;
use crate::schema::Family;

/// Which families there are in a database that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// None: it is made.
    New,
    /// All of them.
    All,
    /// Those of an older format: the others are made.
    Some,
}

/// Opens the database in `path`, or makes one there.
pub fn open(path: &Path, found: Families, cache: &Cache, tuning: Tuning) -> Result<DB, OpenError> {
    if found != Families::New {
        logs::check(path)?;
    }
    let mut options = database_options(found == Families::New, tuning);
    options.create_missing_column_families(found != Families::All);
    let error = match DB::open_cf_descriptors(&options, path, families(cache, tuning)) {
        Ok(db) => return Ok(db),
        Err(error) => error,
    };
    if is_lock(&error) {
        return Err(OpenError::Locked(path.to_owned()));
    }
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    if error.kind() == ErrorKind::Corruption && holds_what_is_marked(path, &options, cache, tuning)
    {
        let opened = DB::open_cf_descriptors(&options, path, families(cache, tuning));
        return opened.map_err(|error| open_failure(path, error).into());
    }
    Err(open_failure(path, error).into())
}

/// Whether everything that was acknowledged lies before what is damaged. So it is where power was
/// lost while something was being written: what had not been synced is there in parts.
fn holds_what_is_marked(path: &Path, options: &Options, cache: &Cache, tuning: Tuning) -> bool {
    let Some(marked) = path.parent().and_then(mark::marked) else { return false };
    let families = families(cache, tuning);
    let database = DB::open_cf_descriptors_read_only(options, path, families, false);
    database.is_ok_and(|db| db.latest_sequence_number() >= marked)
}

/// Reads one value from the database in `path` whatever families it has, and changes nothing.
pub fn peek(
    path: &Path,
    tuning: Tuning,
    family: Family,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let options = database_options(false, tuning);
    let families = DB::list_cf(&options, path)?;
    let db = DB::open_cf_for_read_only(&options, path, families, false)?;
    db.cf_handle(family.name()).map_or(Ok(None), |handle| db.get_cf(handle, key))
}

fn families(cache: &Cache, tuning: Tuning) -> [ColumnFamilyDescriptor; Family::ALL.len()] {
    let options = |family| family_options(family, cache, tuning);
    Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), options(family)))
}

fn is_lock(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("lock file") || text.contains("lock hold")
}
