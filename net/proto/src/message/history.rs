//! What precedes a checkpoint, for a replica that has started from it.

use minicbor::{Decode, Encode};
use quipu_merge::Height;

use super::event::Packet;
use crate::certify::CertifiedBytes;
use crate::limits::MAX_HISTORY_ITEMS;
use crate::wire;

/// Asks for what precedes a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskHistory {
    /// The place of the first event that is wanted in the certified log, from 0.
    #[n(0)]
    pub from: u64,
    /// The checkpoint of whose cut the last event is.
    #[cbor(n(1), with = "wire::height")]
    pub up_to: Height,
}

/// Some of what precedes a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HistoryPart {
    /// The place of the first event that was wanted.
    #[n(0)]
    pub from: u64,
    /// The events from there on, at least one; or nothing, where they cannot be had here.
    #[n(1)]
    pub items: Option<Vec<HistoryItem>>,
}

/// An event, or the checkpoint whose cut ends with the event before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum HistoryItem {
    /// The next event of the certified log.
    #[n(0)]
    Event(#[n(0)] Packet),
    /// The next checkpoint.
    #[n(1)]
    Checkpoint(#[n(0)] CertifiedBytes),
}

impl HistoryItem {
    /// Its length, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Event(packet) => packet.len(),
            Self::Checkpoint(certified) => certified.len() + 32,
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Event(packet) => packet.is_empty(),
            Self::Checkpoint(certified) => certified.is_empty(),
        }
    }
}

impl HistoryPart {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let Some(items) = &self.items else { return Ok(()) };
        if items.len() > MAX_HISTORY_ITEMS {
            return Err("events");
        }
        items.iter().try_for_each(|item| match item {
            HistoryItem::Event(packet) => packet.check_count(),
            HistoryItem::Checkpoint(_) => Ok(()),
        })
    }
}
