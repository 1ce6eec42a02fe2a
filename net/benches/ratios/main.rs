//! What nodes reach, each figure beside what it is compared with in the same run.
//!
//! `cargo bench -p quipu-net --bench ratios [-- NAME…]`; without names, all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a benchmark that panics says what is wrong"
)]

mod certify;
mod copying;
mod crowd;
#[path = "../../../store/benches/ratios/figure.rs"]
#[allow(dead_code, reason = "the store's benchmarks use all of it")]
mod figure;
mod latency;
mod load;
#[path = "../../../store/benches/ratios/memory.rs"]
#[allow(dead_code, reason = "the store's benchmarks use all of it")]
mod memory;
mod stores;
mod wire;

use figure::Figure;

type Bench = fn() -> Vec<Figure>;

const BENCHES: [(&str, Bench); 8] = [
    ("copy", copying::cold),
    ("wire", wire::one_percent),
    ("equal", wire::equal),
    ("latency", latency::puts),
    ("load", load::offered),
    ("memory", crowd::memory),
    ("certify", certify::beside),
    ("checkpoint", certify::checkpoints),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [crowd::SERVING, store] = args.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
    {
        return crowd::serve(store);
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
