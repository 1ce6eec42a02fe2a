//! What peers send each other.
//!
//! Messages are CBOR, so that fields can be added: who does not know one skips it. A message of a kind
//! that is not known is ignored, since a later minor version may have more of them.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use quipu_merge::{BlockId, EventId, MAX_OPERATIONS, Micros};

use crate::channel::Channel;
use crate::frontier::{FrontierDigest, LaneTips, Tip};
use crate::limits::{MAX_ASKED, MAX_IDS, MAX_LANES, MAX_RECONCILE};
use crate::wire;

/// The version of the protocol that is spoken here.
pub const VERSION: Version = Version { major: 1, minor: 0 };

/// A version of the protocol. Peers of one major version understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Version {
    /// Differs where peers cannot talk.
    #[n(0)]
    pub major: u16,
    /// Grows with what is added. The lesser of both is spoken.
    #[n(1)]
    pub minor: u16,
}

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
    /// Asks for values.
    #[n(30)]
    Ask(#[n(0)] Ask),
    /// The answer to the next that was asked for.
    #[n(31)]
    Given(#[n(0)] Given),
    /// What was asked for before and was not at hand has come.
    #[n(32)]
    Got(#[n(0)] Got),
}

/// Who speaks, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The version that is spoken.
    #[n(0)]
    pub version: Version,
    /// The ledger.
    #[cbor(n(1), with = "wire::event")]
    pub ledger: EventId,
    /// The wall clock.
    #[cbor(n(2), with = "wire::micros")]
    pub time: Micros,
}

/// A question with the state of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ping {
    /// Comes back with the answer.
    #[n(0)]
    pub number: u64,
    /// The frontier.
    #[n(1)]
    pub frontier: FrontierDigest,
    /// The wall clock.
    #[cbor(n(2), with = "wire::micros")]
    pub time: Micros,
}

/// How frontiers are to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Compare {
    /// The number of the comparison: both sides of one use the same.
    #[n(0)]
    pub round: u64,
    /// The frontier.
    #[n(1)]
    pub frontier: FrontierDigest,
    /// How many authors it has.
    #[n(2)]
    pub lanes: u64,
    /// Frontiers at which both were equal before, latest first.
    #[cbor(n(3), with = "wire::digests")]
    pub known: Vec<[u8; 32]>,
}

/// Entries of a frontier.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lanes {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// The entries.
    #[n(1)]
    pub lanes: Vec<LaneTips>,
    /// Whether these are the last.
    #[n(2)]
    pub last: bool,
}

/// A step of set reconciliation over the entries of frontiers (negentropy).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reconcile {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// What negentropy says.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// Asks for entries by their digests.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskLanes {
    /// The comparison.
    #[n(0)]
    pub round: u64,
    /// The digests of the entries.
    #[cbor(n(1), with = "wire::digests")]
    pub entries: Vec<[u8; 32]>,
}

/// Up to which events of an author something is wanted, and from where on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Want {
    /// The last events that are wanted, with what precedes them.
    #[cbor(n(0), with = "wire::events")]
    pub up_to: Vec<EventId>,
    /// Events of the same author that are held, with what precedes them.
    #[n(1)]
    pub held: Vec<Tip>,
}

/// Asks for events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pull {
    /// Its number.
    #[n(0)]
    pub pull: u64,
    /// What is wanted.
    #[n(1)]
    pub wants: Vec<Want>,
}

/// Events that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Batch {
    /// The number of the pull.
    #[n(0)]
    pub pull: u64,
    /// The events.
    #[n(1)]
    pub events: Vec<Packet>,
}

/// There are no more events for a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct End {
    /// The number of the pull.
    #[n(0)]
    pub pull: u64,
    /// Whether all has been sent that was asked for.
    #[n(1)]
    pub whole: bool,
}

/// What a pull may go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Credit {
    /// The number of the pull.
    #[n(0)]
    pub pull: u64,
    /// Length of what has been admitted, in bytes.
    #[n(1)]
    pub bytes: u64,
}

/// Ids of events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ids {
    /// The ids.
    #[cbor(n(0), with = "wire::events")]
    pub events: Vec<EventId>,
}

/// Something of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Item {
    /// A block of a long value.
    #[n(0)]
    Block(#[cbor(n(0), with = "wire::block")] BlockId),
    /// An opening.
    #[n(1)]
    Opening {
        /// The event whose value it opens.
        #[cbor(n(0), with = "wire::event")]
        event: EventId,
        /// The index of the operation in its body.
        #[n(1)]
        slot: u16,
    },
}

/// Asks for values.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ask {
    /// The number of the question.
    #[n(0)]
    pub request: u64,
    /// What is asked for; each is answered, in this order.
    #[n(1)]
    pub items: Vec<Item>,
}

/// What was asked for before and was not at hand has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Got {
    /// What has come.
    #[n(0)]
    pub item: Item,
}

/// The answer to the next that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Given {
    /// The number of the question.
    #[n(0)]
    pub request: u64,
    /// What was asked for, if it is at hand.
    #[n(1)]
    pub bytes: Option<ByteVec>,
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

    /// Its length, in bytes.
    pub fn len(&self) -> usize {
        let openings: usize = self.openings.iter().map(|opening| opening.opening.len() + 8).sum();
        self.event.len() + self.body.len() + openings + 16
    }

    /// Whether it holds nothing, which no event does.
    pub fn is_empty(&self) -> bool {
        self.event.is_empty()
    }
}

impl Message {
    /// The channel that it is sent on.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Hello(_) | Self::Ping(_) | Self::Pong(_) => Channel::Control,
            Self::Announce(_) | Self::Have(_) | Self::Graft(_) | Self::Prune => Channel::Gossip,
            Self::Ask(_) | Self::Given(_) | Self::Got(_) => Channel::Blocks,
            _ => Channel::Sync,
        }
    }

    /// Writes the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // A vector takes everything.
        let Ok(()) = minicbor::encode(self, &mut out) else { return Vec::new() };
        out
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
            Self::Pull(pull) => at_most(pull.wants.len(), MAX_LANES, "wants"),
            Self::Batch(batch) => {
                at_most(batch.events.len(), MAX_IDS, "events")?;
                batch.events.iter().try_for_each(Packet::check_count)
            }
            Self::Announce(packet) => packet.check_count(),
            Self::Ask(ask) => at_most(ask.items.len(), MAX_ASKED, "values"),
            Self::Have(ids) | Self::Graft(ids) => at_most(ids.events.len(), MAX_IDS, "ids"),
            _ => Ok(()),
        }
    }
}

impl Packet {
    fn check_count(&self) -> Result<(), &'static str> {
        if self.openings.len() > MAX_OPERATIONS { Err("openings") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
