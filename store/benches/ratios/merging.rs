//! Merging, against nothing but checking signatures on all cores.

use ed25519_dalek::{Signer, SigningKey};
use quipu_merge::Cut;
use quipu_store::{Durability, Options};
use rayon::prelude::*;

use crate::baseline::noise;
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
    let first = source
        .snapshot()
        .unwrap()
        .log(quipu_store::LogFilter::default())
        .unwrap()
        .last()
        .unwrap()
        .unwrap();
    let mut number = 0;
    let ours = best(3, || {
        number += 1;
        let target = dir.path().join(format!("target-{number}"));
        let options = Options::new().durability(Durability::Immediate);
        let (ledger, _) = options
            .clone_ledger(&target, &source, &Cut::Heads(vec![first.id]), &mut |_, _| {})
            .unwrap();
        timed(|| {
            let report = ledger.merge(&source, &mut |_, _| {}).unwrap();
            assert_eq!(report.new_events, EVENTS as u64);
        })
    });
    let detail = format!(
        "{:.1} µs an event; verify_strict alone {:.1} µs, on all cores; {} MB resident at most",
        micros(ours, EVENTS),
        micros(verify, EVENTS),
        peak_memory()
    );
    vec![Figure::at_least(
        "merging 100,000 foreign events",
        0.65,
        verify.as_secs_f64() / ours.as_secs_f64(),
        detail,
    )]
}

/// The most memory that this process has held so far, in MB.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}
