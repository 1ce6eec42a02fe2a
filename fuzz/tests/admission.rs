//! What is admitted and what is refused, and why: the fast code against the model.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has done its work"
)]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

mod cases;
mod dumps;
mod fast;

use std::collections::BTreeMap;

use cases::{Case, on_each};
use dumps::{openings, same_dump};
use ed25519_dalek::SigningKey;
use fast::deliver;
use quipu_fuzz::{Dice, GeneratedEvent, Model, ModelCut};
use quipu_merge::{
    AuthorKey, Body, BodyId, Control, Event, EventId, History as Fast, MAX_PARENTS, Micros,
    ParsedEvent, Reason, Role, Seq, SignedEvent,
};

/// Events with something changed: held ones, written anew by whoever has the keys.
struct Forger<'a> {
    keys: Vec<SigningKey>,
    events: &'a [GeneratedEvent],
    dice: Dice,
}

impl Forger<'_> {
    /// A changed event, with a body that may be another one's; `None` where it breaks a limit
    /// that keeps it from being signed at all.
    fn forge(&mut self) -> Option<(SignedEvent, Vec<u8>)> {
        let chosen = self.dice.pick(self.events)?.clone();
        let (mut event, mut body) = (chosen.signed.event().clone(), chosen.body);
        for _ in 0..=self.dice.below(3) {
            self.change(&mut event, &mut body);
        }
        event.parents.sort();
        event.parents.dedup();
        event.parents.retain(|&parent| Some(parent) != event.prev);
        event.parents.truncate(MAX_PARENTS);
        let key = self.keys.iter().find(|key| author_of(key) == event.author)?;
        Some((event.clone().sign(key).ok()?, body))
    }

    fn change(&mut self, event: &mut Event, body: &mut Vec<u8>) {
        let other = self.dice.pick(self.events).cloned();
        let other = other.as_ref().unwrap();
        match self.dice.below(14) {
            0 => event.seq = Seq(event.seq.0 + 1),
            1 => event.seq = Seq(event.seq.0.saturating_sub(1)),
            2 => event.time = other.signed.event().time,
            3 => event.time = Micros(event.time.0.saturating_add(self.dice.below(3) as u64)),
            4 => event.prev = None,
            5 => {
                event.prev = Some(other.signed.id());
                event.seq = other.signed.event().seq.next();
            }
            6 => event.parents.clear(),
            7 => event.parents.push(other.signed.id()),
            8 => event.parents.push(EventId([self.dice.below(256) as u8; 32])),
            9 => event.author = author_of(&self.keys[self.dice.below(self.keys.len())]),
            10 => take_body(event, body, other.body.clone()),
            11 => *body = other.body.clone(),
            12 => event.size += self.dice.below(2) as u32,
            _ => {
                let control = self.control(other.signed.id());
                take_body(event, body, Body::Control(vec![control]).encode().unwrap());
            }
        }
    }

    fn control(&mut self, event: EventId) -> Control {
        let author = author_of(&self.keys[self.dice.below(self.keys.len())]);
        match self.dice.below(3) {
            0 => Control::Grant { author, role: Role::Admin },
            1 => Control::Revoke { author },
            _ => Control::Redact { event },
        }
    }
}

fn take_body(event: &mut Event, body: &mut Vec<u8>, new: Vec<u8>) {
    event.body = BodyId::of(&new);
    event.size = new.len() as u32;
    *body = new;
}

fn author_of(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}

/// The generator's keys, and that of a stranger.
fn keys() -> Vec<SigningKey> {
    (1..=8).chain([99]).map(|byte| SigningKey::from_bytes(&[byte; 32])).collect()
}

/// How often each verdict came up.
type Seen = BTreeMap<Option<Reason>, usize>;

fn admit_forgeries(case: &Case, seen: &mut Seen) {
    let mut fast = deliver(&case.history.events().iter().collect::<Vec<_>>());
    let mut model = case.history.model().clone();
    let mut forger =
        Forger { keys: keys(), events: case.history.events(), dice: case.dice.clone() };
    for _ in 0..60 {
        let Some((event, body)) = forger.forge() else { continue };
        let parsed = ParsedEvent::decode(event.bytes()).unwrap();
        assert_eq!(parsed.verify().unwrap(), event);
        let want = model.admit(&event, &body);
        let got = fast.admit(&event, &body);
        assert_eq!(got.as_ref().err().map(|refusal| refusal.reason), want.err(), "{got:?}");
        assert_eq!(fast.get(event.id()).is_some(), model.holds_event(event.id()));
        *seen.entry(want.err()).or_default() += 1;
    }
    // What was admitted is held by both now, and what was refused has left no trace.
    let openings = openings(&case.history);
    same_dump(&fast, (&model, &openings), &ModelCut::All, &[]);
}

#[test]
fn changed_events_are_refused_for_the_same_reason() {
    let seen = std::cell::RefCell::new(Seen::new());
    on_each(10_000, 200, |case| admit_forgeries(case, &mut seen.borrow_mut()));
    let seen = seen.into_inner();
    for verdict in [
        None,
        Some(Reason::Genesis),
        Some(Reason::Missing),
        Some(Reason::Sequence),
        Some(Reason::Time),
        Some(Reason::Body),
        Some(Reason::Unauthorised),
    ] {
        assert!(seen.contains_key(&verdict), "{verdict:?} never comes up: {seen:?}");
    }
}

#[test]
fn changed_first_events_are_refused() {
    let seen = std::cell::RefCell::new(Seen::new());
    on_each(11_000, 200, |case| {
        let mut forger =
            Forger { keys: keys(), events: case.history.events(), dice: case.dice.clone() };
        for _ in 0..20 {
            let Some((event, body)) = forger.forge() else { continue };
            let got = Fast::new(&event, &body).err().map(|refusal| refusal.reason);
            let mut model = Model::new();
            let want = match model.admit(&event, &body).err() {
                // The model waits for what the event follows; where nothing is, it founds nothing.
                Some(Reason::Missing) => Some(Reason::Genesis),
                want => want,
            };
            assert_eq!(got, want);
            *seen.borrow_mut().entry(want).or_default() += 1;
        }
    });
    let seen = seen.into_inner();
    for verdict in [None, Some(Reason::Genesis), Some(Reason::Sequence), Some(Reason::Body)] {
        assert!(seen.contains_key(&verdict), "{verdict:?} never comes up: {seen:?}");
    }
}

/// Rule `signature` is judged on the bytes: a change anywhere is refused by it or by `encoding`.
#[test]
fn a_changed_byte_never_passes() {
    on_each(12_000, 20, |case| {
        let bytes = case.dice.pick(case.history.events()).unwrap().signed.bytes().to_vec();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << case.dice.below(8);
            let refusal = ParsedEvent::decode(&changed).and_then(ParsedEvent::verify).unwrap_err();
            assert!(refusal.reason <= Reason::Signature, "{refusal}");
            assert_eq!(refusal.event, EventId::of(&changed));
        }
    });
}
