//! The API as its callers meet it: a real server, over TLS, with a real client.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod access;
mod certified;
mod client;
mod description;
mod keys;
mod limits;
mod node;
mod notes;
mod once;
mod pruned;
mod stream;
mod throughput;
mod values;
