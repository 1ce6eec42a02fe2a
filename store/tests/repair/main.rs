//! A damaged store is made sound again: what is derived is derived anew, what is lost comes from
//! elsewhere, and what cannot be had is told.

#![expect(clippy::unwrap_used, reason = "a test that panics has done its work")]

mod database;
mod derived;
mod kept;
mod killed;
mod lost;
mod setting;
#[path = "../support/mod.rs"]
mod support;
