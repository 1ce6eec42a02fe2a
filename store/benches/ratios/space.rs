//! Room on the disk, and opening.

use std::path::Path;

use quipu_merge::Cut;
use quipu_store::Ledger;

use crate::reading::fill;
use crate::{Figure, best, micros, timed};

pub fn disk() -> Vec<Figure> {
    const EVENTS: usize = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let ledger = fill(&path, EVENTS);
    ledger.compact().unwrap();
    let mut blocks = Count(0);
    let report = ledger.export(&mut blocks, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    // A CAR adds to each block its length and its id: two bytes or so, and 36.
    let bytes = blocks.0 - report.blocks * 38;
    drop(ledger);
    let held = tables(&path);
    let detail = format!(
        "{:.0} bytes on disk an event; {:.0} bytes of blocks",
        held as f64 / EVENTS as f64,
        bytes as f64 / EVENTS as f64
    );
    vec![Figure::at_most(
        "disk per event, 16-byte values, compacted",
        1.15,
        held as f64 / bytes as f64,
        detail,
    )]
}

pub fn open() -> Vec<Figure> {
    let measure = |events: usize| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        drop(fill(&path, events));
        drop(Ledger::open(&path).unwrap());
        best(5, || timed(|| drop(Ledger::open(&path).unwrap())))
    };
    let (small, large) = (measure(1_000), measure(1_000_000));
    let detail = format!(
        "{:.1} ms with 1 M events, {:.1} ms with 1 k",
        micros(large, 1) / 1e3,
        micros(small, 1) / 1e3
    );
    vec![Figure::at_most(
        "opening, 1 M events against 1 k",
        2.0,
        large.as_secs_f64() / small.as_secs_f64(),
        detail,
    )]
}

/// The bytes of the table files: what is left after everything else has been taken over.
fn tables(store: &Path) -> u64 {
    let files = std::fs::read_dir(store.join("db")).unwrap().map(Result::unwrap);
    files
        .filter(|file| file.path().extension().is_some_and(|e| e == "sst"))
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

struct Count(u64);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
