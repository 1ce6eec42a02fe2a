//! Random ledgers: authors who see different parts of one history, collide, fork and fall out.

mod body;

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, Body, BodyId, Event, EventId, MAX_PARENTS, Micros, OpeningId, Seq, SignedEvent,
};

use crate::dice::Dice;
use crate::model::{Index, Model, ModelCut, Set};

/// When the first event is written, in microseconds since the Unix epoch.
const START: u64 = 1_790_000_000_000_000;
/// The last time at which a generator may write; leaves room for its leaps below 2^53.
const END: u64 = START * 2;
/// Most replicas in one history, copies of a forked author counted.
const MAX_REPLICAS: usize = 12;

/// How large a history becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of authors, at least 1 and at most 8.
    pub authors: usize,
    /// Number of attempts to write after genesis; the few that are not admitted are dropped.
    pub events: usize,
}

/// An admitted event with what it refers to.
#[derive(Clone, Debug)]
pub struct GeneratedEvent {
    /// The event.
    pub signed: SignedEvent,
    /// The bytes of its body.
    pub body: Vec<u8>,
    /// The openings that come with it; some of what its body refers to may never come.
    pub openings: Vec<(OpeningId, Vec<u8>)>,
}

/// A random ledger in a causal order, and the model that admitted it.
#[derive(Clone, Debug)]
pub struct History {
    events: Vec<GeneratedEvent>,
    authors: Vec<AuthorKey>,
    strife: usize,
    model: Model,
}

impl History {
    /// Invents a ledger. Ends early where the dice run out of bytes.
    pub fn generate(dice: &mut Dice, shape: Shape) -> Self {
        let keys =
            (0..shape.authors.clamp(1, 8)).map(|i| SigningKey::from_bytes(&[i as u8 + 1; 32]));
        let keys = keys.collect::<Vec<SigningKey>>();
        let authors = keys.iter().map(author_of).collect::<Vec<AuthorKey>>();
        // Calm ledgers show how data merges, wild ones how verdicts fall; few are both.
        let strife = dice.below(4);
        let mut history = Self { events: Vec::new(), authors, strife, model: Model::new() };
        history.found(dice, &keys);
        let mut replicas = keys
            .into_iter()
            .map(|key| Replica { author: author_of(&key), key, seen: Set::from([0]) })
            .collect::<Vec<Replica>>();
        for _ in 0..shape.events {
            if dice.is_spent() {
                break;
            }
            history.step(dice, &mut replicas);
        }
        history
    }

    /// The events, each after all that it follows.
    pub fn events(&self) -> &[GeneratedEvent] {
        &self.events
    }

    /// The authors, the founder first; not all of them need have written.
    pub fn authors(&self) -> &[AuthorKey] {
        &self.authors
    }

    /// The model that holds all events and openings.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// A random order of all events in which each still comes after all that it follows.
    pub fn shuffled(&self, dice: &mut Dice) -> Vec<&GeneratedEvent> {
        let held = self.model.held();
        let mut waiting = (0..held.len()).collect::<Set>();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let ready = |e: &&Index| held[**e].ancestors.is_disjoint(&waiting);
            let ready = waiting.iter().filter(ready).copied().collect::<Vec<Index>>();
            let Some(&next) = dice.pick(&ready) else { break };
            waiting.remove(&next);
            order.push(&self.events[next]);
        }
        order
    }

    /// Random certified cuts, each named by its heads and strictly containing the one before.
    pub fn certified(&self, dice: &mut Dice) -> Vec<Vec<EventId>> {
        let mut cuts = Vec::new();
        let mut last = Set::new();
        for _ in 0..dice.below(5) {
            // Early cuts leave more that can come too late.
            let limit = self.events.len().div_ceil(1 + dice.below(4));
            let heads = (0..=dice.below(3)).map(|_| dice.below(limit)).chain(last.iter().copied());
            let cut = self.model.closure(&heads.collect::<Set>());
            if cut != last {
                cuts.push(self.model.heads_of(&cut));
                last = cut;
            }
        }
        cuts
    }

    /// A random cut of any kind.
    pub fn cut(&self, dice: &mut Dice) -> ModelCut {
        let mut event = || self.events[dice.below(self.events.len())].signed.clone();
        let (a, b) = (event(), event());
        match dice.below(4) {
            0 => ModelCut::All,
            1 => ModelCut::Heads(vec![a.id(), b.id()]),
            2 => {
                let mut clock = self.model.clocks(a.id());
                for (author, seq) in self.model.clocks(b.id()) {
                    let largest = clock.entry(author).or_insert(0);
                    *largest = seq.max(*largest);
                }
                if let Some(&author) = dice.pick(&self.authors) {
                    clock.entry(author).and_modify(|seq| *seq = seq.saturating_sub(1));
                }
                ModelCut::Clock(clock)
            }
            _ => ModelCut::Time(a.event().time.0 - dice.below(2) as u64),
        }
    }

    /// Writes the first event.
    fn found(&mut self, dice: &mut Dice, keys: &[SigningKey]) {
        let body = Body::Genesis(body::genesis(dice, &self.authors));
        let draft = Draft { prev: None, parents: Vec::new(), time: START, seq: 1 };
        self.write(&keys[0], draft, &body, Vec::new());
    }

    /// One replica hears from others, perhaps, and writes.
    fn step(&mut self, dice: &mut Dice, replicas: &mut Vec<Replica>) {
        let at = dice.below(replicas.len());
        if dice.chance(50) {
            self.sync(dice, at, replicas);
        }
        let before = replicas[at].clone();
        let replica = &mut replicas[at];
        let own = self.own(replica);
        let forks = dice.chance(2 * self.strife);
        let copied = forks && dice.chance(60);
        let prev = if forks { self.older(dice, replica, &own) } else { self.tip(dice, &own) };
        if copied {
            // A store restored from an old copy: it has forgotten all that follows the copy.
            let kept = prev.into_iter().chain([0]).collect::<Set>();
            replica.seen = self.model.closure(&kept);
        }
        let draft = self.draft(dice, prev, &replica.seen);
        let key = replica.key.clone();
        let past = replica.seen.clone();
        // Whoever may not do what it wants to falls back to writing data, as programs would.
        for attempt in 0..2 {
            let wish = body::Wish { author: replica.author, past: &past, data_only: attempt > 0 };
            let (body, openings) = self.body(dice, &wish);
            if let Some(e) = self.write(&key, draft.clone(), &body, openings) {
                replica.seen.insert(e);
                // The other store of the author goes on from where it was.
                if forks && replicas.len() < MAX_REPLICAS {
                    replicas.push(before);
                }
                return;
            }
        }
    }

    /// Takes over what another replica has seen, or a part of it.
    fn sync(&self, dice: &mut Dice, at: usize, replicas: &mut [Replica]) {
        let other = replicas[dice.below(replicas.len())].seen.clone();
        let heard = if dice.chance(30) {
            let other = other.into_iter().collect::<Vec<Index>>();
            self.model.closure(&dice.pick(&other).copied().into_iter().collect())
        } else {
            other
        };
        replicas[at].seen.extend(heard);
    }

    /// The events that a replica has seen of its own author.
    fn own(&self, replica: &Replica) -> Vec<Index> {
        let by_author = |&&e: &&Index| self.model.held()[e].event.author == replica.author;
        replica.seen.iter().filter(by_author).copied().collect()
    }

    /// The latest of an author's own events, one of them where its branches are equally long.
    fn tip(&self, dice: &mut Dice, own: &[Index]) -> Option<Index> {
        let seq = |e: Index| self.model.held()[e].event.seq;
        let last = own.iter().map(|&e| seq(e)).max()?;
        let tips = own.iter().copied().filter(|&e| seq(e) == last).collect::<Vec<Index>>();
        dice.pick(&tips).copied()
    }

    /// Any of an author's own events, or none so that its chain starts anew.
    fn older(&self, dice: &mut Dice, replica: &Replica, own: &[Index]) -> Option<Index> {
        let founder = self.authors.first() == Some(&replica.author);
        if !founder && dice.chance(25) { None } else { dice.pick(own).copied() }
    }

    /// The place of a new event that continues `prev` and has seen `seen`.
    fn draft(&self, dice: &mut Dice, prev: Option<Index>, seen: &Set) -> Draft {
        let held = self.model.held();
        let id = |e: Index| held[e].id;
        let mut parents = self.model.heads_of(seen);
        if parents.len() > 1 && dice.chance(10) {
            // Writers may leave heads out, such as those of void events.
            parents.remove(dice.below(parents.len()));
        }
        if dice.chance(4) {
            // No rule keeps a parent from being an ancestor of another.
            let seen = seen.iter().copied().collect::<Vec<Index>>();
            parents.extend(dice.pick(&seen).map(|&e| id(e)));
        }
        let prev_id = prev.map(id);
        parents.retain(|&parent| Some(parent) != prev_id);
        if prev.is_none() && parents.is_empty() {
            parents.push(id(0));
        }
        parents.sort();
        parents.dedup();
        parents.truncate(MAX_PARENTS);
        let follows = held.iter().filter(|h| parents.contains(&h.id) || prev_id == Some(h.id));
        let largest = follows.map(|held| held.event.time.0).max().unwrap_or(START);
        let ahead = match dice.below(10) {
            0..6 => 1,
            6..9 => 1 + dice.below(6) as u64,
            _ => 1 + dice.below(1000) as u64,
        };
        let seq = prev.map_or(1, |prev| held[prev].event.seq.0 + 1);
        Draft { prev: prev_id, parents, time: largest.saturating_add(ahead).min(END), seq }
    }

    /// Signs an event and keeps it where the model admits it.
    fn write(
        &mut self,
        key: &SigningKey,
        draft: Draft,
        body: &Body,
        openings: Vec<(OpeningId, Vec<u8>)>,
    ) -> Option<Index> {
        let body = body.encode().ok()?;
        let event = Event {
            author: author_of(key),
            seq: Seq(draft.seq),
            prev: draft.prev,
            parents: draft.parents,
            time: Micros(draft.time),
            body: BodyId::of(&body),
            size: u32::try_from(body.len()).ok()?,
        };
        let signed = event.sign(key).ok()?;
        if self.model.holds_event(signed.id()) {
            return None;
        }
        self.model.admit(&signed, &body).ok()?;
        for (_, opening) in &openings {
            self.model.opening(opening);
        }
        self.events.push(GeneratedEvent { signed, body, openings });
        Some(self.events.len() - 1)
    }
}

/// One store of an author; a forked author has several.
#[derive(Clone, Debug)]
struct Replica {
    key: SigningKey,
    author: AuthorKey,
    seen: Set,
}

/// The place of an event in the ledger, before it has a body.
#[derive(Clone, Debug)]
struct Draft {
    prev: Option<EventId>,
    parents: Vec<EventId>,
    time: u64,
    seq: u64,
}

fn author_of(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}
