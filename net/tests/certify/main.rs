//! Nodes with real stores over loopback that certify what is written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod api;
mod begin;
#[path = "../../../merge/tests/notes/cosigner.rs"]
mod cosigner;
mod diverged;
mod four;
mod roles;
mod served;
mod support;
mod tlog;
mod visits;
