//! Events as they travel.

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, EventId, MAX_OPERATIONS, ParsedEvent};

use crate::wire;

/// Ids of events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ids {
    /// The ids.
    #[cbor(n(0), with = "wire::events")]
    pub events: Vec<EventId>,
}

/// An event as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Packet {
    /// The encoding of the event.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub event: Vec<u8>,
    /// The encoding of its body.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// Openings of its values, by the index of their operation, as far as they come along.
    #[n(2)]
    pub openings: Vec<PacketOpening>,
}

/// The opening of a value.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PacketOpening {
    /// The index of its operation in the body.
    #[n(0)]
    pub slot: u16,
    /// Its encoding.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub opening: Vec<u8>,
}

impl Packet {
    /// The id that the event has, if it is one.
    pub fn id(&self) -> EventId {
        EventId::of(&self.event)
    }

    /// Whose event it says it is.
    pub(crate) fn author(&self) -> Option<AuthorKey> {
        let parsed = ParsedEvent::decode(&self.event).ok()?;
        Some(parsed.event().author)
    }

    /// Its length, in bytes.
    pub fn len(&self) -> usize {
        let openings: usize = self.openings.iter().map(|opening| opening.opening.len() + 8).sum();
        self.event.len() + self.body.len() + openings + 16
    }

    /// Whether it holds nothing, which no event does.
    pub fn is_empty(&self) -> bool {
        self.event.is_empty()
    }

    pub(super) fn check_count(&self) -> Result<(), &'static str> {
        if self.openings.len() > MAX_OPERATIONS { Err("openings") } else { Ok(()) }
    }
}
