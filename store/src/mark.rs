//! The mark: how far writing had come when it was last acknowledged, kept beside the database.
//!
//! A log that ends early looks the same as one that was never longer, so the database cannot tell
//! that its end was cut off. The mark can: it is written after each synced write, and a database
//! that is behind its mark has lost something. It is never synced itself, which would double the
//! price of a commit: after a power failure it may be behind, and then it says less, never what is
//! wrong. A mark that is missing or torn counts as none.
//!
//! What is lost is put down in a second file until it is back, or somebody has dealt with it: own
//! events that others may hold must not be followed by others in their place.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quipu_merge::{AuthorKey, BlockId, Codec, EventId, Seq};

use crate::error::StorageError;
use crate::lookup::Known;
use crate::writer::Published;

/// The file with the mark, in the store's directory.
pub const MARK_FILE: &str = "acknowledged";
/// The file that tells what was lost, as long as that matters.
pub const LOSS_FILE: &str = "lost";

const MAGIC: &[u8; 8] = b"quipuack";
/// It stays within a page, which is written as a whole or not at all on most disks.
const SIZE: usize = 1024;
const SUM: usize = 32;
/// How many heads are named. With more, nobody can tell later whether all of them are back.
const MAX_HEADS: usize = 16;
const TOO_MANY: u8 = u8::MAX;

/// The last events of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tip {
    /// The number of the commit that made them so.
    commit: u64,
    /// The event that the next own one continues.
    own: Option<(AuthorKey, Seq, EventId)>,
    /// The events that no other follows; `None` where there are too many.
    heads: Option<Vec<EventId>>,
}

impl Tip {
    /// The tip as of a commit.
    pub fn of(published: &Published, own: Option<&Known>) -> Self {
        let few = published.heads.len() <= MAX_HEADS;
        Self {
            commit: published.commit,
            own: own.map(|own| (own.author, own.dot.seq, own.id)),
            heads: few.then(|| published.heads.iter().map(|head| head.id).collect()),
        }
    }

    /// The same tip with an own event that is later than the one that it names, if it is.
    pub fn with_own(mut self, author: AuthorKey, seq: Seq, id: EventId) -> Self {
        if self.own.is_none_or(|(by, last, _)| by != author || last < seq) {
            self.own = Some((author, seq, id));
        }
        self
    }

    /// The events with which everything is back, as far as they are named.
    pub fn wanted(&self) -> impl Iterator<Item = EventId> + '_ {
        let heads = self.heads.iter().flatten().copied();
        heads.chain(self.own.map(|(_, _, id)| id))
    }
}

/// Writes that were acknowledged and are not in the store any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What was the latest; `None` where the file that tells is damaged.
    tip: Option<Tip>,
}

impl Loss {
    /// The loss of what came up to this; `None` where nobody knows.
    pub(crate) const fn up_to(tip: Option<Tip>) -> Self {
        Self { tip }
    }

    /// What was the latest.
    pub(crate) const fn tip(&self) -> Option<&Tip> {
        self.tip.as_ref()
    }

    /// Puts the loss down beside the database of the store in `dir`.
    pub(crate) fn put_down(&self, dir: &Path) -> Result<(), StorageError> {
        match &self.tip {
            Some(tip) => write_loss(dir, 0, tip),
            // What cannot be read says that nobody knows.
            None => write_durably(dir, LOSS_FILE, &[]),
        }
    }

    /// The number of the last commit that was acknowledged, as far as that is known.
    pub fn commit(&self) -> Option<u64> {
        self.tip.as_ref().map(|tip| tip.commit)
    }

    /// The last event of this replica that was acknowledged: its author, position and id.
    pub fn own(&self) -> Option<(AuthorKey, Seq, EventId)> {
        self.tip.as_ref()?.own
    }

    /// The events with which everything is back; `None` where that cannot be told.
    pub(crate) fn wanted(&self) -> Option<Vec<EventId>> {
        let tip = self.tip.as_ref()?;
        tip.heads.as_ref()?;
        Some(tip.wanted().collect())
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(tip) = &self.tip else {
            return write!(
                f,
                "acknowledged writes are gone, and the file {LOSS_FILE} that tells which is damaged"
            );
        };
        write!(f, "acknowledged writes are gone: the database ends before commit {}", tip.commit)?;
        match &tip.own {
            Some((author, seq, id)) => {
                write!(f, ", with which event {id} was the last of {author}, number {seq}")
            }
            None => Ok(()),
        }
    }
}

/// The mark of an open store.
pub struct Mark {
    dir: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// None where it could not be made; then nothing is noticed, and nothing else is the worse.
    file: Option<File>,
    /// The number of the last change that is marked.
    sequence: u64,
    tip: Tip,
    loss: Option<Loss>,
    /// Whether it was noticed only now.
    is_new: bool,
}

impl Mark {
    /// Compares the mark of the store in `dir` with the number of the last change in its database.
    /// A loss is put down before anything can cover it up.
    pub fn open(dir: &Path, sequence: u64) -> Result<Self, StorageError> {
        let (marked, tip) = read(&dir.join(MARK_FILE)).unwrap_or_default();
        let mut loss = read_loss(dir)?;
        let is_new = marked > sequence && loss.is_none();
        if is_new {
            write_loss(dir, marked, &tip)?;
            loss = Some(Loss { tip: Some(tip.clone()) });
        }
        let file = open_file(&dir.join(MARK_FILE)).ok();
        let state = Mutex::new(State { file, sequence, tip, loss, is_new });
        Ok(Self { dir: dir.to_owned(), state })
    }

    /// Starts anew from what the database holds. All of that is on the disk: what was in its log
    /// has been moved to tables.
    pub fn start(&self, tip: Tip) {
        let mut state = self.lock();
        state.tip = tip;
        state.write();
    }

    /// What was lost and has not been dealt with.
    pub fn loss(&self) -> Option<Loss> {
        self.lock().loss.clone()
    }

    /// Whether the loss was noticed when this store was opened, and not before.
    pub fn is_loss_new(&self) -> bool {
        self.lock().is_new
    }

    /// Says that what was lost is back, or that somebody has dealt with it.
    pub fn settle(&self) -> Result<(), StorageError> {
        let mut state = self.lock();
        if state.loss.is_some() {
            let path = self.dir.join(LOSS_FILE);
            fs::remove_file(&path).map_err(StorageError::file(path))?;
            sync_directory(&self.dir)?;
            state.loss = None;
        }
        Ok(())
    }

    /// Takes note of a commit that is written, and perhaps not on the disk yet.
    pub fn advance(&self, tip: Tip) {
        self.lock().tip = tip;
    }

    /// Marks everything up to a change as being on the disk.
    pub fn raise(&self, sequence: u64) {
        let mut state = self.lock();
        if sequence > state.sequence {
            state.sequence = sequence;
            state.write();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&self) {
        // Whatever was acknowledged is on the disk: without a mark, a loss is only not noticed.
        if let Some(file) = &self.file {
            let _ = file.write_all_at(&encode(self.sequence, &self.tip), 0);
        }
    }
}

fn open_file(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() < SIZE as u64 {
        // Its room is taken once, so that marking never needs any.
        file.write_all_at(&[0; SIZE], 0)?;
        file.sync_all()?;
    }
    Ok(file)
}

/// What was acknowledged last by the store in `dir`, as far as its mark can be read.
pub fn marked_tip(dir: &Path) -> Option<Tip> {
    read(&dir.join(MARK_FILE)).map(|(_, tip)| tip)
}

/// The number of the last change that is marked in a store's directory.
pub fn marked(dir: &Path) -> Option<u64> {
    read(&dir.join(MARK_FILE)).map(|(sequence, _)| sequence)
}

fn read(path: &Path) -> Option<(u64, Tip)> {
    decode(&fs::read(path).ok()?)
}

/// What the store in `dir` has lost and has not been dealt with.
pub fn read_loss(dir: &Path) -> Result<Option<Loss>, StorageError> {
    let path = dir.join(LOSS_FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(Loss { tip: decode(&bytes).map(|(_, tip)| tip) })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::file(path)(error)),
    }
}

fn write_loss(dir: &Path, sequence: u64, tip: &Tip) -> Result<(), StorageError> {
    write_durably(dir, LOSS_FILE, &encode(sequence, tip))
}

/// Writes a small file, which is on the disk then.
pub fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let path = dir.join(name);
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(StorageError::file(&path))?;
    sync_directory(dir)
}

/// Waits until what a directory lists is on the disk.
pub fn sync_directory(dir: &Path) -> Result<(), StorageError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StorageError::file(dir))
}

fn encode(sequence: u64, tip: &Tip) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SIZE);
    bytes.extend(MAGIC);
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(tip.commit.to_be_bytes());
    let (author, seq, id) = tip.own.unwrap_or((AuthorKey([0; 32]), Seq(0), EventId([0; 32])));
    bytes.extend(author.0);
    bytes.extend(seq.0.to_be_bytes());
    bytes.extend(id.0);
    let heads = tip.heads.as_deref();
    bytes.push(heads.map_or(TOO_MANY, |heads| u8::try_from(heads.len()).unwrap_or(TOO_MANY)));
    heads.into_iter().flatten().for_each(|head| bytes.extend(head.0));
    bytes.resize(SIZE - SUM, 0);
    let sum = BlockId::of(Codec::Raw, &bytes).digest;
    bytes.extend(sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<(u64, Tip)> {
    let (content, sum) = bytes.first_chunk::<SIZE>()?.split_last_chunk::<SUM>()?;
    if BlockId::of(Codec::Raw, content).digest != *sum {
        return None;
    }
    let mut rest = content.strip_prefix(MAGIC)?;
    let sequence = number(&mut rest)?;
    let commit = number(&mut rest)?;
    let author = AuthorKey(take(&mut rest)?);
    let seq = Seq(number(&mut rest)?);
    let id = EventId(take(&mut rest)?);
    let [count] = take(&mut rest)?;
    let heads = match count {
        TOO_MANY => None,
        count => Some((0..count).map(|_| take(&mut rest).map(EventId)).collect::<Option<_>>()?),
    };
    Some((sequence, Tip { commit, own: (seq.0 > 0).then_some((author, seq, id)), heads }))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(heads: usize) -> Tip {
        let own = Some((AuthorKey([1; 32]), Seq(7), EventId([2; 32])));
        Tip { commit: 9, own, heads: (heads <= MAX_HEADS).then(|| vec![EventId([3; 32]); heads]) }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        for tip in [Tip::default(), tip(0), tip(1), tip(MAX_HEADS), tip(MAX_HEADS + 1)] {
            let bytes = encode(77, &tip);
            assert_eq!((bytes.len(), decode(&bytes)), (SIZE, Some((77, tip))));
            for place in 0..SIZE {
                let mut torn = bytes.clone();
                torn[place] ^= 1;
                assert_eq!((decode(&torn), decode(&bytes[..place])), (None, None));
            }
        }
    }

    #[test]
    fn a_loss_is_kept_until_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let open = |sequence| {
            let mark = Mark::open(dir.path(), sequence).unwrap();
            mark.start(tip(1));
            mark
        };
        let mark = open(5);
        mark.advance(tip(1));
        mark.raise(10);
        mark.raise(8);
        assert!(open(10).loss().is_none() && open(11).loss().is_none());
        let loss = open(9).loss().unwrap();
        assert_eq!((loss.commit(), loss.own()), (Some(9), tip(1).own));
        assert_eq!(loss.wanted().unwrap(), [EventId([3; 32]), EventId([2; 32])]);
        // Later writes do not cover it up, nor does another loss.
        open(9).raise(100);
        assert_eq!(open(100).loss(), Some(loss));
        open(50).settle().unwrap();
        assert!(open(50).loss().is_none());
    }

    #[test]
    fn a_mark_that_cannot_be_read_is_none_and_a_loss_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let open = |sequence| {
            let mark = Mark::open(dir.path(), sequence).unwrap();
            mark.start(tip(1));
            mark
        };
        open(100);
        for bytes in [&b""[..], b"short", &[7; SIZE], &[7; 2 * SIZE]] {
            fs::write(dir.path().join(MARK_FILE), bytes).unwrap();
            assert!(open(5).loss().is_none());
            assert_eq!(read(&dir.path().join(MARK_FILE)).unwrap().0, 5);
        }
        fs::write(dir.path().join(LOSS_FILE), b"torn").unwrap();
        let loss = open(5).loss().unwrap();
        assert_eq!((loss.commit(), loss.wanted()), (None, None));
    }
}
