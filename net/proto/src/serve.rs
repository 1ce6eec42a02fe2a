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
    /// Length of what has been sent and not admitted, in bytes. A batch is sent whole: it may be more
    /// than the window by one.
    sent: u64,
    reading: Option<Ticket>,
}

impl Serving {
    /// The peer asks for events. What it asked for before it needs no longer.
    pub fn pull(&mut self, pull: Pull, feed: FeedId) -> Vec<Task> {
        let close = self.stop();
        self.run = Some(Run { pull: pull.pull, feed, sent: 0, reading: None });
        close.into_iter().chain([Task::Open { feed, wants: pull.wants }]).collect()
    }

    /// Reads on, where nothing is being read and the peer takes more.
    pub fn read(&mut self, ticket: impl FnOnce() -> Ticket) -> Option<Task> {
        let run = self.run.as_mut().filter(|run| run.reading.is_none() && run.sent < WINDOW)?;
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
        run.sent += len;
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
        let left = run.sent.checked_sub(credit.bytes).filter(|_| credit.bytes > 0);
        run.sent = left.ok_or(Misbehaviour::Flood)?;
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(len: usize) -> Packet {
        Packet { event: vec![7; len], body: Vec::new(), openings: Vec::new() }
    }

    /// What goes beyond the window with a batch is not forgotten: a peer that admits all of it in time
    /// is never sent more, and never blamed.
    #[test]
    fn no_more_than_the_window_and_a_batch_is_under_way() {
        let mut serving = Serving::default();
        serving.pull(Pull { pull: 1, wants: Vec::new() }, FeedId(1));
        let (mut under_way, mut number) = (std::collections::VecDeque::new(), 0);
        for round in 0..2_000 {
            while let Some(Task::Read { ticket, .. }) = serving.read(|| Ticket(number)) {
                number += 1;
                // Batches are of different lengths, none a divisor of the window.
                let batch = packet(200_000 + round * 31 % 60_000);
                under_way.push_back(batch.len() as u64);
                serving.have_read(ticket, vec![batch], false);
            }
            let sum: u64 = under_way.iter().sum();
            assert!((WINDOW..WINDOW + MAX_BATCH_LEN as u64).contains(&sum), "{sum} bytes");
            let bytes = under_way.pop_front().unwrap();
            assert_eq!(serving.credit(Credit { pull: 1, bytes }), Ok(()));
        }
        let bytes = under_way.iter().sum::<u64>() + 1;
        assert_eq!(serving.credit(Credit { pull: 1, bytes }), Err(Misbehaviour::Flood));
    }
}
