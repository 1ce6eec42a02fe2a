//! Forged start files, on the toolchain of everybody: what the fuzz target `start` begins with, and some more.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has done its work"
)]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

#[path = "../../fuzz_targets/start/mod.rs"]
mod forged;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use forged::{World, judge, worlds};
use quipu_fuzz::Dice;

/// Files that are forged at random.
const FORGED: u64 = 300;
/// Among so many seeds are looked for.
const CANDIDATES: u64 = 3_000;
/// Seeds with the same outcome.
const ALIKE: usize = 3;
/// All that can come of a forged file.
const OUTCOMES: &str = "Certified Chain Contradiction Corrupt Event Honest Log NotInLog NotOne OtherLedger Same \
                        State TooMuch";

fn bytes(seed: u64) -> Vec<u8> {
    let mut dice = Dice::seeded(seed);
    (0..4 + dice.below(40)).map(|_| dice.below(256) as u8).collect()
}

#[test]
fn forged_files_are_refused_or_as_good() {
    let worlds = worlds();
    let mut outcomes = BTreeMap::<String, usize>::new();
    for seed in 0..FORGED {
        let outcome = std::panic::catch_unwind(|| judge(&worlds, &bytes(seed)));
        let outcome = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        *outcomes.entry(outcome).or_default() += 1;
    }
    let refused = outcomes.len() > 8;
    assert!(refused, "{outcomes:?}");
}

/// `QUIPU_WRITE_SEEDS=1` writes them anew.
#[test]
fn seeds_of_the_fuzzer_come_to_everything() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/start");
    let worlds = worlds();
    if std::env::var_os("QUIPU_WRITE_SEEDS").is_some() {
        write_seeds(&folder, &worlds);
    }
    let mut outcomes = BTreeSet::new();
    for entry in fs::read_dir(&folder).unwrap() {
        outcomes.insert(judge(&worlds, &fs::read(entry.unwrap().path()).unwrap()));
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>().join(" "), OUTCOMES);
}

fn write_seeds(folder: &Path, worlds: &[World]) {
    fs::create_dir_all(folder).unwrap();
    let mut known = BTreeMap::<String, usize>::new();
    for seed in 0..CANDIDATES {
        let bytes = bytes(seed);
        let outcome = judge(worlds, &bytes);
        let number = known.entry(outcome.clone()).or_default();
        if *number < ALIKE {
            fs::write(folder.join(format!("{outcome}-{number}")), bytes).unwrap();
        }
        *number += 1;
        let enough = known.len() == OUTCOMES.split_whitespace().count();
        if enough && known.values().all(|number| *number >= ALIKE) {
            break;
        }
    }
}
