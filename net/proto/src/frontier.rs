//! The frontier of a replica: for each author the last events of its branches.
//!
//! Who holds an event holds what precedes it, so two replicas with equal frontiers hold the same events.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, EventId, Seq};

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

/// An author with the last events of its branches.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LaneTips {
    /// Whose they are.
    #[cbor(n(0), with = "wire::author")]
    pub author: AuthorKey,
    /// Ascending; one, unless the author forks.
    #[n(1)]
    pub tips: Vec<Tip>,
}

impl LaneTips {
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
    /// The version of the frontier in which it changed last.
    changed: u64,
}

impl Frontier {
    /// Takes up the frontier of a replica.
    pub fn new(lanes: impl IntoIterator<Item = LaneTips>) -> Self {
        let lanes = lanes.into_iter().map(|LaneTips { author, mut tips }| {
            tips.sort_unstable();
            (author, Lane { tips, changed: 0 })
        });
        Self { lanes: lanes.collect(), version: 0, digest: OnceCell::new() }
    }

    /// Adds an event, which the replica holds from now on.
    pub fn advance(&mut self, event: &Placed) {
        self.version += 1;
        self.digest.take();
        let lane = self.lanes.entry(event.author);
        let lane = lane.or_insert_with(|| Lane { tips: Vec::new(), changed: 0 });
        lane.changed = self.version;
        if lane.tips.contains(&event.tip) {
            return;
        }
        // What follows no tip starts a branch.
        lane.tips.retain(|tip| Some(tip.id) != event.prev);
        lane.tips.push(event.tip);
        lane.tips.sort_unstable();
    }

    /// The last events of an author, ascending.
    pub fn tips(&self, author: AuthorKey) -> &[Tip] {
        self.lanes.get(&author).map_or(&[], |lane| &lane.tips)
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
    use super::*;

    fn placed(author: u8, seq: u64, id: u8, prev: Option<u8>) -> Placed {
        let event = |id| EventId([id; 32]);
        let tip = Tip { seq: Seq(seq), id: event(id) };
        Placed { author: AuthorKey([author; 32]), tip, prev: prev.map(event) }
    }

    #[test]
    fn the_digest_depends_on_the_events_alone() {
        let events = [
            placed(1, 1, 1, None),
            placed(1, 2, 2, Some(1)),
            placed(1, 2, 3, Some(1)),
            placed(2, 1, 4, None),
        ];
        let mut one = Frontier::default();
        events.iter().for_each(|event| one.advance(event));
        let mut other = Frontier::default();
        [3, 0, 2, 1].iter().for_each(|at| other.advance(&events[*at]));
        // Both branches end in a tip; the event before them is none.
        assert_eq!(one.tips(AuthorKey([1; 32])).len(), 2);
        assert_eq!(one.digest(), other.digest());
        assert_eq!(one.digest(), Frontier::new(one.since(None)).digest());
    }

    #[test]
    fn an_event_again_changes_nothing() {
        let mut frontier = Frontier::default();
        [placed(1, 1, 1, None), placed(1, 2, 2, Some(1))].iter().for_each(|e| frontier.advance(e));
        let digest = frontier.digest();
        frontier.advance(&placed(1, 2, 2, Some(1)));
        assert_eq!(frontier.digest(), digest);
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
