//! Values that have not come to this replica.

use std::ops::Range;

use quipu_merge::Link;
use quipu_net::FetchError;

/// Why a value cannot be had that has not come to this replica.
pub const NOT_HERE: &str = "not here";
/// Why a note cannot be had of which nobody's lines have come to this replica.
pub const NOT_COSIGNED: &str = "no validator's lines have come to this replica";

/// A value that has not come to this replica.
#[derive(Debug)]
pub struct Absent {
    /// Its name in messages.
    pub what: String,
    /// What of it is read, if it is a long value and its blocks are what is missing.
    pub part: Option<(Link, Range<u64>)>,
    /// Why it could not be fetched, where that was tried.
    pub fetched: Option<FetchError>,
}
