//! A start from a checkpoint: what a file written by one replica makes of another, and that nothing else
//! can be made of a file that is not as it was written, or that lies.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod damage;
mod equal;
#[path = "../support/mod.rs"]
mod support;
mod world;
