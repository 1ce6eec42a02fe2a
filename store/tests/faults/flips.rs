//! One flipped bit in any file of a store: no answer changes and no event is lost without an error,
//! a finding, or a loss that is reported.
//!
//! `QUIPU_FLIPS` says how many bits to flip, and `QUIPU_REPAIRS` how many of the stores that are
//! damaged by that are then repaired, with a file that has all of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_merge::{AuthorKey, Cut, Policy};
use quipu_store::{Ledger, NewLedger, Options, RepairOptions};

use crate::answers;
use crate::files::{self, Random};

const FLIPS: u64 = 500;
const WORKERS: u64 = 2;
const REPAIRS: u64 = 40;

fn options() -> Options {
    Options::new().cache(1 << 20).write_buffer(1 << 20)
}

/// What a damaged store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It answers as before, and is sound: nobody reads that bit.
    Harmless,
    /// It does not open, and says why.
    Refused,
    /// It answers with an error.
    Failed,
    /// It says that something was lost.
    Lost,
    /// It answers as before, and `verify` finds something.
    Found,
    /// It answers, and cannot be written to: the key is another.
    Locked,
}

/// The kinds of files, and how many of a hundred flips go there.
const KINDS: [(&str, u64); 5] =
    [(".log", 30), (".sst", 40), ("MANIFEST", 15), ("CURRENT", 5), ("identity.pem", 10)];

fn kind_of(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    let kind = |(kind, _): &(&'static str, u64)| name.contains(kind).then_some(*kind);
    KINDS.iter().find_map(kind)
}

/// A store with events in tables and in the log, of two authors, with something of every kind.
fn prepare(dir: &Path) -> PathBuf {
    let (first, second) = (dir.join("first"), dir.join("second"));
    let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    let ledger = options().create(&first, &new).unwrap();
    write(&ledger, 1);
    let cloned = options().clone_ledger(&second, &ledger, &Cut::Everything, &mut |_, _| {});
    let other = cloned.unwrap().0;
    write(&other, 2);
    write(&ledger, 3);
    ledger.merge(&other, &mut |_, _| {}).unwrap();
    ledger.compact().unwrap();
    write(&ledger, 4);
    drop(ledger);
    let ledger = options().open(&first).unwrap();
    ledger.set_name(AuthorKey([9; 32]), Some("somebody")).unwrap();
    write(&ledger, 5);
    first
}

fn write(ledger: &Ledger, salt: u8) {
    for round in 0..4 {
        let mut transaction = ledger.transaction();
        transaction.put("shared", &[salt, round]).unwrap().inc("count", 3).unwrap();
        transaction.put(&format!("own/{salt}"), &[round; 300]).unwrap();
        transaction.append("list", &[salt; 20]).unwrap().add("set", &[salt, round % 2]).unwrap();
        transaction.commit().unwrap();
    }
    let mut transaction = ledger.transaction();
    let long: Vec<u8> = (0..9_000_u32).flat_map(|n| (n * u32::from(salt)).to_be_bytes()).collect();
    transaction.put("long", &long).unwrap().rem("set", &[salt, 0]).unwrap();
    let erased = transaction.commit().unwrap();
    if salt == 3 {
        ledger.redact(erased.event).unwrap();
    }
}

/// Asks a store everything. Errors must say more than that there is one.
fn judge(store: &Path, expected: &str, author: AuthorKey) -> Outcome {
    let ledger = match options().open(store) {
        Ok(ledger) => ledger,
        Err(error) => {
            assert_helps(&error);
            return Outcome::Refused;
        }
    };
    let lost = ledger.loss().is_some();
    let answers = answers::of(&ledger);
    let report = ledger.verify(&mut |_, _| {}).map(|report| report.is_sound());
    match (&answers, &report) {
        (Err(error), _) => assert_helps(error.as_ref()),
        (_, Err(error)) => assert_helps(error),
        _ => {}
    }
    if lost {
        return Outcome::Lost;
    }
    match (answers, report) {
        (Err(_), Ok(true)) => panic!("an error, and verify finds nothing"),
        (Err(_), _) | (Ok(_), Err(_)) => Outcome::Failed,
        (Ok(answers), Ok(_)) if answers != expected => panic!("other answers, and no error"),
        (Ok(_), Ok(false)) => Outcome::Found,
        (Ok(_), Ok(true)) => match ledger.unlock(None) {
            Ok(()) => {
                assert_eq!(ledger.author(), author);
                Outcome::Harmless
            }
            Err(error) => {
                assert!(error.to_string().contains("key"), "{error}");
                Outcome::Locked
            }
        },
    }
}

/// An error names the file, or what in the store it is about.
fn assert_helps(error: &dyn Error) {
    let text = error.to_string();
    let names = ["/db/", "/db is damaged: ", "the store is damaged: ", "identity.pem"];
    assert!(names.iter().any(|name| text.contains(name)), "{text}");
}

#[test]
fn a_flipped_bit_changes_no_answer_unnoticed() {
    let mut random = Random::new();
    let dir = files::scratch();
    let store = prepare(dir.path());
    // Opening writes to the store: the answers come from a copy.
    let copy = dir.path().join("copy");
    files::copy(&store, &copy);
    let ledger = options().open(&copy).unwrap();
    let (expected, author) = (answers::of(&ledger).unwrap(), ledger.author());
    let twin = dir.path().join("twin.car");
    let file = fs::File::create(&twin).unwrap();
    ledger.export(file, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    drop(ledger);
    let repairs = AtomicU64::new(files::number("QUIPU_REPAIRS").unwrap_or(REPAIRS));
    let original = Original { store: &store, twin: &twin, expected: &expected, author };
    let flips = files::number("QUIPU_FLIPS").unwrap_or(FLIPS);
    let outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let mut random = random.fork();
                let (original, repairs) = (&original, &repairs);
                let count = flips / WORKERS + u64::from(worker < flips % WORKERS);
                let place = dir.path().join(format!("flipped-{worker}"));
                scope.spawn(move || flip_some(original, &place, count, repairs, &mut random))
            })
            .collect();
        let mut outcomes = BTreeMap::<_, u64>::new();
        for worker in workers {
            let found = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            found.into_iter().for_each(|(key, count)| *outcomes.entry(key).or_default() += count);
        }
        outcomes
    });
    for ((kind, outcome), count) in &outcomes {
        println!("{kind}: {count} {outcome:?}");
    }
    assert_eq!(outcomes.values().sum::<u64>(), flips);
}

/// What the flips are made in, and what it is compared with.
struct Original<'o> {
    store: &'o Path,
    /// An export of all of it.
    twin: &'o Path,
    expected: &'o str,
    author: AuthorKey,
}

fn flip_some(
    original: &Original<'_>,
    place: &Path,
    count: u64,
    repairs: &AtomicU64,
    random: &mut Random,
) -> BTreeMap<(&'static str, Outcome), u64> {
    let store = original.store;
    let all: Vec<_> = files::all(store).into_iter().filter(|path| size(path) > 0).collect();
    let mut outcomes = BTreeMap::new();
    for _ in 0..count {
        let mut share = random.below(KINDS.iter().map(|(_, share)| share).sum());
        let kind = KINDS.iter().find(|(_, part)| {
            let here = share < *part;
            share = share.saturating_sub(*part);
            here
        });
        let kind = kind.unwrap().0;
        let files: Vec<_> = all.iter().filter(|path| kind_of(path) == Some(kind)).collect();
        let file = *random.of(&files);
        let bit = random.below(size(file) * 8);
        let _ = fs::remove_dir_all(place);
        files::copy(store, place);
        let name = file.strip_prefix(store).unwrap();
        flip(&place.join(name), bit);
        let judged = std::panic::catch_unwind(|| {
            let outcome = judge(place, original.expected, original.author);
            let left = |left: u64| left.checked_sub(1);
            let damaged = !matches!(outcome, Outcome::Harmless | Outcome::Locked);
            if damaged && repairs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
                repair(place, original);
                // The same damage before anybody has opened the store.
                let _ = fs::remove_dir_all(place);
                files::copy(store, place);
                flip(&place.join(name), bit);
                repair(place, original);
            }
            outcome
        });
        let outcome = judged.unwrap_or_else(|panic| {
            println!("{} bit {bit}", name.display());
            std::panic::resume_unwind(panic)
        });
        *outcomes.entry((kind, outcome)).or_default() += 1;
    }
    outcomes
}

/// Repairs a store: what comes out is sound, and all that it was.
fn repair(store: &Path, original: &Original<'_>) {
    let what = RepairOptions { from: vec![original.twin.to_owned()], force: false };
    let report = options().repair(store, &what, &mut |_, _| {}).unwrap();
    assert!(report.is_whole(), "{report:#?}");
    let ledger = options().open(store).unwrap();
    let answers = answers::of(&ledger).unwrap();
    assert_eq!(answers.lines().count(), original.expected.lines().count());
    for (answer, expected) in answers.lines().zip(original.expected.lines()) {
        // Nobody else has the names: they may be what was lost.
        assert!(answer == expected || expected.contains("somebody"), "{answer}\n{expected}");
    }
    assert_eq!(ledger.author(), original.author);
    write(&ledger, 6);
    assert!(ledger.snapshot().unwrap().forks().unwrap().is_empty());
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

/// RocksDB reads for ever where the kind of a record becomes that of a log that is used again.
#[test]
fn no_kind_of_a_record_makes_opening_hang() {
    let dir = files::scratch();
    let store = prepare(dir.path());
    let copy = dir.path().join("copy");
    for name in ["MANIFEST", ".log"] {
        let path = file_of(&store, name);
        let bytes = fs::read(&path).unwrap();
        let places: Vec<_> = records(&bytes).collect();
        assert!(places.len() > 5, "{places:?}");
        for &place in &places {
            for kind in [5, 6, 7, 8, 11, 131] {
                let _ = fs::remove_dir_all(&copy);
                files::copy(&store, &copy);
                let mut flipped = bytes.clone();
                flipped[place + 6] = kind;
                fs::write(copy.join(path.strip_prefix(&store).unwrap()), flipped).unwrap();
                let error = options().open(&copy).map(drop).unwrap_err().to_string();
                assert!(error.contains(name), "{error}");
            }
        }
    }
}

/// RocksDB goes on without a record, and what follows it, where the file seems to end before it does.
#[test]
fn no_record_of_the_manifest_is_taken_for_one_that_is_cut_off() {
    let dir = files::scratch();
    let store = prepare(dir.path());
    let manifest = file_of(&store, "MANIFEST");
    let bytes = fs::read(&manifest).unwrap();
    for place in records(&bytes) {
        let length = u16::from_le_bytes([bytes[place + 4], bytes[place + 5]]);
        for bit in 0..16 {
            let mut flipped = bytes.clone();
            flipped[place + 4..place + 6].copy_from_slice(&(length ^ 1 << bit).to_le_bytes());
            fs::write(&manifest, &flipped).unwrap();
            let error = options().open(&store).map(drop).unwrap_err().to_string();
            assert!(error.contains("MANIFEST"), "{error}");
        }
    }
    // One that really is cut off has never been acknowledged.
    fs::write(&manifest, &bytes[..bytes.len() - 1]).unwrap();
    assert!(options().open(&store).is_ok());
}

fn file_of(store: &Path, kind: &str) -> PathBuf {
    let mut files = files::of_kind(store, "").into_iter();
    files.rfind(|path| kind_of(path) == Some(kind) && size(path) > 0).unwrap()
}

/// Where the records of a log begin. A header has the length of its record at 4 and its kind at 6.
fn records(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let next = |place: &usize| {
        place + 7 + usize::from(u16::from_le_bytes([bytes[place + 4], bytes[place + 5]]))
    };
    let is_one = |place: &usize| place + 7 <= bytes.len();
    std::iter::successors(Some(0), move |place| Some(next(place)).filter(is_one))
}
