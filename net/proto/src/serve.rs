//! Sending one peer what it asks for.

use std::collections::BTreeSet;

use quipu_merge::EventId;

use crate::limits::{MAX_BATCH_LEN, WINDOW};
use crate::message::{Batch, Credit, End, Message, Packet, Pull, Want};
use crate::named::Spelled;
use crate::score::Misbehaviour;
use crate::task::{FeedId, Task, Ticket};

/// What is sent to one peer: one run through events at a time.
#[derive(Debug, Default)]
pub struct Serving {
    run: Option<Run>,
    /// What the peer has asked for since. It waits until the store has answered: whoever asks faster
    /// than that makes no queue.
    next: Option<Next>,
    /// The store is asked, for a pull, whether what it guesses at is held.
    checking: Option<(Ticket, u64)>,
}

/// What a peer has asked for.
#[derive(Debug)]
struct Next {
    pull: u64,
    spelled: Spelled,
}

#[derive(Debug)]
struct Run {
    pull: u64,
    feed: FeedId,
    /// Length of what has been sent and not admitted, in bytes. A batch is sent whole: it may be more
    /// than the window by one.
    sent: u64,
    reading: Option<Ticket>,
    /// Whether it is all that the peer has asked for.
    whole: bool,
}

impl Serving {
    /// The peer asks for events. What it asked for before it needs no longer.
    pub fn pull(&mut self, pull: Pull) {
        let spelled = Spelled { wants: pull.wants, guessed: Vec::new(), whole: true };
        self.spelled(pull.pull, spelled);
    }

    /// The same, where it has not named everything in full.
    pub fn spelled(&mut self, pull: u64, spelled: Spelled) {
        self.next = Some(Next { pull, spelled });
    }

    /// Asks the store about what the peer holds by a guess: were it not held here, all of a chain would be
    /// sent.
    pub fn check(&mut self, ticket: impl FnOnce() -> Ticket) -> Option<Task> {
        let next = self.next.as_ref().filter(|next| !next.spelled.guessed.is_empty())?;
        if self.checking.is_some() {
            return None;
        }
        let held = next.spelled.guessed.iter().flat_map(|want| &want.held);
        let events = held.map(|tip| tip.id).collect();
        let ticket = ticket();
        self.checking = Some((ticket, next.pull));
        Some(Task::Missing { ticket, events })
    }

    /// These are not held, or it is not known whether any is.
    pub fn checked(&mut self, ticket: Ticket, missing: Option<&[EventId]>) {
        let Some((_, pull)) = self.checking.take_if(|(checking, _)| *checking == ticket) else {
            return;
        };
        let Some(next) = self.next.as_mut().filter(|next| next.pull == pull) else { return };
        let missing = missing.map(|missing| missing.iter().collect::<BTreeSet<_>>());
        let is_held = |want: &Want| {
            let missing = missing.as_ref();
            missing.is_some_and(|missing| !want.held.iter().any(|tip| missing.contains(&tip.id)))
        };
        let (held, others): (Vec<_>, Vec<_>) = next.spelled.guessed.drain(..).partition(is_held);
        next.spelled.wants.extend(held);
        next.spelled.whole &= others.is_empty();
    }

    /// Whether the peer has asked for something of which it has not been told the end.
    pub const fn is_busy(&self) -> bool {
        self.run.is_some() || self.next.is_some()
    }

    /// Starts on what the peer has asked for last, where the store is at nothing else for it. That a
    /// run has been opened shows in the answer to its first reading.
    pub fn open(&mut self, feed: impl FnOnce() -> FeedId) -> Vec<Task> {
        let is_known = |next: &mut Next| next.spelled.guessed.is_empty();
        if self.is_reading() {
            return Vec::new();
        }
        let Some(Next { pull, spelled }) = self.next.take_if(is_known) else { return Vec::new() };
        let Spelled { wants, whole, .. } = spelled;
        let close = self.close();
        let feed = feed();
        self.run = Some(Run { pull, feed, sent: 0, reading: None, whole });
        close.into_iter().chain([Task::Open { feed, wants }]).collect()
    }

    fn is_reading(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.reading.is_some())
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
        if self.next.is_some() {
            return (Vec::new(), self.close());
        }
        let len: u64 = packets.iter().map(|packet| packet.len() as u64).sum();
        run.sent += len;
        let (pull, whole) = (run.pull, run.whole);
        let batch =
            (!packets.is_empty()).then_some(Message::Batch(Batch { pull, events: packets }));
        let end = last.then_some(Message::End(End { pull, whole }));
        let close = if last { self.close() } else { None };
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
        (self.next.is_none().then_some(end), self.close())
    }

    /// Ends what is under way.
    pub fn stop(&mut self) -> Option<Task> {
        self.next = None;
        self.close()
    }

    fn close(&mut self) -> Option<Task> {
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
        serving.pull(Pull { pull: 1, wants: Vec::new() });
        assert_eq!(serving.open(|| FeedId(1)).len(), 1);
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

    #[test]
    fn of_what_is_asked_for_while_the_store_is_busy_the_latest_is_kept() {
        let pull = |pull| Pull { pull, wants: Vec::new() };
        let mut serving = Serving::default();
        assert!(!serving.is_busy());
        serving.pull(pull(1));
        let open = |feed| Task::Open { feed: FeedId(feed), wants: Vec::new() };
        assert_eq!(serving.open(|| FeedId(1)), [open(1)]);
        assert!(serving.read(|| Ticket(1)).is_some());
        for number in 2..1_000 {
            serving.pull(pull(number));
            assert_eq!(serving.open(|| FeedId(number)), []);
        }
        // What has been read is of a pull that is no longer wanted.
        let (messages, close) = serving.have_read(Ticket(1), vec![packet(9)], true);
        assert_eq!((messages, close), (Vec::new(), Some(Task::Close { feed: FeedId(1) })));
        assert_eq!(serving.open(|| FeedId(2)), [open(2)]);
        assert!(serving.read(|| Ticket(2)).is_some());
        let (messages, _) = serving.have_read(Ticket(2), vec![packet(9)], true);
        assert!(matches!(messages.last(), Some(Message::End(End { pull: 999, whole: true }))));
        assert!(!serving.is_busy());
    }

    #[test]
    fn what_a_peer_guesses_at_is_looked_up_first() {
        let id = |number| EventId([number; 32]);
        let want = |up_to, held: u8| {
            let tip = crate::frontier::Tip { seq: quipu_merge::Seq(1), id: id(held) };
            Want { up_to: vec![id(up_to)], held: vec![tip] }
        };
        let guesses = || Spelled {
            wants: vec![want(1, 2)],
            guessed: vec![want(3, 4), want(5, 6)],
            whole: true,
        };
        // Of the second guess nothing is known here, or the store cannot tell.
        let one = vec![want(1, 2), want(3, 4)];
        for (missing, wants) in [(Some([id(6)]), one), (None, vec![want(1, 2)])] {
            let mut serving = Serving::default();
            serving.spelled(1, guesses());
            assert_eq!(serving.open(|| FeedId(1)), []);
            let missed = Task::Missing { ticket: Ticket(1), events: vec![id(4), id(6)] };
            assert_eq!(serving.check(|| Ticket(1)), Some(missed));
            assert_eq!((serving.check(|| Ticket(2)), serving.open(|| FeedId(1))), (None, vec![]));
            serving.checked(Ticket(1), missing.as_ref().map(<[_; 1]>::as_slice));
            assert_eq!(serving.open(|| FeedId(1)), [Task::Open { feed: FeedId(1), wants }]);
            assert!(serving.read(|| Ticket(3)).is_some());
            let (messages, _) = serving.have_read(Ticket(3), vec![packet(9)], true);
            assert_eq!(messages.last(), Some(&Message::End(End { pull: 1, whole: false })));
        }
        // What is looked up for one pull says nothing of the next.
        let mut serving = Serving::default();
        serving.spelled(1, guesses());
        assert!(serving.check(|| Ticket(1)).is_some());
        serving.spelled(2, guesses());
        assert!(serving.check(|| Ticket(2)).is_none());
        serving.checked(Ticket(1), Some(&[]));
        assert_eq!(serving.open(|| FeedId(1)), []);
        assert!(serving.check(|| Ticket(2)).is_some());
    }
}
