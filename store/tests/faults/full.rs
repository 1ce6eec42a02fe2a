//! A disk that fills up, and has room again: nothing that was acknowledged is lost, and writing
//! goes on. With the watermark it stops before the disk does, and needs no opening again.
//!
//! `QUIPU_FULL_DISKS` says how often. It needs the right to mount.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use quipu_store::{Committed, Ledger, NewLedger, Options, StorageError, WriteError};

use crate::child::{Mount, may_mount, run};
use crate::files::{self, Random};
use crate::promised::{Promised, assert_sound};

const FULL_DISKS: u64 = 5;
/// How long one disk may take.
const PATIENCE: Duration = Duration::from_secs(120);
const SIZE: u64 = 96 << 20;
/// More than merging tables takes up meanwhile.
const KEPT: u64 = 48 << 20;

fn write(ledger: &Ledger, random: &mut Random) -> Result<Committed, WriteError> {
    let bytes: Vec<u8> = (0..20_000).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    let mut transaction = ledger.transaction();
    transaction.put("key", &bytes)?.inc("count", 1)?;
    transaction.commit()
}

#[test]
fn a_full_disk_loses_nothing_and_has_room_again() {
    if !may_mount() {
        files::skipped("a full disk", "a file system cannot be mounted here");
        return;
    }
    let mut random = Random::new();
    let dir = files::scratch();
    let size = format!("size={SIZE}");
    assert!(run("mount", &["-t", "tmpfs", "-o", &size, "none", dir.path().to_str().unwrap()]));
    let _mount = Mount(dir.path().to_owned());
    let count = files::number("QUIPU_FULL_DISKS").unwrap_or(FULL_DISKS);
    let mut stopped = 0;
    for round in 0..count {
        let (disk, store) = (dir.path().to_owned(), dir.path().join("store"));
        let _ = fs::remove_dir_all(&store);
        // RocksDB may wait for room after a background failure: that would be a fault.
        let (done, ended) = mpsc::channel();
        let mut own = random.fork();
        let filling = std::thread::spawn(move || {
            let events = fill(&disk, &store, round % 2 == 0, &mut own);
            let _ = done.send(());
            events
        });
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            panic!("round {round}: a store stands still on a full disk");
        }
        stopped += filling.join().unwrap();
    }
    println!("{count} times full, {stopped} events acknowledged before");
}

/// Writes until nothing more can be written, makes room, and writes on.
fn fill(disk: &Path, store: &Path, watermark: bool, random: &mut Random) -> usize {
    let kept = if watermark { KEPT } else { 0 };
    let options = Options::new().cache(1 << 20).write_buffer(512 << 10).min_free(kept);
    let mut ledger = options.create(store, &NewLedger::default()).unwrap();
    let mut promised = Promised::default();
    let ballast = disk.join("ballast");
    let room = (10 << 20) + random.below(6 << 20);
    fs::write(&ballast, vec![1; usize::try_from(SIZE - kept - room).unwrap()]).unwrap();
    let error = loop {
        match write(&ledger, random) {
            Ok(committed) => promised.add_committed(&committed),
            Err(error) => break error,
        }
    };
    if watermark {
        let WriteError::Storage(StorageError::NoRoom { free, min_free, .. }) = &error else {
            panic!("{error}")
        };
        assert!(free < min_free && *min_free == KEPT, "{free}");
        // Reading goes on, and so does opening.
        assert!(promised.missing(&ledger).is_empty());
        assert_sound(&ledger);
        drop(ledger);
        let more = disk.join("more");
        fs::write(&more, vec![1; usize::try_from(room).unwrap()]).unwrap();
        ledger = options.open(store).unwrap();
        assert!(promised.missing(&ledger).is_empty());
        let again = write(&ledger, random).map(drop);
        assert!(matches!(again, Err(WriteError::Storage(StorageError::NoRoom { .. }))));
        fs::remove_file(more).unwrap();
    } else {
        let told = matches!(
            error,
            WriteError::Storage(StorageError::Database(_) | StorageError::Poisoned(_))
        );
        assert!(told, "{error}");
        let again = write(&ledger, random).map(drop);
        assert!(matches!(again, Err(WriteError::Storage(StorageError::Poisoned(_)))), "{again:?}");
        drop(ledger);
        fs::remove_file(&ballast).unwrap();
        ledger = options.open(store).unwrap();
    }
    let _ = fs::remove_file(&ballast);
    promised.check_open(&ledger);
    promised.len()
}

/// A small file system is not refused for being small.
#[test]
fn what_is_kept_free_follows_the_size_of_the_disk() {
    if !may_mount() {
        files::skipped("a small disk", "a file system cannot be mounted here");
        return;
    }
    let dir = files::scratch();
    let size = format!("size={SIZE}");
    assert!(run("mount", &["-t", "tmpfs", "-o", &size, "none", dir.path().to_str().unwrap()]));
    let _mount = Mount(dir.path().to_owned());
    let store = dir.path().join("store");
    let ledger =
        Options::new().write_buffer(1 << 20).create(&store, &NewLedger::default()).unwrap();
    write(&ledger, &mut Random::new()).unwrap();
    drop(ledger);
    let greedy = Options::new().min_free(SIZE * 2).open(&store).unwrap();
    assert_sound(&greedy);
    let error = write(&greedy, &mut Random::new()).map(drop).unwrap_err().to_string();
    assert!(error.contains(&format!("and {} are kept", SIZE * 2)), "{error}");
}
