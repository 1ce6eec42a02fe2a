//! What replicating nodes ask of a store: frontiers, plans, feeds, admission, followers, values.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod exchange;
mod feeds;
mod following;
mod history;
mod values;
