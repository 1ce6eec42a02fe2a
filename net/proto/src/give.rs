//! Giving one peer the values that it asks for.

use std::collections::{BTreeSet, VecDeque};

use crate::limits::{MAX_ASKED, MAX_OWED};
use crate::message::{Ask, Given, Got, Item, Message};
use crate::score::Misbehaviour;
use crate::task::{Task, Ticket};

/// What a peer asks for and has not been given. One at a time is read.
#[derive(Debug, Default)]
pub struct Giving {
    asked: VecDeque<(u64, Item)>,
    reading: Option<Ticket>,
    /// What was not at hand: the peer is told when it comes.
    owed: BTreeSet<Item>,
}

impl Giving {
    /// The peer asks for values. It asks again when it has been answered.
    pub fn asked(&mut self, ask: Ask) -> Result<(), Misbehaviour> {
        self.asked.extend(ask.items.into_iter().map(|item| (ask.request, item)));
        // Whoever gave up waiting may have asked once more.
        if self.asked.len() > 2 * MAX_ASKED { Err(Misbehaviour::Flood) } else { Ok(()) }
    }

    /// Reads the next, where nothing is being read.
    pub fn read(&mut self, ticket: impl FnOnce() -> Ticket) -> Option<Task> {
        let (_, item) = *self.asked.front().filter(|_| self.reading.is_none())?;
        let ticket = ticket();
        self.reading = Some(ticket);
        Some(Task::Provide { ticket, item })
    }

    /// Something has come: the peer is told if it has asked for it.
    pub fn came(&mut self, item: Item) -> Option<Message> {
        self.owed.remove(&item).then_some(Message::Got(Got { item }))
    }

    /// It has been read, or could not be.
    pub fn given(&mut self, ticket: Ticket, bytes: Option<Vec<u8>>) -> Option<Message> {
        if self.reading != Some(ticket) {
            return None;
        }
        self.reading = None;
        let (request, item) = self.asked.pop_front()?;
        if bytes.is_none() && self.owed.len() < MAX_OWED {
            self.owed.insert(item);
        }
        Some(Message::Given(Given { request, bytes: bytes.map(Into::into) }))
    }
}
