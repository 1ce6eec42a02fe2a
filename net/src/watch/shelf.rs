//! Lists of branches that are too long for a cursor, kept in files.
//!
//! Whoever follows many authors puts a list here every few events, so there is a bound for each stream
//! and, beyond that, one for all of them, for which the stream that takes up most gives way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use quipu_merge::EventId;
use quipu_store::Ledger;
use tempfile::NamedTempFile;

use super::WatchError;

/// The directory in the store's directory.
const DIR: &str = "cursors";
/// So much is kept of each stream: its lists that were used last, and the last one whatever its length.
const OF_STREAM: Amount = Amount { lists: 64, bytes: 64 << 20 };
/// So much is kept in all.
const IN_ALL: Amount = Amount { lists: 256, bytes: 256 << 20 };
/// How much of an id names the stream; the rest is from the hash of the list.
const STREAM_LEN: usize = 8;

/// Names a list by the stream that it is of, and its content.
pub type ShelfId = [u8; 16];

/// A stream of events, across connections: what goes on from a cursor is the same stream.
type Stream = [u8; STREAM_LEN];

/// Lists of branches in a directory, to which those of a stream are added.
pub struct Shelf {
    dir: PathBuf,
    stream: Stream,
}

impl Shelf {
    /// Those of a ledger, for a new stream.
    pub fn of(ledger: &Ledger) -> Self {
        Self::new(ledger.dir().join(DIR))
    }

    fn new(dir: PathBuf) -> Self {
        // Each has keys of its own, so that no two streams are taken for one.
        Self { dir, stream: RandomState::new().hash_one(()).to_le_bytes() }
    }

    /// Adds to those of the stream from which a list is, from now on.
    pub fn go_on(&mut self, from: ShelfId) {
        self.stream = from.first_chunk().copied().unwrap_or_default();
    }

    /// Puts a list there. It is on the disk when this returns.
    pub fn save(&self, events: &BTreeSet<EventId>) -> Result<ShelfId, WatchError> {
        let bytes: Vec<u8> = events.iter().flat_map(|event| event.0).collect();
        let id = id_of(self.stream, &bytes);
        let path = self.path(id);
        if touch(&path).is_err() {
            self.write(&path, &bytes).map_err(|error| WatchError::File(path, error))?;
        }
        Ok(id)
    }

    /// Reads a list. It counts as used.
    pub fn load(&self, id: ShelfId) -> Result<BTreeSet<EventId>, WatchError> {
        let path = self.path(id);
        let stream = id.first_chunk().copied().unwrap_or_default();
        let bytes = match fs::read(&path) {
            Ok(bytes) if id_of(stream, &bytes) == id => bytes,
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(WatchError::File(path, error));
            }
            _ => return Err(WatchError::Expired),
        };
        // It is kept for longer where that can be noted.
        let _ = touch(&path);
        let (events, _) = bytes.as_chunks::<32>();
        Ok(events.iter().copied().map(EventId).collect())
    }

    fn path(&self, id: ShelfId) -> PathBuf {
        self.dir.join(HEXLOWER.encode(&id))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut file = NamedTempFile::new_in(&self.dir)?;
        file.write_all(bytes)?;
        // The system's own stamps may be the same for several.
        file.as_file().set_modified(SystemTime::now())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(&self.dir)?.sync_all()?;
        self.clear_up(path)
    }

    /// Removes what is too much. The list that was just written stays.
    fn clear_up(&self, written: &Path) -> io::Result<()> {
        let mut lists = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // One that has gone meanwhile takes up no room.
            let Ok(data) = entry.metadata() else { continue };
            let path = entry.path();
            // What is no list is what a crash has left of one.
            let name = entry.file_name().into_encoded_bytes();
            let stream = name.get(..2 * STREAM_LEN).unwrap_or(&name).to_vec();
            let (used, kept) = (data.modified()?, path == written);
            lists.push(List { stream, used, len: data.len(), kept, path });
        }
        // Another watch may have removed it.
        surplus(lists, OF_STREAM, IN_ALL)
            .into_iter()
            .try_for_each(|path| fs::remove_file(path).or_else(unless_missing))
    }
}

/// So many lists, with so many bytes together.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    lists: usize,
    bytes: u64,
}

impl Amount {
    const fn exceeds(self, limit: Self) -> bool {
        self.lists > limit.lists || self.bytes > limit.bytes
    }

    /// As a share of a limit, of whatever is nearer to it.
    const fn share(self, limit: Self) -> u64 {
        let (lists, bytes) = (self.lists as u64 * limit.bytes, self.bytes * limit.lists as u64);
        if lists > bytes { lists } else { bytes }
    }

    const fn with(self, len: u64) -> Self {
        Self { lists: self.lists + 1, bytes: self.bytes + len }
    }

    const fn without(self, len: u64) -> Self {
        Self { lists: self.lists - 1, bytes: self.bytes - len }
    }
}

struct List {
    stream: Vec<u8>,
    used: SystemTime,
    len: u64,
    /// It stays.
    kept: bool,
    path: PathBuf,
}

/// The lists that are too much: of a stream those that were used longest ago, and then, of the streams
/// that take up most, the same again.
fn surplus(mut lists: Vec<List>, of_stream: Amount, in_all: Amount) -> Vec<PathBuf> {
    lists.sort_unstable_by_key(|list| (!list.kept, Reverse(list.used)));
    let (mut gone, mut total) = (Vec::new(), Amount::default());
    let mut streams: BTreeMap<Vec<u8>, (Amount, Vec<List>)> = BTreeMap::new();
    for list in lists {
        let (amount, of_it) = streams.entry(list.stream.clone()).or_default();
        let with_it = amount.with(list.len);
        if of_it.is_empty() || !with_it.exceeds(of_stream) {
            *amount = with_it;
            total = total.with(list.len);
            of_it.push(list);
        } else {
            gone.push(list.path);
        }
    }
    while total.exceeds(in_all) {
        let last = |(_, of_it): &(Amount, Vec<List>)| {
            of_it.last().filter(|list| !list.kept).map(|list| Reverse(list.used))
        };
        let most = streams
            .values_mut()
            .filter_map(|stream| Some(((stream.0.share(in_all), last(stream)?), stream)))
            .max_by_key(|(rank, _)| *rank);
        let Some((_, (amount, of_it))) = most else { break };
        let Some(list) = of_it.pop() else { break };
        *amount = amount.without(list.len);
        total = total.without(list.len);
        gone.push(list.path);
    }
    gone
}

fn id_of(stream: Stream, bytes: &[u8]) -> ShelfId {
    let hash = blake3::hash(bytes);
    let mut id: ShelfId = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    id.iter_mut().zip(stream).for_each(|(byte, named)| *byte = named);
    id
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn touch(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(number: u16) -> BTreeSet<EventId> {
        let [a, b] = number.to_be_bytes();
        let mut id = [0; 32];
        (id[0], id[1]) = (a, b);
        BTreeSet::from([EventId(id)])
    }

    /// Lists of streams, each used later than the one before.
    fn lists(those: &[(u8, u64)]) -> Vec<List> {
        let second = std::time::Duration::from_secs(1);
        let list = |(place, (stream, len)): (usize, &(u8, u64))| List {
            stream: vec![*stream],
            used: SystemTime::UNIX_EPOCH + second * u32::try_from(place).unwrap(),
            len: *len,
            kept: place + 1 == those.len(),
            path: place.to_string().into(),
        };
        those.iter().enumerate().map(list).collect()
    }

    fn gone(those: &[(u8, u64)]) -> Vec<usize> {
        let of_stream = Amount { lists: 4, bytes: 40 };
        let gone = surplus(lists(those), of_stream, Amount { lists: 6, bytes: 60 });
        let mut gone: Vec<usize> =
            gone.iter().map(|path| path.to_str().unwrap().parse().unwrap()).collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn a_stream_gives_way_to_nobody_who_has_more() {
        // Of one stream, what was used longest ago goes, by number and by length.
        assert_eq!(gone(&[(1, 1); 6]), [0, 1]);
        assert_eq!(gone(&[(1, 15), (1, 15), (1, 15)]), [0]);
        // One that puts down list after list takes none from others that came long before.
        assert_eq!(gone(&[(1, 1), (2, 1), (1, 1), (3, 1), (3, 1), (3, 1), (3, 1)]), [3]);
        assert_eq!(gone(&[(1, 1), (2, 10), (3, 20), (3, 20), (3, 20)]), [2]);
        // What was just written stays, even where it is more than there is room for.
        assert_eq!(gone(&[(1, 1), (1, 1), (2, 500)]), [0, 1]);
        // Where all have the same, what was used longest ago goes.
        assert_eq!(gone(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1)]), [0]);
    }

    #[test]
    fn a_stream_keeps_so_many_lists_and_takes_none_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut busy = Shelf::new(dir.path().join(DIR));
        let quiet = Shelf::new(dir.path().join(DIR));
        let of_quiet = quiet.save(&list(0)).unwrap();
        let first = busy.save(&list(0)).unwrap();
        let second = busy.save(&list(1)).unwrap();
        for number in 2..=u16::try_from(OF_STREAM.lists).unwrap() {
            busy.load(first).unwrap();
            busy.save(&list(number)).unwrap();
        }
        assert_eq!(busy.load(first).unwrap(), list(0));
        assert!(matches!(busy.load(second), Err(WatchError::Expired)));
        assert_eq!(busy.load(of_quiet).unwrap(), list(0));
        // Whoever goes on from a list is of the stream that put it there.
        let mut again = Shelf::new(dir.path().join(DIR));
        again.go_on(first);
        assert_eq!(again.save(&list(0)).unwrap(), first);
        busy.go_on(of_quiet);
        assert_eq!(busy.save(&list(0)).unwrap(), of_quiet);
    }

    #[test]
    fn a_damaged_list_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path().join(DIR));
        let id = shelf.save(&list(7)).unwrap();
        fs::write(shelf.path(id), [1; 32]).unwrap();
        assert!(matches!(shelf.load(id), Err(WatchError::Expired)));
    }
}
