//! Figures, and how to measure.

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
    /// One that should reach this.
    pub fn at_least(what: &'static str, target: f64, value: f64, detail: String) -> Self {
        Self { what, value, target, at_least: true, detail }
    }

    /// One that should not be above this.
    pub fn at_most(what: &'static str, target: f64, value: f64, detail: String) -> Self {
        Self { what, value, target, at_least: false, detail }
    }

    /// Prints a row of the table.
    pub fn print(&self) {
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
