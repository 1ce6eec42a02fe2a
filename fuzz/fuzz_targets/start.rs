//! Start files that somebody has forged: each is refused, and nothing is left of it, or the store that
//! comes of it has what is certified.
#![no_main]

#[path = "start/mod.rs"]
mod forged;

use std::sync::OnceLock;

use forged::{World, judge, worlds};
use libfuzzer_sys::fuzz_target;

static WORLDS: OnceLock<Vec<World>> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    judge(WORLDS.get_or_init(worlds), bytes);
});
