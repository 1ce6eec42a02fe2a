//! Merging, against nothing but checking signatures on all cores.

use std::path::Path;
use std::process::Command;

use ed25519_dalek::{Signer, SigningKey};
use quipu_merge::Cut;
use quipu_store::{Durability, Ledger, Options};
use rayon::prelude::*;

use crate::baseline::noise;
use crate::memory::peak_memory;
use crate::reading::fill;
use crate::{Figure, best, micros, timed};

pub fn merge() -> Vec<Figure> {
    const EVENTS: usize = 100_000;
    let signing = SigningKey::from_bytes(&[7; 32]);
    let message = noise(1, 232);
    let signature = signing.sign(&message);
    let key = signing.verifying_key();
    let verify = best(3, || {
        timed(|| {
            (0..EVENTS).into_par_iter().for_each(|_| {
                key.verify_strict(&message, &signature).unwrap();
            })
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let source = fill(&dir.path().join("source"), EVENTS);
    // What is left to do of writing the source is not part of merging it.
    source.compact().unwrap();
    let mut number = 0;
    let ours = best(3, || {
        number += 1;
        let target = dir.path().join(format!("target-{number}"));
        let ledger = without_events(&target, &source);
        timed(|| {
            let report = ledger.merge(&source, &mut |_, _| {}).unwrap();
            assert_eq!(report.new_events, EVENTS as u64);
        })
    });
    let detail = format!(
        "{:.1} µs an event; verify_strict alone {:.1} µs, on all cores",
        micros(ours, EVENTS),
        micros(verify, EVENTS)
    );
    vec![Figure::at_least(
        "merging 100,000 foreign events",
        0.65,
        verify.as_secs_f64() / ours.as_secs_f64(),
        detail,
    )]
}

/// A replica that has only the first event of `source`.
fn without_events(dir: &Path, source: &Ledger) -> Ledger {
    let options = Options::new().durability(Durability::Immediate);
    let first = Cut::Heads(vec![source.id()]);
    options.clone_ledger(dir, source, &first, &mut |_, _| {}).unwrap().0
}

pub fn memory() -> Vec<Figure> {
    const EVENTS: usize = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    drop(without_events(&target, &fill(&source, EVENTS)));
    // A process of its own, so that nothing else counts.
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program).arg(MERGING).args([&source, &target]).output().unwrap();
    let peak: u64 = String::from_utf8(child.stdout).unwrap().trim().parse().unwrap();
    let detail = "one process, which has the source open with 8 MiB of cache".to_owned();
    vec![Figure::at_most("MB resident, merging 1 M events", 200.0, peak as f64, detail)]
}

/// Tells a process to merge one store into another and to print how much memory that took.
pub const MERGING: &str = "--merge-stores";

pub fn merge_stores(source: &str, target: &str) {
    // What is read once, in order, needs little memory: so does `quipu merge`.
    let source = Options::new().cache(8 << 20).write_buffer(1 << 20).open(source).unwrap();
    let target = Ledger::open(target).unwrap();
    target.merge(&source, &mut |_, _| {}).unwrap();
    println!("{}", peak_memory());
}
