//! The store against the model: files, merges, local writes, what waits, keys, and many threads.

mod compare;
mod files;
mod histories;
mod identity;
mod replicas;
mod sequence;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
mod threads;
mod vectors;
mod waiting;
