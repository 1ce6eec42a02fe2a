//! Three to five real daemons, each in a network namespace of its own, with writers running while
//! something goes wrong: in the end all are in the same state, and every acknowledged write is in it.
//! See `docs/testing.md`.
//!
//! `QUIPU_SEED` repeats how many nodes there are and who is hit, `QUIPU_FAULT_PAIRS=all` tries all pairs
//! of faults.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has done its work")]
#![expect(clippy::indexing_slicing, reason = "a test that panics has done its work")]

mod cluster;
mod faults;
mod leftovers;
mod machine;
mod namespaces;
mod node;
mod proxy;
mod random;
mod rolling;
mod scenario;
mod validators;
mod writers;
