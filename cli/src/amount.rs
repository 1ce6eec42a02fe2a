//! Numbers for people: with a noun, or as a size.

use std::fmt::Display;

use indicatif::HumanBytes;

/// So many of something: `1 file`, `2 files`. The noun is one that takes an `s`.
pub fn count(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let ending = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// A length in bytes, to two places: `512 B`, `1.50 MiB`. JSON has it to the byte.
pub fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}
