//! The store against the model: files, merges, local writes, what waits, keys, and many threads.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

mod certified;
mod compare;
mod files;
mod histories;
mod identity;
mod pruning;
mod replicas;
mod sequence;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
mod threads;
mod vectors;
mod waiting;
