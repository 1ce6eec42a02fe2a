//! What only the API shows: a part of an event, a value of a list with its place, what was written.

use quipu_merge::{Height, Operation};
use quipu_store::{Committed, Element, EventInfo, ReadError, Snapshot};
use serde::Serialize;
use utoipa::ToSchema;

use crate::shown::{self, AboutEvent, OperationOut, ValueOut, rfc3339};

/// A value of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ElementOut {
    /// The event that added it.
    event: String,
    /// The index of the operation in the event.
    index: u16,
    /// Who added it.
    author: String,
    /// When the event says that it was written, in RFC 3339.
    time: String,
    #[serde(flatten)]
    value: ValueOut,
}

impl From<&Element> for ElementOut {
    fn from(element: &Element) -> Self {
        Self {
            event: element.event.to_string(),
            index: element.slot,
            author: element.author.to_string(),
            time: rfc3339(element.time),
            value: ValueOut::from(&element.value),
        }
    }
}

/// An event that was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommittedOut {
    /// Its id.
    pub event: String,
    /// Its position in this replica's chain.
    seq: u64,
    /// Its time, in RFC 3339.
    time: String,
    /// The height of the checkpoint that certifies it, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<u64>,
}

impl CommittedOut {
    /// An event that is written, and certified by a checkpoint if so.
    pub fn new(committed: &Committed, checkpoint: Option<Height>) -> Self {
        Self {
            checkpoint: checkpoint.map(|height| height.0),
            event: committed.event.to_string(),
            seq: committed.seq.0,
            time: rfc3339(committed.time),
        }
    }
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventOut {
    #[serde(flatten)]
    about: AboutEvent,
    /// How many operations it has, as far as they are here.
    operations: usize,
    /// Some of them: as many as a page takes.
    ops: Vec<OperationOut>,
    /// The index from which on there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

impl EventOut {
    /// An event with up to `limit` of those operations from the index `from` on that are `wanted`.
    pub fn new(
        snapshot: &Snapshot<'_>,
        event: &EventInfo,
        from: usize,
        limit: usize,
        wanted: impl Fn(&Operation) -> bool,
    ) -> Result<Self, ReadError> {
        let (mut ops, mut next) = (Vec::new(), None);
        let operations = event.body.as_ref().map_or(0, shown::operations);
        for index in from..operations {
            if event.operations().get(index).is_some_and(|operation| !wanted(operation)) {
                continue;
            }
            if ops.len() >= limit {
                next = Some(index);
                break;
            }
            ops.extend(OperationOut::of(snapshot, event, index)?);
        }
        Ok(Self { about: event.into(), operations, ops, next })
    }
}
