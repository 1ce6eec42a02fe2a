//! A cold copy from a node, against merging the same events from a local store.

use std::time::Instant;

use crate::figure::{Figure, micros, timed};
use crate::stores::{address, fill, node, runtime, visitor, without_events};

const EVENTS: usize = 100_000;
const ROUNDS: usize = 3;

pub fn cold() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let source = fill(&dir.path().join("source"), EVENTS);
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let target = without_events(&dir.path().join(format!("merged-{round}")), &source);
            let merged = timed(|| {
                let report = target.merge(&source, &mut |_, _| {}).unwrap();
                assert_eq!(report.new_events, EVENTS as u64);
            });
            let target = without_events(&dir.path().join(format!("copied-{round}")), &source);
            let copied = runtime().block_on(async {
                let (serving, copying) = (node(&source, &[]).await, visitor(&target).await);
                let start = Instant::now();
                let synced = copying.sync_with(address(&serving)).await.unwrap();
                let copied = start.elapsed();
                assert_eq!(synced.new_events, EVENTS as u64);
                copying.stop().await;
                serving.stop().await;
                copied
            });
            (merged, copied)
        })
        .collect();
    // The middle of the ratios, and what they are of.
    let ratio = |(merged, copied): &(std::time::Duration, std::time::Duration)| {
        merged.as_secs_f64() / copied.as_secs_f64()
    };
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let (merged, copied) = rounds[ROUNDS / 2];
    let detail = format!(
        "copied over loopback {:.1} µs an event, both nodes on this machine; merged locally {:.1} µs",
        micros(copied, EVENTS),
        micros(merged, EVENTS)
    );
    vec![Figure::at_least("cold copy of 100,000 events", 0.7, ratio(&rounds[ROUNDS / 2]), detail)]
}
