//! Giving one peer what it may start from, and what precedes that.

use std::collections::VecDeque;

use crate::channel::Channel;
use crate::limits::{
    ASK_START_RATE, MAX_HISTORY_ITEMS, MAX_HISTORY_LEN, MAX_OPENINGS_LEN, MAX_PART_LEN,
    MAX_QUESTIONS,
};
use crate::message::{AskHistory, AskPart, HistoryItem, HistoryPart, Message, Part, Start};
use crate::rate::Bucket;
use crate::score::Misbehaviour;
use crate::task::{Answer, HistoryEntry, Task, Ticket};
use crate::time::Moment;

/// What of a message is left for what is not in its items, in bytes.
const FRAMING: usize = 64 << 10;

/// What a peer asks for, in order. One question at a time is looked up.
#[derive(Debug, Default)]
pub struct Backing {
    asked: VecDeque<Question>,
    reading: Option<Ticket>,
    /// Whether it speaks a version with such questions.
    is_understood: bool,
    starts: Bucket,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Start,
    Part(AskPart),
    History(AskHistory),
}

impl Backing {
    /// Whether the version that is spoken has such questions. They are passed over where it has not.
    pub const fn speak(&mut self, is_understood: bool) {
        self.is_understood = is_understood;
    }

    /// The peer asks for what to start from.
    pub fn asked_start(&mut self, now: Moment) -> Result<(), Misbehaviour> {
        if self.is_understood && !self.starts.take(ASK_START_RATE, 1, now) {
            return Err(Misbehaviour::Flood);
        }
        self.ask(Question::Start)
    }

    /// The peer asks for a part of a file.
    pub fn asked_part(&mut self, ask: AskPart) -> Result<(), Misbehaviour> {
        self.ask(Question::Part(ask))
    }

    /// The peer asks for history.
    pub fn asked_history(&mut self, ask: AskHistory) -> Result<(), Misbehaviour> {
        self.ask(Question::History(ask))
    }

    fn ask(&mut self, question: Question) -> Result<(), Misbehaviour> {
        if !self.is_understood {
            return Ok(());
        }
        if self.asked.len() >= MAX_QUESTIONS {
            return Err(Misbehaviour::Flood);
        }
        self.asked.push_back(question);
        Ok(())
    }

    /// Looks the next one up, where nothing is being looked up.
    pub fn read(&mut self, ticket: impl FnOnce() -> Ticket) -> Option<Task> {
        let question = *self.asked.front().filter(|_| self.reading.is_none())?;
        let ticket = ticket();
        self.reading = Some(ticket);
        Some(match question {
            Question::Start => Task::Start { ticket },
            Question::Part(AskPart { file, offset }) => {
                Task::ReadStart { ticket, file, offset, max_len: MAX_PART_LEN }
            }
            Question::History(AskHistory { from, up_to }) => {
                Task::ReadHistory { ticket, from, up_to, max_len: MAX_HISTORY_LEN }
            }
        })
    }

    /// It has been looked up, or could not be.
    pub fn have_read(&mut self, ticket: Ticket, answer: Answer) -> Option<Message> {
        if self.reading != Some(ticket) {
            return None;
        }
        self.reading = None;
        Some(match (self.asked.pop_front()?, answer) {
            (Question::Start, Answer::Start(start)) => Message::Start(start),
            (Question::Start, _) => Message::Start(Start::Nothing),
            (Question::Part(AskPart { offset, .. }), Answer::StartPart(bytes)) => {
                let bytes = bytes.filter(|bytes| bytes.len() <= MAX_PART_LEN);
                Message::Part(Part { offset, bytes: bytes.map(Into::into) })
            }
            (Question::Part(AskPart { offset, .. }), _) => {
                Message::Part(Part { offset, bytes: None })
            }
            (Question::History(AskHistory { from, .. }), Answer::History(entries)) => {
                let items = entries.map(|entries| fit(entries.into_iter().map(item).collect()));
                let items = items.filter(|items| !items.is_empty());
                Message::HistoryPart(HistoryPart { from, items })
            }
            (Question::History(AskHistory { from, .. }), _) => {
                Message::HistoryPart(HistoryPart { from, items: None })
            }
        })
    }
}

fn item(entry: HistoryEntry) -> HistoryItem {
    match entry {
        HistoryEntry::Event(packet) => HistoryItem::Event(packet),
        HistoryEntry::Checkpoint(certified) => HistoryItem::Checkpoint(certified.encode()),
    }
}

/// As many of these as a message may hold, of which no event parts from its checkpoint. Of openings that are
/// too long the last are left out, as they are elsewhere.
fn fit(mut items: Vec<HistoryItem>) -> Vec<HistoryItem> {
    let room = Channel::Blocks.max_frame() as usize - FRAMING;
    let (mut len, mut fits) = (0_usize, 0);
    for item in items.iter_mut().take(MAX_HISTORY_ITEMS) {
        if let HistoryItem::Event(packet) = item {
            while packet.openings.iter().map(|opening| opening.opening.len()).sum::<usize>()
                > MAX_OPENINGS_LEN
            {
                packet.openings.pop();
            }
        }
        len += item.len();
        if len > room {
            break;
        }
        fits += 1;
    }
    while fits > 0 && matches!(items.get(fits), Some(HistoryItem::Checkpoint(_))) {
        fits -= 1;
    }
    items.truncate(fits);
    items
}

#[cfg(test)]
mod tests {
    use quipu_merge::{CheckpointId, Height};

    use super::*;
    use crate::certify::{CertifiedBytes, PartsBytes};
    use crate::message::{Packet, PacketOpening, StartFile};

    fn event(len: usize, openings: usize) -> HistoryItem {
        let openings = (0..openings).map(|slot| PacketOpening {
            slot: u16::try_from(slot).unwrap(),
            opening: vec![0; 4000],
        });
        HistoryItem::Event(Packet {
            event: vec![1],
            body: vec![0; len],
            openings: openings.collect(),
        })
    }

    fn checkpoint(len: usize) -> HistoryItem {
        let parts =
            PartsBytes { checkpoint: vec![0; len], cut: Vec::new(), validators: Vec::new() };
        HistoryItem::Checkpoint(CertifiedBytes { parts, certificate: Vec::new() })
    }

    #[test]
    fn an_answer_fits_a_message_and_keeps_checkpoints_with_their_events() {
        let history = |items| {
            let part = HistoryPart { from: 0, items: Some(fit(items)) };
            let (items, message) = (part.items.clone().unwrap(), Message::HistoryPart(part));
            assert!(Message::decode(Channel::Blocks, &message.encode()).is_ok());
            items
        };
        // The longest that there is: an event, all its openings, and the checkpoint after it.
        let longest = vec![event(1 << 20, 100), checkpoint(620 << 10)];
        let fits = history(longest);
        assert_eq!(fits.len(), 2);
        assert!(matches!(&fits[0], HistoryItem::Event(packet) if packet.openings.len() == 65));
        // One event more does not fit, with or without a checkpoint of its own.
        let more = vec![event(1 << 20, 0), checkpoint(620 << 10), event(1 << 20, 0)];
        assert_eq!(history(more.clone()).len(), 2);
        assert_eq!(history([more, vec![checkpoint(9)]].concat()).len(), 2);
        let late = vec![event(1 << 20, 0), event(500 << 10, 0), checkpoint(620 << 10)];
        assert_eq!(history(late).len(), 1);
        let mut many = vec![event(10, 0); MAX_HISTORY_ITEMS];
        many.push(checkpoint(9));
        assert_eq!(history(many).len(), MAX_HISTORY_ITEMS - 1);
    }

    #[test]
    fn questions_are_answered_in_order_and_not_without_bounds() {
        let file = StartFile { height: Height(3), checkpoint: CheckpointId([1; 32]), len: 9 };
        let mut backing = Backing::default();
        // In the version that is spoken, there is no such message.
        assert_eq!(backing.asked_start(Moment(0)), Ok(()));
        assert!(backing.read(|| Ticket(1)).is_none());
        backing.speak(true);
        backing.asked_start(Moment(0)).unwrap();
        backing.asked_part(AskPart { file, offset: 4 }).unwrap();
        backing.asked_history(AskHistory { from: 7, up_to: Height(3) }).unwrap();
        assert_eq!(backing.read(|| Ticket(1)), Some(Task::Start { ticket: Ticket(1) }));
        assert!(backing.read(|| Ticket(2)).is_none());
        let found = backing.have_read(Ticket(1), Answer::Start(Start::From(file)));
        assert_eq!(found, Some(Message::Start(Start::From(file))));
        let max_len = MAX_PART_LEN;
        let read = Task::ReadStart { ticket: Ticket(2), file, offset: 4, max_len };
        assert_eq!(backing.read(|| Ticket(2)), Some(read));
        let part = Message::Part(Part { offset: 4, bytes: None });
        assert_eq!(backing.have_read(Ticket(2), Answer::Failed), Some(part));
        assert!(matches!(backing.read(|| Ticket(3)), Some(Task::ReadHistory { from: 7, .. })));
        let nothing = Message::HistoryPart(HistoryPart { from: 7, items: None });
        let empty = Answer::History(Some(Vec::new()));
        assert_eq!(backing.have_read(Ticket(3), empty), Some(nothing));
        assert!(backing.read(|| Ticket(4)).is_none());
        let mut ask = || backing.asked_part(AskPart { file, offset: 0 });
        (0..MAX_QUESTIONS).for_each(|_| ask().unwrap());
        assert_eq!(ask(), Err(Misbehaviour::Flood));
    }
}
