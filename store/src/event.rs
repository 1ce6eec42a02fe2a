//! Events as they are shown.

use quipu_merge::{AuthorKey, Body, Dot, EventId, Height, Micros, Operation, Seq};

use crate::error::ReadError;
use crate::lookup::Stored;
use crate::snapshot::{Snapshot, Value};

/// An event that is held.
#[derive(Clone, Debug)]
pub struct EventInfo {
    /// Its id.
    pub id: EventId,
    /// Who wrote it.
    pub author: AuthorKey,
    /// Its position in the author's chain.
    pub seq: Seq,
    /// When it says that it was written.
    pub time: Micros,
    /// The author's event before.
    pub prev: Option<EventId>,
    /// The other events that it follows.
    pub parents: Vec<EventId>,
    /// Its body; `None` where that has been pruned.
    pub body: Option<Body>,
    /// Length of its body, in bytes.
    pub size: u32,
    /// Whether it is void over the snapshot.
    pub void: bool,
    /// The height of the first certified cut that holds it, if one does.
    pub certified: Option<Height>,
    dot: Dot,
}

impl EventInfo {
    pub(crate) fn read(
        snapshot: &Snapshot<'_>,
        dot: Dot,
        stored: &Stored<'_>,
    ) -> Result<Self, ReadError> {
        let event = stored.event()?;
        let content = event.event();
        Ok(Self {
            id: event.id(),
            author: content.author,
            seq: content.seq,
            time: content.time,
            prev: content.prev,
            parents: content.parents.clone(),
            size: content.size,
            body: stored.kept()?.whole(),
            void: snapshot.is_void(dot)?,
            certified: snapshot.height_of(dot),
            dot,
        })
    }

    /// The data operations of its body, as far as they are here.
    pub fn operations(&self) -> &[Operation] {
        self.body.as_ref().map_or(&[], Body::data)
    }

    /// The value of the operation at this index of the body; `None` where it carries none.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn value(&self, snapshot: &Snapshot<'_>, index: usize) -> Result<Option<Value>, ReadError> {
        let carries =
            self.operations().get(index).is_some_and(|operation| operation.value().is_some());
        let slot = u16::try_from(index).ok().filter(|_| carries);
        Ok(slot.map(|slot| snapshot.value_at(self.dot, slot)).transpose()?)
    }
}
