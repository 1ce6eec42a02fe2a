//! The frontier of a replica: for each author the last events of its branches.
//!
//! Who holds an event holds what precedes it, so two replicas with equal frontiers hold the same events.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, EventId, Seq};

use crate::message::Message;
use crate::wire;

/// The last event of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Tip {
    /// Its position.
    #[cbor(n(0), with = "wire::seq")]
    pub seq: Seq,
    /// Its id.
    #[cbor(n(1), with = "wire::event")]
    pub id: EventId,
}

/// An author with the last events of its branches, or with some of them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LaneTips {
    /// Whose they are. Where only the first bytes have been told, the others are 0.
    #[cbor(n(0), with = "wire::short_author")]
    pub author: AuthorKey,
    /// Ascending; one, unless the author forks. Of many, a message may name a part.
    #[n(1)]
    pub tips: Vec<Tip>,
}

impl Tip {
    /// The most that its encoding may take, in bytes.
    pub const MAX_LEN: usize = 44;
}

impl LaneTips {
    /// The most that the encoding of one without branches may take, in bytes.
    pub const MAX_LEN: usize = 40;

    /// What tells this from any other entry of a frontier.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hash_lane(&mut hasher, self.author, &self.tips);
        *hasher.finalize().as_bytes()
    }
}

/// Where an admitted event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Whose it is.
    pub author: AuthorKey,
    /// Its position and id.
    pub tip: Tip,
    /// The author's event before it.
    pub prev: Option<EventId>,
}

/// What tells one frontier from another: BLAKE3 over its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct FrontierDigest(#[cbor(n(0), with = "wire::bytes32")] pub [u8; 32]);

/// The frontier of a replica.
#[derive(Clone, Debug, Default)]
pub struct Frontier {
    lanes: BTreeMap<AuthorKey, Lane>,
    /// Grows with every change.
    version: u64,
    digest: OnceCell<FrontierDigest>,
}

#[derive(Clone, Debug)]
struct Lane {
    tips: Vec<Tip>,
    /// Events that others follow and that were no tips then: those where branches part, and those
    /// that are told of after what follows them.
    followed: BTreeSet<EventId>,
    /// The version of the frontier in which it changed last.
    changed: u64,
}

impl Frontier {
    /// Takes up the frontier of a replica.
    pub fn new(lanes: impl IntoIterator<Item = LaneTips>) -> Self {
        let lanes = lanes.into_iter().map(|LaneTips { author, mut tips }| {
            tips.sort_unstable();
            (author, Lane { tips, followed: BTreeSet::new(), changed: 0 })
        });
        Self { lanes: lanes.collect(), version: 0, digest: OnceCell::new() }
    }

    /// Takes up the frontier of the replica anew.
    pub fn replace(&mut self, lanes: impl IntoIterator<Item = LaneTips>) {
        let changed = self.version + 1;
        let mut new = Self::new(lanes);
        for (author, lane) in &mut new.lanes {
            let same = self.lanes.get(author).filter(|before| before.tips == lane.tips);
            lane.changed = same.map_or(changed, |before| before.changed);
        }
        *self = Self { version: changed, ..new };
    }

    /// Adds an event, which the replica holds from now on and did not before. The order does not
    /// matter.
    pub fn advance(&mut self, event: &Placed) {
        self.version += 1;
        self.digest.take();
        let empty = || Lane { tips: Vec::new(), followed: BTreeSet::new(), changed: 0 };
        let lane = self.lanes.entry(event.author).or_insert_with(empty);
        lane.changed = self.version;
        // An author may have tens of thousands of branches: none is looked at that need not be.
        if let Some(prev) = event.prev {
            let before = Tip { seq: Seq(event.tip.seq.0.saturating_sub(1)), id: prev };
            match lane.tips.binary_search(&before) {
                Ok(at) => drop(lane.tips.remove(at)),
                Err(_) => drop(lane.followed.insert(prev)),
            }
        }
        if !lane.followed.contains(&event.tip.id)
            && let Err(at) = lane.tips.binary_search(&event.tip)
        {
            lane.tips.insert(at, event.tip);
        }
    }

    /// The last events of an author, ascending.
    pub fn tips(&self, author: AuthorKey) -> &[Tip] {
        self.lanes.get(&author).map_or(&[], |lane| &lane.tips)
    }

    /// The entry of an author.
    pub fn entry(&self, author: AuthorKey) -> LaneTips {
        LaneTips { author, tips: self.tips(author).to_vec() }
    }

    /// Leaves out most of each key in a message with entries, where nobody else's here starts alike.
    pub fn shorten(&self, message: &mut Message) {
        let Message::Lanes(lanes) = message else { return };
        for lane in &mut lanes.lanes {
            let short = wire::shortened(lane.author);
            if self.starting_with(short).nth(1).is_none() {
                lane.author = short;
            }
        }
    }

    /// The author that is meant, where only the first bytes have been told and exactly one here starts
    /// alike. Nothing is held of any other.
    pub fn in_full(&self, author: AuthorKey) -> AuthorKey {
        if wire::shortened(author) != author {
            return author;
        }
        let alike = self.lanes.range(author..).map(|(author, _)| author);
        wire::only_alike(author, alike).unwrap_or(author)
    }

    fn starting_with(&self, short: AuthorKey) -> impl Iterator<Item = AuthorKey> + '_ {
        let alike = self.lanes.range(short..).map(|(author, _)| *author);
        alike.take_while(move |author| wire::shortened(*author) == short)
    }

    /// How many authors there are.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether there is no author.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Grows with every change.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// All entries, or those that have changed since a version.
    pub fn since(&self, version: Option<u64>) -> impl Iterator<Item = LaneTips> + '_ {
        self.lanes
            .iter()
            .filter(move |(_, lane)| version.is_none_or(|version| lane.changed > version))
            .map(|(author, lane)| LaneTips { author: *author, tips: lane.tips.clone() })
    }

    /// What tells this frontier from others.
    pub fn digest(&self) -> FrontierDigest {
        *self.digest.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            for (author, lane) in &self.lanes {
                hash_lane(&mut hasher, *author, &lane.tips);
            }
            FrontierDigest(*hasher.finalize().as_bytes())
        })
    }
}

fn hash_lane(hasher: &mut blake3::Hasher, author: AuthorKey, tips: &[Tip]) {
    hasher.update(&author.0);
    hasher.update(&(tips.len() as u64).to_be_bytes());
    for tip in tips {
        hasher.update(&tip.seq.0.to_be_bytes());
        hasher.update(&tip.id.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channel::Channel;
    use crate::message::Lanes;

    fn placed(author: u8, seq: u64, id: u8, prev: Option<u8>) -> Placed {
        let event = |id| EventId([id; 32]);
        let tip = Tip { seq: Seq(seq), id: event(id) };
        Placed { author: AuthorKey([author; 32]), tip, prev: prev.map(event) }
    }

    proptest! {
        /// Two authors, one of whom forks twice.
        #[test]
        fn the_order_of_events_does_not_matter(
            order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
            middle in 0..8_usize,
        ) {
            let events = [
                placed(1, 1, 1, None),
                placed(1, 2, 2, Some(1)),
                placed(1, 2, 3, Some(1)),
                placed(1, 3, 4, Some(3)),
                placed(1, 3, 5, Some(3)),
                placed(1, 3, 6, Some(2)),
                placed(2, 1, 7, None),
                placed(2, 2, 8, Some(7)),
            ];
            let mut frontier = Frontier::default();
            order.iter().for_each(|at| frontier.advance(&events[*at]));
            let ids = |author| -> Vec<u8> {
                frontier.tips(AuthorKey([author; 32])).iter().map(|tip| tip.id.0[0]).collect()
            };
            prop_assert_eq!(ids(1), [4, 5, 6]);
            prop_assert_eq!(ids(2), [8]);
            // One that is taken up in between goes on as well.
            let mut taken_up = Frontier::default();
            events[..middle].iter().for_each(|event| taken_up.advance(event));
            let mut taken_up = Frontier::new(taken_up.since(None));
            events[middle..].iter().for_each(|event| taken_up.advance(event));
            prop_assert_eq!(taken_up.digest(), frontier.digest());
        }
    }

    #[test]
    fn an_author_is_named_by_what_nobody_else_starts_with() {
        let author = |at: usize| {
            let mut key = [7; 32];
            key[at] = 8;
            AuthorKey(key)
        };
        let tips = vec![Tip { seq: Seq(1), id: EventId([1; 32]) }];
        let lane = |at| LaneTips { author: author(at), tips: tips.clone() };
        let own = Frontier::new([lane(3), lane(10), lane(20)]);
        let lanes = Lanes { round: 1, lanes: [3, 10, 20].map(lane).to_vec(), last: true };
        let mut message = Message::Lanes(lanes.clone());
        own.shorten(&mut message);
        let bytes = message.encode();
        assert_eq!(bytes.len() + 25, Message::Lanes(lanes.clone()).encode().len());
        let read = Message::decode(Channel::Sync, &bytes).unwrap().unwrap();
        assert_eq!(read, message);
        let Message::Lanes(mut short) = read else { panic!("{read:?}") };
        assert_ne!(short, lanes);
        short.lanes.iter_mut().for_each(|lane| lane.author = own.in_full(lane.author));
        assert_eq!(short, lanes);
        // Of two that start alike, neither is meant; who is not known stays short.
        let alike = wire::shortened(author(10));
        assert_eq!(own.in_full(alike), alike);
        let unknown = wire::shortened(AuthorKey([9; 32]));
        assert_eq!(own.in_full(unknown), unknown);
    }

    #[test]
    fn what_has_changed_since_a_version_is_told() {
        let mut frontier = Frontier::default();
        frontier.advance(&placed(1, 1, 1, None));
        let version = frontier.version();
        frontier.advance(&placed(2, 1, 2, None));
        let changed: Vec<_> = frontier.since(Some(version)).map(|lane| lane.author).collect();
        assert_eq!(changed, [AuthorKey([2; 32])]);
    }
}
