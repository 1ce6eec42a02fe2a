//! Taking in blocks: a few in memory, many in table files that the database takes over whole, so
//! that they are written once and not through the log.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use quipu_merge::{BlockId, Codec};
use rocksdb::{SstFileWriter, WriteBatch};

use super::edges::{Parent, edge_key, is_referred_to};
use super::numbers::{State, put_index};
use super::{Entry, Garbage, children, encode, is_here, number_of};
use crate::db::Db;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::schema::{Family, meta};

/// Blocks that are written through the log at once, in bytes.
const IN_MEMORY: usize = 1 << 20;
/// Length of a table file, in bytes.
const FILE_LEN: u64 = 32 << 20;
/// So many numbers are taken for a table file.
const FILE_BLOCKS: u64 = 4096;

/// Blocks that are coming in. They become known by [`BlockSink::commit`]; what something is to refer
/// to has to be committed first. They are leased until it is dropped, or a manifest among them keeps them.
pub struct BlockSink<'l> {
    ledger: &'l Ledger,
    /// New blocks in memory, in their order.
    staged: Vec<(BlockId, Vec<u8>)>,
    staged_len: usize,
    file: Option<TableFile<'l>>,
    finished: Vec<(PathBuf, u64, u64)>,
    /// The numbers of new blocks that are in files.
    filed: HashMap<BlockId, u64>,
    /// What the new manifests list, with the manifests.
    listed: Vec<(BlockId, Vec<BlockId>)>,
    /// The blocks in use here, with the lengths of those that have been put.
    leased: HashMap<BlockId, u32>,
    /// The manifests that have been put, whose lists have been followed then.
    new: HashSet<BlockId>,
}

/// A table file that is being written.
struct TableFile<'l> {
    writer: SstFileWriter<'l>,
    path: PathBuf,
    first: u64,
    next: u64,
}

impl<'l> BlockSink<'l> {
    /// Nothing yet.
    pub fn new(ledger: &'l Ledger) -> Self {
        Self {
            ledger,
            staged: Vec::new(),
            staged_len: 0,
            file: None,
            finished: Vec::new(),
            filed: HashMap::new(),
            listed: Vec::new(),
            leased: HashMap::new(),
            new: HashSet::new(),
        }
    }

    /// Whether a block need not be put: it is here, or has been put.
    pub fn has(&mut self, id: BlockId) -> Result<bool, StorageError> {
        if self.leased.contains_key(&id) {
            return Ok(true);
        }
        // It must not be collected between being found and being referred to.
        let mut state = self.ledger.blocks.lock();
        let here = is_here(self.ledger.latest(), id)?;
        if here {
            state.lease(id);
            self.leased.insert(id, 0);
        }
        Ok(here)
    }

    /// A manifest that is here. What those list that have been put has been looked at then, and raw
    /// blocks list nothing.
    pub fn read(&self, id: BlockId) -> Result<Option<Vec<u8>>, StorageError> {
        if id.codec == Codec::Raw || self.new.contains(&id) {
            return Ok(None);
        }
        super::read(self.ledger.latest(), id)
    }

    /// Takes in a block, which is what its id says.
    pub fn put(&mut self, id: BlockId, bytes: &[u8]) -> Result<(), StorageError> {
        if self.has(id)? {
            return Ok(());
        }
        self.ledger.blocks.lock().lease(id);
        self.leased.insert(id, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if id.codec == Codec::DagCbor {
            self.new.insert(id);
        }
        if let Some(number) = number_of(self.ledger.latest(), id)? {
            return self.put_expected(id, bytes, number);
        }
        let listed = children(id, bytes);
        if !listed.is_empty() {
            self.listed.push((id, listed.into_iter().collect()));
        }
        if self.staged_len + bytes.len() <= IN_MEMORY && self.file.is_none() {
            self.staged_len += bytes.len();
            self.staged.push((id, bytes.to_vec()));
            return Ok(());
        }
        for (id, bytes) in std::mem::take(&mut self.staged) {
            self.file(id, &bytes)?;
        }
        self.staged_len = 0;
        self.file(id, bytes)
    }

    /// Takes in a block that something refers to already, under the number that it has.
    fn put_expected(&self, id: BlockId, bytes: &[u8], number: u64) -> Result<(), StorageError> {
        let (db, mut batch) = (&self.ledger.db, WriteBatch::default());
        let mut state = self.ledger.blocks.lock();
        db.put(&mut batch, Family::Blocks, &number.to_be_bytes(), &encode(id, bytes))?;
        put_index(db, &mut batch, id, Entry::of(number, bytes))?;
        let listed = children(id, bytes).into_iter().collect();
        link(db, &mut state, &mut batch, vec![(number, listed)], &mut HashMap::new())?;
        db.write(batch, false)
    }

    /// Adds a block to a table file.
    fn file(&mut self, id: BlockId, bytes: &[u8]) -> Result<(), StorageError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.start_file()?,
        };
        let put = file.writer.put(file.next.to_be_bytes(), encode(id, bytes));
        put.map_err(|error| self.ledger.db.failure(error))?;
        self.filed.insert(id, file.next);
        file.next += 1;
        let full = file.writer.file_size() >= FILE_LEN || file.next == file.first + FILE_BLOCKS;
        self.file = Some(file);
        if full { self.finish_file() } else { Ok(()) }
    }

    fn start_file(&self) -> Result<TableFile<'l>, StorageError> {
        let db = &self.ledger.db;
        let first = self.ledger.blocks.lock().take(db, FILE_BLOCKS)?;
        let dir = self.ledger.staging();
        fs::create_dir_all(&dir).map_err(StorageError::file(&dir))?;
        let path = dir.join(format!("{first}.sst"));
        let writer = SstFileWriter::create(db.table_options());
        writer.open(&path).map_err(|error| db.failure(error))?;
        Ok(TableFile { writer, path, first, next: first })
    }

    fn finish_file(&mut self) -> Result<(), StorageError> {
        if let Some(mut file) = self.file.take() {
            file.writer.finish().map_err(|error| self.ledger.db.failure(error))?;
            self.finished.push((file.path, file.first, file.next));
        }
        Ok(())
    }

    /// Takes in a block of content that is being cut, in which manifests come after what they list.
    /// A manifest of many makes them known, so that what is held of them does not grow with the
    /// content.
    pub fn put_cut(&mut self, id: BlockId, bytes: &[u8]) -> Result<(), StorageError> {
        self.put(id, bytes)?;
        let many = self.filed.len() as u64 >= FILE_BLOCKS;
        if id.codec == Codec::DagCbor && many { self.commit() } else { Ok(()) }
    }

    /// Makes the blocks known. They are garbage until something refers to them.
    pub fn commit(&mut self) -> Result<(), StorageError> {
        if self.staged.is_empty() && self.filed.is_empty() {
            return Ok(());
        }
        self.finish_file()?;
        let (ledger, db) = (self.ledger, &self.ledger.db);
        // This waits for the disk, and nobody needs to wait along: the blocks are not known yet.
        self.take_over_files()?;
        let mut state = ledger.blocks.lock();
        let mut batch = WriteBatch::default();
        let mut numbers = std::mem::take(&mut self.filed);
        for (id, filed, number) in known_before(db, &numbers)? {
            // Somebody else was faster: this copy goes again.
            db.delete(&mut batch, Family::Blocks, &filed.to_be_bytes())?;
            numbers.remove(&id);
            let key = number.to_be_bytes();
            if db.latest().has(Family::Blocks, &key)? {
                continue;
            }
            if let Some(record) = db.latest().get(Family::Blocks, &filed.to_be_bytes())? {
                db.put(&mut batch, Family::Blocks, &key, &record)?;
                numbers.insert(id, number);
            }
        }
        for (id, bytes) in std::mem::take(&mut self.staged) {
            if is_here(db.latest(), id)? {
                continue;
            }
            let number = match number_of(db.latest(), id)? {
                Some(number) => number,
                None => state.take(db, 1)?,
            };
            db.put(&mut batch, Family::Blocks, &number.to_be_bytes(), &encode(id, &bytes))?;
            numbers.insert(id, number);
        }
        for (&id, &number) in &numbers {
            let len = self.leased.get(&id).copied();
            put_index(db, &mut batch, id, Entry { number, len })?;
        }
        self.staged_len = 0;
        let listed = std::mem::take(&mut self.listed).into_iter();
        let listed = listed.filter_map(|(id, listed)| Some((*numbers.get(&id)?, listed))).collect();
        let referred = link(db, &mut state, &mut batch, listed, &mut numbers)?;
        for (&id, &number) in &numbers {
            if !referred.contains(&number) && !is_referred_to(db.latest(), number)? {
                let len = self.leased.get(&id).copied();
                let mark = Garbage { len, ..Garbage::now(id) }.encode();
                db.put(&mut batch, Family::Meta, &meta::garbage(number), &mark)?;
            }
        }
        for (_, first, _) in std::mem::take(&mut self.finished) {
            db.delete(&mut batch, Family::Meta, &meta::unfinished(first))?;
        }
        fail::fail_point!("before-blocks-known");
        // What refers to the blocks comes later in the same log, and is what is synced.
        db.write(batch, false)?;
        // From now on their manifests, which are leased, keep them.
        for (id, _) in numbers.iter().filter(|(_, number)| referred.contains(number)) {
            if self.leased.remove(id).is_some() {
                state.release(*id);
            }
        }
        Ok(())
    }

    /// Lets the database take over the table files. Until their blocks are known, a mark says that
    /// they are to be removed after a crash.
    fn take_over_files(&self) -> Result<(), StorageError> {
        if self.finished.is_empty() {
            return Ok(());
        }
        let db = &self.ledger.db;
        let mut batch = WriteBatch::default();
        for (_, first, after) in &self.finished {
            db.put(&mut batch, Family::Meta, &meta::unfinished(*first), &after.to_be_bytes())?;
        }
        db.write(batch, true)?;
        fail::fail_point!("before-blocks-taken-over");
        let paths = self.finished.iter().map(|(path, ..)| path).collect();
        db.take_over(Family::Blocks, paths)?;
        fail::fail_point!("after-blocks-taken-over");
        Ok(())
    }
}

/// The blocks that have got other numbers meanwhile: with the number in the file, and the other.
fn known_before(
    db: &Db,
    filed: &HashMap<BlockId, u64>,
) -> Result<Vec<(BlockId, u64, u64)>, StorageError> {
    let mut known = Vec::new();
    for (&id, &filed) in filed {
        if let Some(number) = number_of(db.latest(), id)?
            && number != filed
        {
            known.push((id, filed, number));
        }
    }
    Ok(known)
}

/// Adds the edges from new manifests to what they list. `numbers` are those of blocks that are
/// not known yet. Tells to which blocks there is an edge now.
fn link(
    db: &Db,
    state: &mut State,
    batch: &mut WriteBatch,
    manifests: Vec<(u64, Vec<BlockId>)>,
    numbers: &mut HashMap<BlockId, u64>,
) -> Result<HashSet<u64>, StorageError> {
    let mut referred = HashSet::new();
    for (manifest, listed) in manifests {
        for child in listed {
            let known = match numbers.get(&child) {
                Some(number) => Some(*number),
                None => number_of(db.latest(), child)?,
            };
            let number = match known {
                Some(number) => number,
                // It has not come, and may come later.
                None => {
                    let number = state.take(db, 1)?;
                    put_index(db, batch, child, Entry { number, len: None })?;
                    number
                }
            };
            numbers.insert(child, number);
            referred.insert(number);
            db.put(batch, Family::Edges, &edge_key(number, Parent::Manifest(manifest)), &[])?;
        }
    }
    Ok(referred)
}

impl Drop for BlockSink<'_> {
    fn drop(&mut self) {
        if !self.leased.is_empty() {
            let mut state = self.ledger.blocks.lock();
            self.leased.keys().for_each(|id| state.release(*id));
        }
        // Files that nothing has taken over. Those that stay go when the store is opened again.
        let open = self.file.take().map(|file| file.path);
        for path in self.finished.drain(..).map(|(path, ..)| path).chain(open) {
            let _ = fs::remove_file(path);
        }
    }
}
