//! What peers send each other.
//!
//! Messages are CBOR, so that fields can be added: who does not know one skips it. A message of a kind
//! that is not known is ignored, since a later minor version may have more of them.

mod event;
mod frontier;
mod greeting;
mod history;
mod peers;
mod pull;
mod start;
mod value;

use minicbor::{Decode, Encode};

pub use event::{Ids, Packet, PacketOpening};
pub use frontier::{AskLanes, AskMarked, Compare, Lanes, Marks, Reconcile, Sums};
pub use greeting::{Hello, Ping, VERSION, Version};
pub use history::{AskHistory, HistoryItem, HistoryPart};
pub use peers::{KnownPeer, Peers, is_place};
pub use pull::{Batch, Credit, End, Pull, PullTold, Want};
pub use start::{AskPart, Part, Start, StartFile};
pub use value::{Ask, Given, Got, Item};

use crate::certify::CertifyMessage;
use crate::channel::Channel;
use crate::limits::{MAX_ASKED, MAX_IDS, MAX_LANES, MAX_MARKED, MAX_RECONCILE};
use crate::wire;

/// A message that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// What peers send each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// The first message of both sides.
    #[n(0)]
    Hello(#[n(0)] Hello),
    /// Asks whether the other is still there and has something else.
    #[n(1)]
    Ping(#[n(0)] Ping),
    /// The answer, with the same number.
    #[n(2)]
    Pong(#[n(0)] Ping),
    /// Asks whom the other knows, and where. Since 1.1.
    #[n(3)]
    AskPeers,
    /// The answer. Since 1.1.
    #[n(4)]
    Peers(#[n(0)] Peers),
    /// Starts comparing frontiers, or answers to that.
    #[n(10)]
    Compare(#[n(0)] Compare),
    /// Entries of a frontier.
    #[n(11)]
    Lanes(#[n(0)] Lanes),
    /// A step of set reconciliation.
    #[n(12)]
    Reconcile(#[n(0)] Reconcile),
    /// Asks for entries that set reconciliation has found.
    #[n(13)]
    AskLanes(#[n(0)] AskLanes),
    /// Asks for events.
    #[n(14)]
    Pull(#[n(0)] Pull),
    /// Events that were asked for, in an order that follows causality.
    #[n(15)]
    Batch(#[n(0)] Batch),
    /// There are no more events for a pull.
    #[n(16)]
    End(#[n(0)] End),
    /// So much of a pull has been admitted.
    #[n(17)]
    Credit(#[n(0)] Credit),
    /// A new event.
    #[n(20)]
    Announce(#[n(0)] Packet),
    /// There are new events, which can be asked for.
    #[n(21)]
    Have(#[n(0)] Ids),
    /// Asks for these, and for new events as they come.
    #[n(22)]
    Graft(#[n(0)] Ids),
    /// Asks for ids instead of new events: they come from others first.
    #[n(23)]
    Prune,
    /// The sums of the entries of a frontier. Since 1.2.
    #[n(24)]
    Sums(#[n(0)] Sums),
    /// The entries where sums differ. Since 1.2.
    #[n(25)]
    Marks(#[n(0)] Marks),
    /// Asks for entries that have been marked. Since 1.2.
    #[n(26)]
    AskMarked(#[n(0)] AskMarked),
    /// Asks for events that have been told of. Since 1.2.
    #[n(27)]
    PullTold(#[n(0)] PullTold),
    /// Asks for values.
    #[n(30)]
    Ask(#[n(0)] Ask),
    /// The answer to the next that was asked for.
    #[n(31)]
    Given(#[n(0)] Given),
    /// What was asked for before and was not at hand has come.
    #[n(32)]
    Got(#[n(0)] Got),
    /// About certification. Since 1.2.
    #[n(40)]
    Certify(#[n(0)] CertifyMessage),
    /// Asks for what a replica may start from. Since 1.3.
    #[n(50)]
    AskStart,
    /// The answer. Since 1.3.
    #[n(51)]
    Start(#[n(0)] Start),
    /// Asks for a part of a file to start from. Since 1.3.
    #[n(52)]
    AskPart(#[n(0)] AskPart),
    /// The answer. Since 1.3.
    #[n(53)]
    Part(#[n(0)] Part),
    /// Asks for what precedes a checkpoint. Since 1.3.
    #[n(54)]
    AskHistory(#[n(0)] AskHistory),
    /// The answer. Since 1.3.
    #[n(55)]
    HistoryPart(#[n(0)] HistoryPart),
}

impl Message {
    /// The channel that it is sent on.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Hello(_) | Self::Ping(_) | Self::Pong(_) | Self::AskPeers | Self::Peers(_) => {
                Channel::Control
            }
            Self::Announce(_) | Self::Have(_) | Self::Graft(_) | Self::Prune => Channel::Gossip,
            Self::Ask(_)
            | Self::Given(_)
            | Self::Got(_)
            | Self::AskStart
            | Self::Start(_)
            | Self::AskPart(_)
            | Self::Part(_)
            | Self::AskHistory(_)
            | Self::HistoryPart(_) => Channel::Blocks,
            Self::Certify(message) => message.channel(),
            _ => Channel::Sync,
        }
    }

    /// Writes the message.
    pub fn encode(&self) -> Vec<u8> {
        wire::to_bytes(self)
    }

    /// Reads a message. `None` where it is of a kind that is not known.
    ///
    /// # Errors
    /// It is not a message, is on a channel where it does not belong, or breaks a limit.
    pub fn decode(channel: Channel, bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        if bytes.len() > channel.max_frame() as usize {
            return Err(Malformed(format!("a message of {} bytes", bytes.len())));
        }
        let message: Self = match minicbor::decode(bytes) {
            Ok(message) => message,
            Err(error) if error.is_unknown_variant() => return Ok(None),
            Err(error) => return Err(Malformed(error.to_string())),
        };
        if message.channel() != channel {
            return Err(Malformed(format!("a message of another channel on {channel:?}")));
        }
        message.check_counts().map_err(|what| Malformed(format!("too many {what}")))?;
        if let Self::Certify(certify) = &message {
            certify.check().map_err(|what| Malformed(format!("too many {what}")))?;
        }
        if let Self::Peers(peers) = &message {
            peers.check().map_err(|what| Malformed(what.to_owned()))?;
        }
        Ok(Some(message))
    }

    /// What there is too much of, where there is.
    fn check_counts(&self) -> Result<(), &'static str> {
        let at_most =
            |count: usize, most: usize, what| if count > most { Err(what) } else { Ok(()) };
        match self {
            Self::Compare(compare) => at_most(compare.known.len(), MAX_IDS, "known frontiers"),
            Self::Lanes(lanes) => at_most(lanes.lanes.len(), MAX_LANES, "authors"),
            Self::Reconcile(step) => at_most(step.bytes.len(), MAX_RECONCILE, "bytes"),
            Self::AskLanes(ask) => at_most(ask.entries.len(), MAX_IDS, "entries"),
            Self::Sums(sums) => at_most(sums.sums.len(), MAX_MARKED, "bytes"),
            Self::Marks(marks) => at_most(marks.marks.len(), MAX_MARKED, "buckets"),
            Self::AskMarked(ask) => at_most(ask.places.len(), MAX_MARKED, "entries"),
            Self::Pull(pull) => at_most(pull.wants.len(), MAX_LANES, "wants"),
            Self::PullTold(pull) => at_most(pull.wants.len() + pull.told.len(), MAX_LANES, "wants"),
            Self::Batch(batch) => {
                at_most(batch.events.len(), MAX_IDS, "events")?;
                batch.events.iter().try_for_each(Packet::check_count)
            }
            Self::Announce(packet) => packet.check_count(),
            Self::Ask(ask) => at_most(ask.items.len(), MAX_ASKED, "values"),
            Self::Part(part) => part.check(),
            Self::HistoryPart(part) => part.check(),
            Self::Have(ids) | Self::Graft(ids) => at_most(ids.events.len(), MAX_IDS, "ids"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use quipu_merge::{AuthorKey, Micros};

    use super::*;
    use crate::frontier::FrontierDigest;
    use crate::limits::{MAX_HISTORY_ITEMS, MAX_PART_LEN};

    #[test]
    fn fields_and_kinds_of_later_versions_are_skipped() {
        // [1, [[7, h'00…', 5, "new"]]]: a ping with one field more.
        let mut later = Vec::new();
        let mut e = minicbor::Encoder::new(&mut later);
        e.array(2).unwrap().u8(1).unwrap().array(1).unwrap();
        e.array(4)
            .unwrap()
            .u8(7)
            .unwrap()
            .bytes(&[0; 32])
            .unwrap()
            .u8(5)
            .unwrap()
            .str("new")
            .unwrap();
        let ping = Ping { number: 7, frontier: FrontierDigest([0; 32]), time: Micros(5) };
        assert_eq!(Message::decode(Channel::Control, &later).unwrap(), Some(Message::Ping(ping)));
        let mut unknown = Vec::new();
        let mut e = minicbor::Encoder::new(&mut unknown);
        e.array(2).unwrap().u8(200).unwrap().array(1).unwrap().str("new").unwrap();
        assert_eq!(Message::decode(Channel::Control, &unknown).unwrap(), None);
    }

    #[test]
    fn a_message_stays_on_its_channel() {
        let prune = Message::Prune.encode();
        assert_eq!(Message::decode(Channel::Gossip, &prune).unwrap(), Some(Message::Prune));
        assert!(Message::decode(Channel::Sync, &prune).is_err());
    }

    #[test]
    fn places_are_bounded_and_text_is_checked() {
        let read = |counts: &[usize], place: &str| {
            let known = |count: &usize| KnownPeer {
                key: AuthorKey([1; 32]),
                places: vec![place.to_owned(); *count],
            };
            let message = Message::Peers(Peers { peers: counts.iter().map(known).collect() });
            Message::decode(Channel::Control, &message.encode())
        };
        assert!(read(&[4; 64], "host:1").is_ok());
        assert!(read(&[1; 65], "host:1").is_err());
        assert!(read(&[5], "host:1").is_err());
        assert!(read(&[1], "http://host:1").is_err());
        let long = format!("{}:1", "a".repeat(254));
        assert!(read(&[4; 48], &long).is_ok());
        assert!(read(&[4; 49], &long).is_err());
    }

    #[test]
    fn parts_of_starts_and_of_history_are_bounded() {
        let read = |message: &Message| Message::decode(Channel::Blocks, &message.encode());
        let part = |len| Message::Part(Part { offset: 7, bytes: Some(vec![1; len].into()) });
        assert_eq!(read(&part(MAX_PART_LEN)), Ok(Some(part(MAX_PART_LEN))));
        assert!(read(&part(MAX_PART_LEN + 1)).is_err());
        let event = Packet { event: vec![1], body: vec![2], openings: Vec::new() };
        let history = |count| {
            let items = Some(vec![HistoryItem::Event(event.clone()); count]);
            Message::HistoryPart(HistoryPart { from: 0, items })
        };
        assert_eq!(read(&history(MAX_HISTORY_ITEMS)), Ok(Some(history(MAX_HISTORY_ITEMS))));
        assert!(read(&history(MAX_HISTORY_ITEMS + 1)).is_err());
        for start in [Start::Nothing, Start::Later] {
            assert_eq!(read(&Message::Start(start)), Ok(Some(Message::Start(start))));
        }
    }

    #[test]
    fn what_is_claimed_takes_no_memory() {
        // [22, [[0xffff_ffff_ffff_ffff ids …
        let mut claim = Vec::new();
        let mut e = minicbor::Encoder::new(&mut claim);
        e.array(2)
            .unwrap()
            .u8(22)
            .unwrap()
            .array(1)
            .unwrap()
            .array(1)
            .unwrap()
            .array(u64::MAX)
            .unwrap();
        assert!(Message::decode(Channel::Gossip, &claim).is_err());
    }
}
