//! The database's log cut off at every offset: what was acknowledged and is gone is reported, and
//! nothing takes its place.

use std::fs;
use std::path::{Path, PathBuf};

use quipu_store::{Committed, Ledger, NewLedger, OpenError, Options, StorageError, WriteError};

use crate::files;
use crate::promised::{Promised, assert_sound, write_on};

const EVENTS: u32 = 4;
const WORKERS: u64 = 2;

fn options() -> Options {
    Options::new().cache(1 << 20).write_buffer(1 << 20)
}

/// A store whose last events are in the log alone, with the length that the log had after each.
struct Small {
    dir: tempfile::TempDir,
    promised: Promised,
    lengths: Vec<u64>,
}

impl Small {
    fn new() -> Self {
        let dir = files::scratch();
        let store = dir.path().join("store");
        drop(options().create(&store, &NewLedger::default()).unwrap());
        // What was in the log of the last time is moved to tables.
        let ledger = options().open(&store).unwrap();
        let log = log_of(&store);
        let mut promised = Promised::default();
        let mut lengths = vec![fs::metadata(&log).unwrap().len()];
        for number in 0..EVENTS {
            promised.add_committed(&write(&ledger, number));
            lengths.push(fs::metadata(&log).unwrap().len());
        }
        drop(ledger);
        Self { dir, promised, lengths }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A copy of the store whose log ends at an offset, in the place of the last copy.
    fn cut_at(&self, offset: u64) -> PathBuf {
        self.cut_to("copy", offset)
    }

    fn cut_to(&self, name: &str, offset: u64) -> PathBuf {
        let copy = self.dir.path().join(name);
        let _ = fs::remove_dir_all(&copy);
        files::copy(&self.store(), &copy);
        let log = fs::OpenOptions::new().write(true).open(log_of(&copy)).unwrap();
        log.set_len(offset).unwrap();
        copy
    }

    /// How many events a log of this length holds.
    fn whole(&self, offset: u64) -> usize {
        self.lengths.iter().filter(|length| **length <= offset).count().saturating_sub(1)
    }
}

fn log_of(store: &Path) -> PathBuf {
    files::of_kind(store, ".log").pop().unwrap()
}

fn write(ledger: &Ledger, number: u32) -> Committed {
    let mut transaction = ledger.transaction();
    transaction.put("key", &number.to_be_bytes()).unwrap().inc("count", 1).unwrap();
    transaction.commit().unwrap()
}

fn is_lost(result: Result<Committed, WriteError>) -> bool {
    matches!(result, Err(WriteError::Lost(_)))
}

#[test]
fn a_log_that_is_cut_off_anywhere_is_noticed() {
    let small = Small::new();
    let end = *small.lengths.last().unwrap();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let small = &small;
            scope.spawn(move || {
                let offsets = (worker..=end).step_by(usize::try_from(WORKERS).unwrap());
                let copy = format!("copy-{worker}");
                offsets
                    .for_each(|offset| assert_noticed(small, &small.cut_to(&copy, offset), offset));
            });
        }
    });
    println!("cut at each of {end} bytes");
}

fn assert_noticed(small: &Small, store: &Path, offset: u64) {
    let ledger = options().open(store).unwrap();
    let missing = small.promised.missing(&ledger).len();
    assert_eq!(missing, small.promised.len() - small.whole(offset), "at {offset}");
    let loss = ledger.loss();
    assert_eq!(loss.is_some(), missing > 0, "at {offset}");
    let report = ledger.verify(&mut |_, _| {}).unwrap();
    let Some(loss) = loss else {
        assert!(report.is_sound());
        return;
    };
    let (last, event) = small.promised.last().unwrap();
    assert_eq!(loss.own(), Some((ledger.author(), quipu_merge::Seq(last), event)));
    assert!(loss.to_string().contains(&event.to_string()));
    // It is all that is wrong.
    assert_eq!(report.findings.len(), 1, "at {offset}: {:?}", report.findings);
    assert_eq!(report.findings[0].what, loss.to_string());
    let mut transaction = ledger.transaction();
    transaction.put("key", b"in the place of another").unwrap();
    assert!(is_lost(transaction.commit()), "at {offset}");
}

/// The loss stays known, whatever else is written, until the events are back or the key is another.
#[test]
fn a_loss_is_over_once_the_events_are_back_or_the_key_is_new() {
    let small = Small::new();
    let replica = small.dir.path().join("replica");
    let store = options().open(small.cut_at(*small.lengths.last().unwrap())).unwrap();
    let cloned =
        options().clone_ledger(&replica, &store, &quipu_merge::Cut::Everything, &mut |_, _| {});
    let replica = cloned.unwrap().0;
    drop(store);
    for back in [true, false] {
        let copy = small.cut_at(small.lengths[2]);
        for _ in 0..2 {
            let ledger = options().open(&copy).unwrap();
            assert!(ledger.loss().is_some());
            ledger.set_name(ledger.author(), Some(&"x".repeat(3_000))).unwrap();
            let granted = ledger.grant(quipu_merge::AuthorKey([9; 32]), quipu_merge::Role::Writer);
            assert!(is_lost(granted));
        }
        let ledger = options().open(&copy).unwrap();
        // It is a copy; here that is not the point.
        let mut promised = small.promised.clone();
        if back {
            ledger.merge(&replica, &mut |_, _| {}).unwrap();
            promised.add_committed(&write_on(&ledger));
            assert!(promised.missing(&ledger).is_empty());
        } else {
            let rotation = ledger.rotate_identity(None).unwrap();
            assert!(rotation.event.is_none() && rotation.granted.is_empty());
        }
        drop(ledger);
        let ledger = options().open(&copy).unwrap();
        assert_eq!(ledger.loss(), None);
        assert_sound(&ledger);
        let report = ledger.merge(&replica, &mut |_, _| {}).unwrap();
        assert_eq!(report.new_events == 0, back);
        assert!(ledger.snapshot().unwrap().forks().unwrap().is_empty());
    }
}

#[test]
fn somebody_may_say_that_nobody_else_has_what_is_lost() {
    let small = Small::new();
    let ledger = options().open(small.cut_at(small.lengths[2])).unwrap();
    assert!(ledger.loss().is_some());
    ledger.keep_place().unwrap();
    assert_eq!((ledger.loss(), write_on(&ledger).seq.0), (None, 4));
    assert_sound(&ledger);
}

/// Without the mark nothing is noticed, and nothing else is the worse for it.
#[test]
fn a_store_without_its_mark_opens() {
    let small = Small::new();
    for bytes in [None, Some(&b""[..]), Some(b"torn"), Some(&[7; 2_000])] {
        let copy = small.cut_at(*small.lengths.last().unwrap());
        let mark = copy.join("acknowledged");
        match bytes {
            None => fs::remove_file(&mark).unwrap(),
            Some(bytes) => fs::write(&mark, bytes).unwrap(),
        }
        let ledger = options().open(&copy).unwrap();
        assert!(ledger.loss().is_none() && small.promised.missing(&ledger).is_empty());
        assert_sound(&ledger);
        drop(ledger);
        // There is a mark again.
        assert_eq!(
            fs::metadata(&mark).unwrap().len().max(1_024),
            fs::metadata(&mark).unwrap().len()
        );
        let log = log_of(&copy);
        assert_eq!(fs::metadata(log).unwrap().len(), 0);
    }
}

/// A store that cannot be opened for what it has lost says so.
#[test]
fn a_loss_of_everything_says_so() {
    let dir = files::scratch();
    let store = dir.path().join("store");
    drop(options().create(&store, &NewLedger::default()).unwrap());
    let log = fs::OpenOptions::new().write(true).open(log_of(&store)).unwrap();
    log.set_len(0).unwrap();
    let opened = options().open(&store).map(drop);
    let Err(OpenError::Storage(StorageError::Damaged { what })) = opened else {
        panic!("{opened:?}")
    };
    assert!(what.contains("acknowledged writes are gone"), "{what}");
}

/// After a power failure the log may end in parts of what was being written.
#[test]
fn damage_after_what_was_acknowledged_takes_nothing_away() {
    let dir = files::scratch();
    let (store, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let ledger = options().create(&store, &NewLedger::default()).unwrap();
    let mut promised = Promised::default();
    promised.add_committed(&write(&ledger, 1));
    let mark = fs::read(store.join("acknowledged")).unwrap();
    let end = fs::metadata(log_of(&store)).unwrap().len();
    for number in 2..6 {
        write(&ledger, number);
    }
    drop(ledger);
    let opened_with_damage_at = |offset: u64, mark: Option<&[u8]>| {
        let _ = fs::remove_dir_all(&copy);
        files::copy(&store, &copy);
        let log = log_of(&copy);
        let mut bytes = fs::read(&log).unwrap();
        bytes[usize::try_from(offset).unwrap()] ^= 1;
        fs::write(log, bytes).unwrap();
        mark.inspect(|mark| fs::write(copy.join("acknowledged"), mark).unwrap());
        options().open(&copy)
    };
    for offset in [end + 7, end + 50, end + 500] {
        let ledger = opened_with_damage_at(offset, Some(&mark)).unwrap();
        assert_eq!((ledger.loss(), promised.missing(&ledger).len()), (None, 0));
        assert_sound(&ledger);
    }
    // Whatever has been acknowledged is not given up in silence.
    for (offset, mark) in [(end - 1, Some(&*mark)), (end + 50, None), (end + 50, Some(b"torn"))] {
        let refused = opened_with_damage_at(offset, mark).map(drop);
        let damaged = matches!(refused, Err(OpenError::Storage(StorageError::Corrupt { .. })));
        assert!(damaged, "{refused:?}");
    }
}
