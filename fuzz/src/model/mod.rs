//! The ledger as the specification's words describe it: sets of ancestors, and no cleverness.
//!
//! Everything is computed from scratch at every question, in quadratic time or worse.

mod cut;
mod json;
mod roles;
mod state;
mod tree;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{
    AuthorKey, Body, BodyId, Event, EventId, ForkPolicy, Genesis, OpeningId, Policy, Reason,
    SignedEvent,
};

pub use cut::ModelCut;
pub use state::Leaf;
pub use tree::{log_root, state_root};

/// Position of an event in the order of its admission, which is the model's private name for it.
pub(crate) type Index = usize;
/// A set of events.
pub(crate) type Set = BTreeSet<Index>;

/// An admitted event with everything that it follows.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The event's id.
    pub id: EventId,
    /// The event's content.
    pub event: Event,
    /// The event's operations.
    pub body: Body,
    /// Every event that is reached through `prev` and `parents`.
    pub ancestors: Set,
    /// Every event that is reached through `prev` alone.
    pub chain: Set,
}

/// A ledger: the admitted events, and the openings that are at hand.
#[derive(Clone, Debug, Default)]
pub struct Model {
    held: Vec<Held>,
    index: BTreeMap<EventId, Index>,
    openings: BTreeMap<OpeningId, Vec<u8>>,
}

impl Model {
    /// A ledger without events; the first one admitted is its genesis.
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits an event by rules 3 to 8 of section 2; one that is held already stays.
    ///
    /// # Errors
    /// The first rule that fails; nothing has changed then.
    pub fn admit(&mut self, signed: &SignedEvent, body: &[u8]) -> Result<(), Reason> {
        if self.index.contains_key(&signed.id()) {
            return Ok(());
        }
        let event = signed.event();
        let founds = event.prev.is_none() && event.parents.is_empty();
        if founds != self.held.is_empty() {
            // Without a genesis every other event only waits for what it follows.
            return Err(if founds { Reason::Genesis } else { Reason::Missing });
        }
        let follows = event
            .follows()
            .map(|id| self.index.get(&id).copied().ok_or(Reason::Missing))
            .collect::<Result<Set, Reason>>()?;
        self.check_sequence(event, founds)?;
        if follows.iter().any(|&before| self.held[before].event.time >= event.time) {
            return Err(Reason::Time);
        }
        let body = read_body(event, body)?;
        // A genesis operation is the first event's, and only its.
        if matches!(body, Body::Genesis(_)) != founds {
            return Err(Reason::Body);
        }
        let ancestors = self.closure(&follows);
        let any_grant = |_: Index| true;
        let no_revoke = |_: Index| false;
        if !founds && !self.allowed(event.author, &body, &ancestors, &any_grant, &no_revoke) {
            return Err(Reason::Unauthorised);
        }
        let mut chain = Set::new();
        if let Some(&prev) = event.prev.and_then(|prev| self.index.get(&prev)) {
            chain.clone_from(&self.held[prev].chain);
            chain.insert(prev);
        }
        self.index.insert(signed.id(), self.held.len());
        self.held.push(Held { id: signed.id(), event: event.clone(), body, ancestors, chain });
        Ok(())
    }

    /// Takes the block of an opening, whatever it holds.
    pub fn opening(&mut self, bytes: &[u8]) {
        self.openings.insert(OpeningId::of(bytes), bytes.to_vec());
    }

    /// Whether the event is admitted.
    pub fn holds_event(&self, id: EventId) -> bool {
        self.index.contains_key(&id)
    }

    /// When a held event says that it was written, in microseconds; 0 where it is not held.
    pub fn time(&self, id: EventId) -> u64 {
        self.index.get(&id).map_or(0, |&e| self.held[e].event.time.0)
    }

    /// Ids of the events that this one follows, directly or not; none where it is not held.
    pub fn ancestors(&self, id: EventId) -> BTreeSet<EventId> {
        let ancestors = self.index.get(&id).map(|&e| &self.held[e].ancestors);
        ancestors.into_iter().flatten().map(|&e| self.held[e].id).collect()
    }

    /// The vector clock of an event: the largest `seq` of each author among it and its ancestors.
    pub fn clocks(&self, id: EventId) -> BTreeMap<AuthorKey, u64> {
        self.index.get(&id).map(|&e| self.clock(e)).unwrap_or_default()
    }

    /// Every admitted event, in the order of admission.
    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    /// Whether `a` is reached from `b`.
    fn precedes(&self, a: Index, b: Index) -> bool {
        self.held[b].ancestors.contains(&a)
    }

    /// Whether two different events do not know each other.
    fn concurrent(&self, a: Index, b: Index) -> bool {
        a != b && !self.precedes(a, b) && !self.precedes(b, a)
    }

    /// These events and all their ancestors.
    pub(crate) fn closure(&self, heads: &Set) -> Set {
        let ancestors = heads.iter().flat_map(|&head| self.held[head].ancestors.iter().copied());
        heads.iter().copied().chain(ancestors).collect()
    }

    /// The vector clock of a held event.
    fn clock(&self, e: Index) -> BTreeMap<AuthorKey, u64> {
        self.largest_seqs(&self.closure(&Set::from([e])))
    }

    /// The largest `seq` of each author in a set of events.
    fn largest_seqs(&self, set: &Set) -> BTreeMap<AuthorKey, u64> {
        let mut largest = BTreeMap::new();
        for Held { event, .. } in set.iter().map(|&e| &self.held[e]) {
            let seq = largest.entry(event.author).or_insert(0);
            *seq = event.seq.0.max(*seq);
        }
        largest
    }

    /// The operation of the first event.
    fn genesis(&self) -> Option<&Genesis> {
        match self.held.first().map(|first| &first.body) {
            Some(Body::Genesis(genesis)) => Some(genesis),
            _ => None,
        }
    }

    fn members_only(&self) -> bool {
        self.genesis().is_some_and(|genesis| genesis.policy == Policy::Members)
    }

    fn excludes_forks(&self) -> bool {
        self.genesis().is_some_and(|genesis| genesis.forks == ForkPolicy::Exclude)
    }

    fn check_sequence(&self, event: &Event, founds: bool) -> Result<(), Reason> {
        let prev = event.prev.and_then(|prev| self.index.get(&prev)).map(|&e| &self.held[e].event);
        let continues = match prev {
            Some(prev) => prev.author == event.author && prev.seq.0 + 1 == event.seq.0,
            None => {
                let founder = self.held.first().map(|first| first.event.author);
                event.seq.0 == 1 && (founds || founder != Some(event.author))
            }
        };
        if continues { Ok(()) } else { Err(Reason::Sequence) }
    }
}

fn read_body(event: &Event, bytes: &[u8]) -> Result<Body, Reason> {
    if BodyId::of(bytes) != event.body || bytes.len() != event.size as usize {
        return Err(Reason::Body);
    }
    Body::decode(bytes).map_err(|_| Reason::Body)
}
