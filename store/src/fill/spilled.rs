//! A file for the events of a cut that are too many for memory.
//!
//! It has no name and goes with whoever has it open. What is in it has been checked; that the disk gives
//! it back as it was is checked once more.

use std::fs::{File, OpenOptions, remove_file};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use quipu_merge::ParsedEvent;
use rayon::prelude::*;

use crate::db::Db;
use crate::error::StorageError;
use crate::incoming::Checked;
use crate::ingest::BATCH;
use crate::record::WaitingRecord;

/// The file, as long as it has a name.
const NAME: &str = "cut";
/// So many bytes are read at once, or one event.
const AT_ONCE: usize = 4 << 20;
/// Bytes before each record: its length and its hash.
const HEAD_LEN: usize = 8 + blake3::OUT_LEN;

/// Events in a file, in their order.
#[derive(Debug)]
pub struct Spilled {
    path: PathBuf,
    file: File,
    events: u64,
}

impl Spilled {
    /// An empty file in a directory.
    pub fn create(dir: &Path) -> Result<Self, StorageError> {
        let path = dir.join(NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let made = options.open(&path).and_then(|file| remove_file(&path).map(|()| file));
        let file = made.map_err(StorageError::file(&path))?;
        Ok(Self { path, file, events: 0 })
    }

    /// Adds events at the end, where the disk of a database has room for them.
    pub fn write(&mut self, events: &[Checked], db: &Db) -> Result<(), StorageError> {
        let failed = || StorageError::file(&self.path);
        let mut file = &self.file;
        file.seek(SeekFrom::End(0)).map_err(failed())?;
        let mut out = BufWriter::new(file);
        for event in events {
            db.check_room()?;
            let record = WaitingRecord {
                event: event.event.bytes().to_vec(),
                body: event.body_bytes.clone(),
                openings: event.openings.clone(),
            };
            let record = record.encode();
            let mut write = || {
                out.write_all(&(record.len() as u64).to_be_bytes())?;
                out.write_all(blake3::hash(&record).as_bytes())?;
                out.write_all(&record)
            };
            write().map_err(failed())?;
            db.wrote_beside(HEAD_LEN + record.len());
        }
        out.flush().map_err(failed())?;
        self.events += events.len() as u64;
        Ok(())
    }

    /// Reads all of them, some at a time.
    pub fn each<E: From<StorageError>>(
        &self,
        mut to: impl FnMut(Vec<Checked>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(StorageError::file(&self.path))?;
        let mut reading = Reading { of: self, input: BufReader::new(file), left: self.events };
        while reading.left > 0 {
            to(reading.next()?)?;
        }
        Ok(())
    }
}

/// Reads along the file.
struct Reading<'f> {
    of: &'f Spilled,
    input: BufReader<&'f File>,
    left: u64,
}

impl Reading<'_> {
    /// The next events.
    fn next(&mut self) -> Result<Vec<Checked>, StorageError> {
        let (mut records, mut len) = (Vec::new(), 0);
        while self.left > 0 && records.len() < BATCH && len < AT_ONCE {
            let record = self.record()?;
            len += record.len();
            records.push(record);
            self.left -= 1;
        }
        records.into_par_iter().map(|record| checked(&record).ok_or_else(damaged)).collect()
    }

    fn record(&mut self) -> Result<Vec<u8>, StorageError> {
        let failed = || StorageError::file(&self.of.path);
        let (mut len, mut hash) = ([0; 8], [0; blake3::OUT_LEN]);
        self.input.read_exact(&mut len).map_err(failed())?;
        self.input.read_exact(&mut hash).map_err(failed())?;
        let mut record = Vec::new();
        // A length that is wrong makes no room for itself.
        let mut content = self.input.by_ref().take(u64::from_be_bytes(len));
        content.read_to_end(&mut record).map_err(failed())?;
        if blake3::hash(&record).as_bytes() == &hash { Ok(record) } else { Err(damaged()) }
    }
}

fn checked(record: &[u8]) -> Option<Checked> {
    let WaitingRecord { event, body, openings } = WaitingRecord::decode(record)?;
    let event = ParsedEvent::decode(&event).ok()?.verified_before();
    Some(Checked::new(event, body, openings))
}

fn damaged() -> StorageError {
    StorageError::damaged("the file of events whose checkpoint is still to come")
}
