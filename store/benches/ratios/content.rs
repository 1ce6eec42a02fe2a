//! Writing and reading long content, against the same bytes without a ledger.
//!
//! The content is a GiB that does not compress, or the first GiB of the file named by
//! `QUIPU_CONTENT`.

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quipu_store::{Durability, Ledger, Value};

use crate::memory::{peak_memory, resident_memory};
use crate::rounds::{column, median};
use crate::writing::ledger;
use crate::{Figure, timed};

const LEN: u64 = 1 << 30;
const ROUNDS: usize = 5;

pub fn content() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("content");
    let bytes = make(&file);
    let rounds = [(); ROUNDS].map(|()| {
        let store = dir.path().join("store");
        let written = ledger(&store, Durability::Immediate);
        let write = timed(|| put(&written, File::open(&file).unwrap()));
        drop(written);
        let opened = Ledger::open(&store).unwrap();
        // What a store writes is not in the system's cache; the file is.
        forget(&file);
        let cold = timed(|| assert_eq!(get(&opened), bytes.len() as u64));
        let through_cold = timed(|| hash_through_cat(&file));
        let warm = timed(|| assert_eq!(get(&opened), bytes.len() as u64));
        let through_warm = timed(|| hash_through_cat(&file));
        let read = timed(|| assert_eq!(read(&file), bytes.len()));
        let hash = timed(|| {
            black_box(blake3::Hasher::new().update_rayon(&bytes).finalize());
        });
        let copy = timed(|| copy_synced(&file, &dir.path().join("copy")));
        drop(opened);
        std::fs::remove_dir_all(&store).unwrap();
        [write, read, hash, copy, warm, through_warm, cold, through_cold]
            .map(|time| time.as_secs_f64())
    });
    let ratio = |round: &[f64; 8]| round[1].max(round[2]).max(round[3]) / round[0];
    let detail = format!(
        "put {:.2} s; reading {:.2}, BLAKE3 on all cores {:.2}, dd with fsync {:.2} s",
        column(&rounds, 0),
        column(&rounds, 1),
        column(&rounds, 2),
        column(&rounds, 3)
    );
    let back = |what, at: usize| {
        let (get, cat) = (column(&rounds, at), column(&rounds, at + 1));
        let detail = format!("get {get:.2} s; cat through BLAKE3 {cat:.2} s");
        let ratio = median(rounds.iter().map(|round| round[at + 1] / round[at]));
        Figure::at_least(what, 0.6, ratio, detail)
    };
    vec![
        Figure::at_least(
            "writing 1 GiB of content, durable",
            0.5,
            median(rounds.iter().map(ratio)),
            detail,
        ),
        back("reading 1 GiB of content back, from the system's cache", 4),
        back("reading 1 GiB of content back, from the disk", 6),
    ]
}

/// Makes the file with the content, which is in the system's cache then, as copies of it will be.
fn make(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    match std::env::var_os("QUIPU_CONTENT").map(PathBuf::from) {
        Some(path) => File::open(path).unwrap().take(LEN).read_to_end(&mut bytes).unwrap(),
        None => noise().take(LEN).read_to_end(&mut bytes).unwrap(),
    };
    std::fs::write(file, &bytes).unwrap();
    File::open(file).unwrap().sync_all().unwrap();
    bytes
}

/// Bytes that do not compress, without end.
fn noise() -> impl Read {
    blake3::Hasher::new().finalize_xof()
}

fn put(ledger: &Ledger, input: impl Read) {
    let mut transaction = ledger.transaction();
    transaction.put_from("content", input).unwrap();
    transaction.commit().unwrap();
}

/// Reads all of the content, each block of which is checked against its hash. Tells its length.
fn get(ledger: &Ledger) -> u64 {
    let snapshot = ledger.snapshot().unwrap();
    let Some(Value::Long(link)) = snapshot.get("content").unwrap() else { panic!("not long") };
    let mut len = 0;
    let write = |bytes: &[u8]| {
        len += black_box(bytes).len() as u64;
        Ok(())
    };
    snapshot.read_long(link, write).unwrap().unwrap();
    len
}

/// Takes a file out of the system's cache.
fn forget(file: &Path) {
    let file = File::open(file).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

fn hash_through_cat(file: &Path) {
    let mut cat = Command::new("cat").arg(file).stdout(Stdio::piped()).spawn().unwrap();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(cat.stdout.take().unwrap()).unwrap();
    black_box(hasher.finalize());
    assert!(cat.wait().unwrap().success());
}

fn read(file: &Path) -> usize {
    let (mut file, mut portion, mut len) = (File::open(file).unwrap(), vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut portion).unwrap() {
            0 => return len,
            read => len += read,
        }
    }
}

fn copy_synced(file: &Path, copy: &Path) {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", file.display())).arg(format!("of={}", copy.display()));
    let status = dd.args(["bs=1M", "conv=fsync", "status=none"]).status().unwrap();
    assert!(status.success());
    std::fs::remove_file(copy).unwrap();
}

const VALUE_LEN: u64 = 4 << 30;

pub fn memory() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    drop(ledger(&store, Durability::Immediate));
    // Processes of their own, so that nothing else counts.
    let measure = |flag: &str| {
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).arg(flag).arg(&store).output().unwrap();
        let text = String::from_utf8(child.stdout).unwrap();
        let (idle, peak) = text.trim().split_once(' ').unwrap();
        [idle, peak].map(|memory| memory.parse::<f64>().unwrap())
    };
    let figure = |what, [idle, peak]: [f64; 2]| {
        let detail = format!("{peak:.0} MB at most, {idle:.0} MB idle; one process, from a stream");
        Figure::at_most(what, 64.0, peak - idle, detail)
    };
    vec![
        figure("MB above an idle store, putting 4 GiB", measure(PUTTING)),
        figure("MB above an idle store, getting 4 GiB", measure(GETTING)),
    ]
}

/// Tells a process to put a long value into a store, or to get it, and to print how much memory it
/// takes when it has opened the store, and at most.
pub const PUTTING: &str = "--put-long";
pub const GETTING: &str = "--get-long";

pub fn put_long(store: &str) {
    measure_memory(store, |ledger| put(ledger, noise().take(VALUE_LEN)));
}

pub fn get_long(store: &str) {
    measure_memory(store, |ledger| assert_eq!(get(ledger), VALUE_LEN));
}

fn measure_memory(store: &str, work: impl FnOnce(&Ledger)) {
    let ledger = Ledger::open(store).unwrap();
    let idle = resident_memory();
    work(&ledger);
    println!("{idle} {}", peak_memory());
}
