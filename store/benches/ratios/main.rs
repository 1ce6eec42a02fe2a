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
mod certifying;
mod collecting;
mod content;
mod figure;
mod memory;
mod merging;
mod reading;
mod rounds;
mod space;
mod starting;
mod writing;

pub use figure::{Figure, best, micros, timed};

type Bench = fn() -> Vec<Figure>;

const BENCHES: [(&str, Bench); 15] = [
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
    ("certify", certifying::certify),
    ("start", starting::start),
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
