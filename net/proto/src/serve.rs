//! Sending one peer what it asks for.

use crate::limits::{MAX_BATCH_LEN, WINDOW};
use crate::message::{Batch, Credit, End, Message, Packet, Pull};
use crate::score::Misbehaviour;
use crate::task::{FeedId, Task, Ticket};

/// What is sent to one peer: one run through events at a time.
#[derive(Debug, Default)]
pub struct Serving {
    run: Option<Run>,
}

#[derive(Debug)]
struct Run {
    pull: u64,
    feed: FeedId,
    /// So many bytes may be sent before something has been admitted.
    credit: u64,
    reading: Option<Ticket>,
}

impl Serving {
    /// The peer asks for events. What it asked for before it needs no longer.
    pub fn pull(&mut self, pull: Pull, feed: FeedId) -> Vec<Task> {
        let close = self.stop();
        self.run = Some(Run { pull: pull.pull, feed, credit: WINDOW, reading: None });
        close.into_iter().chain([Task::Open { feed, wants: pull.wants }]).collect()
    }

    /// Reads on, where nothing is being read and the peer takes more.
    pub fn read(&mut self, ticket: impl FnOnce() -> Ticket) -> Option<Task> {
        let run = self.run.as_mut().filter(|run| run.reading.is_none() && run.credit > 0)?;
        let ticket = ticket();
        run.reading = Some(ticket);
        Some(Task::Read { ticket, feed: run.feed, max_len: MAX_BATCH_LEN })
    }

    /// Events have been read.
    pub fn have_read(
        &mut self,
        ticket: Ticket,
        packets: Vec<Packet>,
        last: bool,
    ) -> (Vec<Message>, Option<Task>) {
        let Some(run) = self.run.as_mut().filter(|run| run.reading == Some(ticket)) else {
            return (Vec::new(), None);
        };
        run.reading = None;
        let len: u64 = packets.iter().map(|packet| packet.len() as u64).sum();
        run.credit = run.credit.saturating_sub(len);
        let pull = run.pull;
        let batch =
            (!packets.is_empty()).then_some(Message::Batch(Batch { pull, events: packets }));
        let end = last.then_some(Message::End(End { pull, whole: true }));
        let close = if last { self.stop() } else { None };
        (batch.into_iter().chain(end).collect(), close)
    }

    /// The peer has admitted something.
    pub fn credit(&mut self, credit: Credit) -> Result<(), Misbehaviour> {
        let Some(run) = self.run.as_mut().filter(|run| run.pull == credit.pull) else {
            return Ok(());
        };
        let more = run.credit.saturating_add(credit.bytes);
        run.credit = more.min(WINDOW);
        if more > WINDOW || credit.bytes == 0 { Err(Misbehaviour::Flood) } else { Ok(()) }
    }

    /// Nothing can be read: the peer is told.
    pub fn break_off(&mut self, ticket: Ticket) -> (Option<Message>, Option<Task>) {
        let Some(run) = self.run.as_ref().filter(|run| run.reading == Some(ticket)) else {
            return (None, None);
        };
        let end = Message::End(End { pull: run.pull, whole: false });
        (Some(end), self.stop())
    }

    /// Ends what is under way.
    pub fn stop(&mut self) -> Option<Task> {
        self.run.take().map(|run| Task::Close { feed: run.feed })
    }
}
