//! The transport from outside: two and more endpoints on this machine, and clients that do not
//! keep to the rules.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]
#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small")]

mod cheat;
mod endings;
mod limits;
mod messages;
mod nodes;
mod raw;
mod refusals;
mod resumption;
mod strangers;
mod violations;
