//! Receipts: what a transaction leaves behind in this store alone, with its event or not at all.
//!
//! A caller that may have to ask again whether something was written names it by a receipt.

use quipu_merge::{EventId, Micros, Seq};
use rocksdb::WriteBatch;

use crate::error::{StorageError, WriteError};
use crate::ledger::Ledger;
use crate::record::{self, put_number};
use crate::schema::{Family, meta};
use crate::transaction::{Committed, Transaction};
use crate::writer::Writer;

/// Length of the name of a receipt, in bytes.
pub const MAX_RECEIPT_NAME: usize = 64;
/// Length of what a receipt notes, in bytes.
pub const MAX_RECEIPT_NOTE: usize = 64;

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How it is found again.
    pub name: Vec<u8>,
    /// What the caller has noted on it.
    pub note: Vec<u8>,
    /// What was committed with it.
    pub committed: Committed,
}

impl Receipt {
    fn encode(&self) -> Vec<u8> {
        let mut out = self.committed.event.0.to_vec();
        put_number(&mut out, self.committed.seq.0);
        put_number(&mut out, self.committed.time.0);
        out.extend_from_slice(&self.note);
        out
    }

    fn decode(name: &[u8], record: &[u8]) -> Option<Self> {
        let (event, rest) = record.split_first_chunk::<32>()?;
        let mut r = record::Reader(rest);
        let (seq, time) = (Seq(r.number()?), Micros(r.number()?));
        let committed = Committed { event: EventId(*event), seq, time };
        let note = r.0.to_vec();
        let sound = name.len() <= MAX_RECEIPT_NAME && note.len() <= MAX_RECEIPT_NOTE;
        sound.then(|| Self { name: name.to_vec(), note, committed })
    }
}

/// Reads the event of a receipt; `None` where it is none.
pub fn event_of(key: &[u8], record: &[u8]) -> Option<EventId> {
    let name = key.strip_prefix(meta::RECEIPT)?;
    Receipt::decode(name, record).map(|receipt| receipt.committed.event)
}

impl Writer {
    /// Adds a receipt for an event of the group.
    pub(crate) fn put_receipt(
        &mut self,
        ledger: &Ledger,
        (name, note): (Vec<u8>, Vec<u8>),
        committed: &Committed,
    ) -> Result<(), StorageError> {
        let receipt = Receipt { name, note, committed: committed.clone() };
        let key = meta::receipt(&receipt.name);
        let put = self.put(&ledger.db, Family::Meta, &key, &receipt.encode());
        put.inspect_err(|error| self.poison(error))
    }
}

impl Transaction<'_> {
    /// Leaves a receipt when the event is committed: in the same write, so that either both are there
    /// or neither. One of the same name is replaced. Receipts do not travel.
    ///
    /// # Errors
    /// [`WriteError::Limit`] where `name` is longer than [`MAX_RECEIPT_NAME`], or `note` than
    /// [`MAX_RECEIPT_NOTE`]; the transaction is as it was.
    pub fn receipt(&mut self, name: &[u8], note: &[u8]) -> Result<&mut Self, WriteError> {
        if name.len() > MAX_RECEIPT_NAME || note.len() > MAX_RECEIPT_NOTE {
            return Err(WriteError::Limit("the receipt is too long".into()));
        }
        self.set_receipt((name.to_vec(), note.to_vec()));
        Ok(self)
    }
}

impl Ledger {
    /// The receipt of this name, if a transaction left one.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn receipt(&self, name: &[u8]) -> Result<Option<Receipt>, StorageError> {
        let record = self.latest().get(Family::Meta, &meta::receipt(name))?;
        let damaged = || StorageError::damaged("a receipt");
        record.map(|record| Receipt::decode(name, &record).ok_or_else(damaged)).transpose()
    }

    /// Up to `limit` receipts by name, ascending: from the first on, or after the one of this name.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn receipts(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StorageError> {
        let reader = self.latest();
        let mut walk = reader.walk(Family::Meta, meta::RECEIPT)?;
        match after {
            Some(name) => walk.seek(&[meta::receipt(name).as_slice(), &[0]].concat())?,
            None => walk.first()?,
        }
        let mut receipts = Vec::new();
        while receipts.len() < limit
            && let Some((key, record)) = walk.item()
        {
            let name = key.strip_prefix(meta::RECEIPT).unwrap_or(key);
            let receipt = Receipt::decode(name, record);
            receipts.push(receipt.ok_or_else(|| StorageError::damaged("a receipt"))?);
            walk.next()?;
        }
        Ok(receipts)
    }

    /// Drops the receipts of these names. The events stay.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn drop_receipts(&self, names: &[Vec<u8>]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for name in names {
            self.db.delete(&mut batch, Family::Meta, &meta::receipt(name))?;
        }
        // Where it was for nothing, they are dropped again.
        self.db.write(batch, false)
    }
}
