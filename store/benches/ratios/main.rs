//! What the store reaches, each figure as a ratio to a baseline measured in the same run.
//!
//! `cargo bench --bench ratios [-- NAME…]`; without names, all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a benchmark that panics says what is wrong"
)]

mod baseline;
mod collecting;
mod content;
mod memory;
mod merging;
mod reading;
mod rounds;
mod space;
mod writing;

use std::time::{Duration, Instant};

/// A figure, what it should reach, and in which direction.
pub struct Figure {
    what: &'static str,
    value: f64,
    target: f64,
    at_least: bool,
    detail: String,
}

impl Figure {
    fn at_least(what: &'static str, target: f64, value: f64, detail: String) -> Self {
        Self { what, value, target, at_least: true, detail }
    }

    fn at_most(what: &'static str, target: f64, value: f64, detail: String) -> Self {
        Self { what, value, target, at_least: false, detail }
    }

    fn print(&self) {
        let met = if self.at_least { self.value >= self.target } else { self.value <= self.target };
        let (sign, mark) =
            (if self.at_least { "≥" } else { "≤" }, if met { "met" } else { "NOT MET" });
        println!(
            "| {} | {:.2} | {sign} {} | {mark} | {} |",
            self.what, self.value, self.target, self.detail
        );
    }
}

/// The best of a few runs: what the machine can do when nobody disturbs it.
pub fn best(runs: usize, mut run: impl FnMut() -> Duration) -> Duration {
    (0..runs).map(|_| run()).min().unwrap_or_default()
}

/// How long a piece of work takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// One operation's share of the time of many, in microseconds.
pub fn micros(total: Duration, operations: usize) -> f64 {
    total.as_secs_f64() * 1e6 / operations as f64
}

type Bench = fn() -> Vec<Figure>;

const BENCHES: [(&str, Bench); 13] = [
    ("relaxed", writing::relaxed),
    ("durable", writing::durable),
    ("transactions", writing::transactions),
    ("get", reading::get),
    ("travel", reading::travel),
    ("merge", merging::merge),
    ("memory", merging::memory),
    ("disk", space::disk),
    ("open", space::open),
    ("content", content::content),
    ("content-memory", content::memory),
    ("gc", collecting::collect),
    ("gc-writes", collecting::writes),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [merging::MERGING, source, target] => return merging::merge_stores(source, target),
        [content::PUTTING, store] => return content::put_long(store),
        [content::GETTING, store] => return content::get_long(store),
        _ => {}
    }
    let wanted: Vec<String> = args.into_iter().filter(|arg| !arg.starts_with('-')).collect();
    println!("| measure | figure | target | | detail |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, bench) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            bench().iter().for_each(Figure::print);
        }
    }
}
