//! Where the records of the last certified cut are: in the database, or in memory when it is
//! checked against them.

use std::collections::BTreeMap;

use crate::db::Reader;
use crate::error::StorageError;
use crate::schema::Family;

/// What is called with the key and the value of each record.
pub type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<(), StorageError>;

/// The records of the family `final` that are folded into.
pub trait FinalRecords {
    /// The records of many keys, which ascend.
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError>;

    /// Calls `visit` with the records whose keys begin with `prefix`, ascending.
    fn each(&self, prefix: &[u8], visit: Visit<'_>) -> Result<(), StorageError>;

    /// The record of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.get_many(&[key])?.into_iter().next().flatten())
    }
}

impl FinalRecords for Reader<'_> {
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let found = Reader::get_many(self, Family::Final, keys)?.into_iter();
        Ok(found.map(|record| record.map(|record| record.to_vec())).collect())
    }

    fn each(&self, prefix: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let mut walk = self.walk(Family::Final, prefix)?;
        walk.first()?;
        while let Some((key, value)) = walk.item() {
            visit(key, value)?;
            walk.next()?;
        }
        Ok(())
    }
}

impl FinalRecords for BTreeMap<Vec<u8>, Vec<u8>> {
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        Ok(keys.iter().map(|key| self.get(*key).cloned()).collect())
    }

    fn each(&self, prefix: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let records = self.range(prefix.to_vec()..);
        let mut records = records.take_while(|(key, _)| key.starts_with(prefix));
        records.try_for_each(|(key, value)| visit(key, value))
    }
}
