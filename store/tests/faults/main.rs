//! Faults of files, calls, disks and machines, and what must hold after each of them: every
//! acknowledged event is readable, `verify` finds nothing, no own number is used twice, and the
//! same events give the same bytes as in another replica. See `docs/testing.md`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has done its work")]
#![expect(clippy::indexing_slicing, reason = "a test that panics has done its work")]

mod answers;
mod calls;
mod child;
mod cut;
mod files;
mod flips;
mod full;
mod power;
mod promised;
