//! The log of votes: what a validator must remember to go on after a crash as if there had been none.

use std::collections::VecDeque;
use std::sync::Arc;

use quipu_merge::{AuthorKey, Height};
use rocksdb::WriteBatch;

use super::mark::{self, MAX_VOTE_MARK, MarkFile, Marked};
use super::record::Head;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::schema::{Family, meta};

/// What is known of the votes that were signed with this store's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Votes {
    /// The key was made with this store, which has never logged a vote with it.
    New,
    /// All entries that were appended and not trimmed, in order.
    Kept(Vec<Vec<u8>>),
    /// There may be others: the store is a copy, was restored or repaired, or has lost writes.
    Lost,
}

/// An entry that is to be appended.
#[derive(Clone, Copy, Debug)]
pub struct VoteEntry<'e> {
    /// The height that it is about.
    pub height: Height,
    /// What it says.
    pub bytes: &'e [u8],
}

/// The log of what this replica has voted, open for appending. There is to be one at a time.
pub struct VoteLog {
    ledger: Arc<Ledger>,
    author: AuthorKey,
    /// The heights and lengths of the entries, in order.
    entries: VecDeque<(Height, usize)>,
    /// The number of the first of them.
    first: u64,
    len: u64,
    /// Whether the log holds nothing but entries of this author.
    begun: bool,
    marks: Option<MarkFile>,
}

impl VoteLog {
    /// Reads the log of `author`, and the mark that was written last.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn open(
        ledger: &Arc<Ledger>,
        author: AuthorKey,
    ) -> Result<(Self, Votes, Option<Vec<u8>>), StorageError> {
        let marked = mark::read(ledger.dir(), author)?;
        let head = Head::read(ledger.latest())?;
        let safe = !ledger.is_copied() && ledger.loss().is_none();
        let mut log = Self {
            ledger: ledger.clone(),
            author,
            entries: VecDeque::new(),
            first: 0,
            len: 0,
            begun: false,
            marks: None,
        };
        let votes = match head {
            _ if !safe || marked == Marked::Unreadable => Votes::Lost,
            Some(Head::Lost) => Votes::Lost,
            Some(Head::Kept { author: by, first }) if by == author => {
                log.begun = true;
                log.first = first;
                Votes::Kept(log.read()?)
            }
            // Those there are were made with a key that this store does not have any more.
            _ if marked == Marked::Nothing => Votes::New,
            _ => Votes::Lost,
        };
        let mark = if let Marked::Last(mark) = marked { Some(mark) } else { None };
        Ok((log, votes, mark))
    }

    /// Appends entries, and then marks the last vote where there is one: all of it is on the disk when
    /// this returns.
    ///
    /// # Errors
    /// [`StorageError::NoRoom`]: nothing has been appended. Otherwise nobody knows, and the store must be
    /// opened again.
    pub fn append(
        &mut self,
        entries: &[VoteEntry<'_>],
        mark: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        let db = &self.ledger.db;
        db.check_room()?;
        let mut batch = WriteBatch::default();
        if !self.begun {
            self.drop_others(&mut batch)?;
            Head::Kept { author: self.author, first: self.first }.put(db, &mut batch)?;
        }
        let next = self.first + self.entries.len() as u64;
        for (number, entry) in (next..).zip(entries) {
            let value = [entry.height.0.to_be_bytes().as_slice(), entry.bytes].concat();
            db.put(&mut batch, Family::Meta, &meta::vote(number), &value)?;
        }
        self.write(batch)?;
        self.begun = true;
        for entry in entries {
            self.entries.push_back((entry.height, entry.bytes.len()));
            self.len += entry.bytes.len() as u64;
        }
        let Some(mark) = mark else { return Ok(()) };
        if mark.len() > MAX_VOTE_MARK {
            return Err(StorageError::damaged("a mark of votes that is too long"));
        }
        let file = match self.marks.take() {
            Some(file) => file,
            None => MarkFile::open(self.ledger.dir(), self.author)?,
        };
        file.write(mark)?;
        self.marks = Some(file);
        Ok(())
    }

    /// Drops the entries of heights below this. They may come back after a crash.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn trim(&mut self, below: Height) -> Result<(), StorageError> {
        let db = &self.ledger.db;
        let mut batch = WriteBatch::default();
        let mut first = self.first;
        for _ in self.entries.iter().take_while(|(height, _)| *height < below) {
            db.delete(&mut batch, Family::Meta, &meta::vote(first))?;
            first += 1;
        }
        if first == self.first {
            return Ok(());
        }
        Head::Kept { author: self.author, first }.put(db, &mut batch)?;
        db.write(batch, false)?;
        while self.first < first
            && let Some((_, len)) = self.entries.pop_front()
        {
            self.len -= len as u64;
            self.first += 1;
        }
        Ok(())
    }

    /// The length of the entries, in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn read(&mut self) -> Result<Vec<Vec<u8>>, StorageError> {
        let damaged = || StorageError::damaged("the log of votes");
        let mut entries = Vec::new();
        let mut walk = self.ledger.latest().walk(Family::Meta, meta::VOTES)?;
        walk.seek(&meta::vote(self.first))?;
        while let Some((key, value)) = walk.item() {
            let number = meta::parse_vote(key).ok_or_else(damaged)?;
            let (height, bytes) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
            if number != self.first + entries.len() as u64 {
                return Err(damaged());
            }
            self.entries.push_back((Height(u64::from_be_bytes(*height)), bytes.len()));
            self.len += bytes.len() as u64;
            entries.push(bytes.to_vec());
            walk.next()?;
        }
        Ok(entries)
    }

    /// Drops what is there of other authors, or of this one where it is not to be relied on.
    fn drop_others(&self, batch: &mut WriteBatch) -> Result<(), StorageError> {
        let mut walk = self.ledger.latest().walk(Family::Meta, meta::VOTES)?;
        walk.first()?;
        while let Some((key, _)) = walk.item() {
            if meta::parse_vote(key).is_some() {
                self.ledger.db.delete(batch, Family::Meta, key)?;
            }
            walk.next()?;
        }
        Ok(())
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        let written = self.ledger.db.write(batch, true);
        written.inspect_err(|error| self.ledger.lock_writer().poison(error))
    }
}
