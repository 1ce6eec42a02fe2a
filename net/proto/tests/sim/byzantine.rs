//! Peers that do not keep to the rules.

use quipu_merge::{EventId, Seq};
use quipu_proto::{Channel, HistoryItem, MAX_IDS, Message};

use super::author;
use super::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Byzantine {
    /// Does not send the events that it says it holds.
    Withholds,
    /// Tells of what there is not, and asks for it.
    Floods,
    /// Pushes events of another ledger.
    Replays,
    /// Names events as its last that nobody wrote.
    Lies,
    /// Sends what is no message.
    Garbles,
    /// Answers nothing that it is asked for.
    Stalls,
}

impl Byzantine {
    pub const ALL: [Self; 6] =
        [Self::Withholds, Self::Floods, Self::Replays, Self::Lies, Self::Garbles, Self::Stalls];

    /// What it sends where an honest peer would send this.
    pub fn twist(self, message: Message, random: &mut Random) -> Vec<(Channel, Vec<u8>)> {
        let mut sent = Vec::new();
        match (self, message) {
            (Self::Withholds, Message::Batch(_) | Message::Given(_) | Message::HistoryPart(_)) => {}
            (Self::Floods, message) => {
                sent.push(message);
                let mut ids = |count| (0..count).map(|_| EventId(random.bytes32())).collect();
                sent.push(have(ids(MAX_IDS)));
                sent.push(graft(ids(16)));
            }
            (Self::Replays, message) => {
                sent.push(message);
                if random.once_in(4) {
                    sent.push(Message::Announce(author::genesis(1098, "another")));
                }
            }
            (Self::Lies, Message::Lanes(mut lanes)) => {
                for tip in lanes.lanes.iter_mut().flat_map(|lane| &mut lane.tips) {
                    tip.seq = Seq(tip.seq.0 + 1 + random.below(5));
                    tip.id = EventId(random.bytes32());
                }
                sent.push(Message::Lanes(lanes));
            }
            (Self::Lies, Message::Marks(mut marks)) => {
                for mark in marks.marks.iter_mut().filter(|_| random.once_in(2)) {
                    mark.iter_mut().for_each(|byte| *byte = !*byte);
                }
                sent.push(Message::Marks(marks));
            }
            (Self::Lies, Message::Given(mut given)) => {
                given.bytes = Some(random.bytes32().to_vec().into());
                sent.push(Message::Given(given));
            }
            (Self::Lies, Message::HistoryPart(mut part)) => {
                for item in part.items.iter_mut().flatten() {
                    if let HistoryItem::Event(packet) = item {
                        packet.body.reverse();
                    }
                }
                sent.push(Message::HistoryPart(part));
            }
            (Self::Lies, Message::Compare(mut compare)) => {
                compare.frontier.0 = random.bytes32();
                sent.push(Message::Compare(compare));
            }
            (Self::Stalls, Message::Batch(_) | Message::End(_) | Message::Given(_)) => {}
            (_, message) => sent.push(message),
        }
        let mut sent: Vec<_> =
            sent.into_iter().map(|message| (message.channel(), message.encode())).collect();
        if self == Self::Garbles && random.once_in(3) {
            for (_, bytes) in &mut sent {
                let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                bytes[at] ^= 1 << random.below(8);
            }
        }
        sent
    }
}

fn have(events: Vec<EventId>) -> Message {
    Message::Have(quipu_proto::Ids { events })
}

fn graft(events: Vec<EventId>) -> Message {
    Message::Graft(quipu_proto::Ids { events })
}
