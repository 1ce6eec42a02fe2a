//! Nodes with real stores over loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod again;
mod joining;
mod live;
mod partial;
mod quota;
mod rotation;
mod support;
