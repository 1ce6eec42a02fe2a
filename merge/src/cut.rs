//! Cuts: ancestor-closed sets of events, as people and files name them.

use std::collections::BTreeMap;

use crate::id::{AuthorKey, EventId, Micros};

/// How an ancestor-closed set of events is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All events that are held.
    Everything,
    /// These events and their ancestors.
    Heads(Vec<EventId>),
    /// Every event whose vector clock is at most this one; absent authors count 0.
    Clock(BTreeMap<AuthorKey, u64>),
    /// Every event with at most this time.
    Time(Micros),
}
