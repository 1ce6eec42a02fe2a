//! A store that starts from a checkpoint, beside one that has everything: from there on they are the same,
//! and what lies before, the one says that it does not have.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod below;
mod damage;
mod exchange;
mod same;
#[path = "../support/mod.rs"]
mod support;
mod values;
mod void;
mod waiting;
mod world;
