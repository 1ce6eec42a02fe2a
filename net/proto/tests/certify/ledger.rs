//! All events of a simulated ledger, and what follows from cuts of them.

use std::collections::BTreeMap;

use quipu_merge::{
    AuthorKey, Body, BodyId, Checkpoint, CheckpointId, Control, Cut, CutBlock, Event, EventId,
    ForkPolicy, Genesis, Height, History, Key, Leaf, LogTree, Micros, Operation, Policy, Role, Seq,
    ValidatorsBlock, event_leaf_hash, state_root,
};
use quipu_proto::Parts;

use super::keys;

/// Who writes control events.
pub const ADMIN: usize = keys::COUNT - 1;

/// Events by number, as bits.
pub type Set = Vec<u64>;

pub fn has(set: &Set, event: usize) -> bool {
    set.get(event / 64).is_some_and(|word| word >> (event % 64) & 1 == 1)
}

pub fn add(set: &mut Set, others: &Set) {
    set.resize(set.len().max(others.len()), 0);
    set.iter_mut().zip(others).for_each(|(word, other)| *word |= other);
}

pub fn covers(set: &Set, others: &Set) -> bool {
    others.iter().enumerate().all(|(at, word)| word & !set.get(at).copied().unwrap_or(0) == 0)
}

pub fn count(set: &Set) -> u64 {
    set.iter().map(|word| u64::from(word.count_ones())).sum()
}

fn bits(set: &Set) -> impl Iterator<Item = usize> + '_ {
    (0..set.len() * 64).filter(|event| has(set, *event))
}

struct Known {
    id: EventId,
    author: usize,
    seq: u64,
    time: Micros,
    /// Itself and what precedes it.
    past: Set,
}

/// A checkpoint that has been derived, and what the next needs of it.
#[derive(Clone)]
struct Derivation {
    parts: Parts,
    set: Set,
    /// The largest time of the events that the one before does not hold.
    newest: Micros,
    log: LogTree,
    cuts: Vec<Cut>,
}

/// All events of a simulated ledger, wherever they are held.
pub struct Ledger {
    pub genesis: Genesis,
    history: History,
    events: Vec<Known>,
    numbers: BTreeMap<EventId, usize>,
    by_id: BTreeMap<CheckpointId, Derivation>,
    by_cut: BTreeMap<(Option<CheckpointId>, Vec<EventId>), Option<CheckpointId>>,
}

impl Ledger {
    pub fn new(validators: usize) -> Self {
        let genesis = Genesis {
            name: "simulated".to_owned(),
            policy: Policy::Open,
            forks: ForkPolicy::Keep,
            admins: Vec::new(),
            validators: (0..validators).map(keys::key).collect(),
        };
        let body = Body::Genesis(genesis.clone());
        let (signed, body) = sign(ADMIN, Seq::FIRST, None, Vec::new(), Micros(1_000_000), &body);
        let history = History::new(&signed, &body).unwrap();
        let (id, time) = (signed.id(), Micros(1_000_000));
        let known = Known { id, author: ADMIN, seq: 1, time, past: vec![1] };
        Self {
            genesis,
            history,
            events: vec![known],
            numbers: BTreeMap::from([(id, 0)]),
            by_id: BTreeMap::new(),
            by_cut: BTreeMap::new(),
        }
    }

    pub fn id(&self) -> EventId {
        self.events[0].id
    }

    /// What follows an event, with what precedes it.
    pub fn past(&self, id: EventId) -> Option<&Set> {
        self.numbers.get(&id).map(|number| &self.events[*number].past)
    }

    /// The events of a set that no other follows, ascending.
    pub fn heads(&self, set: &Set) -> Vec<EventId> {
        let mut followed = Set::new();
        let mut heads = Vec::new();
        let mut all: Vec<_> = bits(set).collect();
        all.reverse();
        for event in all {
            if !has(&followed, event) {
                heads.push(self.events[event].id);
            }
            add(&mut followed, &self.events[event].past);
        }
        heads.sort_unstable();
        heads
    }

    /// A new event of an author on top of a set. Its number is the highest bit of what is returned.
    pub fn write(
        &mut self,
        author: usize,
        set: &Set,
        time: Micros,
        grant: Option<(usize, bool)>,
    ) -> Set {
        let own = bits(set).filter(|event| self.events[*event].author == author);
        let prev = own.max_by_key(|event| self.events[*event].seq);
        let seq = prev.map_or(1, |prev| self.events[prev].seq + 1);
        let prev = prev.map(|prev| self.events[prev].id);
        let heads = self.heads(set);
        let last = heads.iter().map(|id| self.events[self.numbers[id]].time.0).max().unwrap_or(0);
        let last = last.max(prev.map_or(0, |id| self.events[self.numbers[&id]].time.0));
        let time = Micros(time.0.max(last + 1));
        let parents = heads.into_iter().filter(|head| Some(*head) != prev).take(64).collect();
        let body = match grant {
            Some((to, true)) => {
                Body::Control(vec![Control::Grant { author: keys::key(to), role: Role::Validator }])
            }
            Some((to, false)) => Body::Control(vec![Control::Revoke { author: keys::key(to) }]),
            None => {
                let key = Key::new(&format!("k{}", seq % 3)).unwrap();
                Body::Data(vec![Operation::Inc { key, by: 1.try_into().unwrap() }])
            }
        };
        let (signed, body) = sign(author, Seq(seq), prev, parents, time, &body);
        self.history.admit(&signed, &body).unwrap();
        let number = self.events.len();
        let mut past = set.clone();
        past.resize(past.len().max(number / 64 + 1), 0);
        past[number / 64] |= 1 << (number % 64);
        self.numbers.insert(signed.id(), number);
        self.events.push(Known { id: signed.id(), author, seq, time, past: past.clone() });
        past
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// The events of an author in a set.
    pub fn of(&self, author: usize, set: &Set) -> Set {
        let mut of = vec![0; set.len()];
        for event in bits(set).filter(|event| self.events[*event].author == author) {
            of[event / 64] |= 1 << (event % 64);
        }
        of
    }

    /// All events of an author.
    pub fn all_of(&self, author: usize) -> Set {
        let all = vec![u64::MAX; self.events.len() / 64 + 1];
        let mut known = all;
        let len = self.events.len();
        for event in len..known.len() * 64 {
            known[event / 64] &= !(1 << (event % 64));
        }
        self.of(author, &known)
    }

    /// The largest time in a set.
    pub fn time(&self, set: &Set) -> Micros {
        bits(set).map(|event| self.events[event].time).max().unwrap_or(Micros(0))
    }

    pub fn set_of(&self, id: CheckpointId) -> Option<&Set> {
        self.by_id.get(&id).map(|derivation| &derivation.set)
    }

    /// The largest time of the events of a checkpoint that the one before it does not hold.
    pub fn newest(&self, id: CheckpointId) -> Option<Micros> {
        self.by_id.get(&id).map(|derivation| derivation.newest)
    }

    /// The events of a set that are dated no later.
    pub fn until(&self, set: &Set, time: Micros) -> Set {
        let mut until = vec![0; set.len()];
        for event in bits(set).filter(|event| self.events[*event].time <= time) {
            until[event / 64] |= 1 << (event % 64);
        }
        until
    }

    /// A cut that a quorum reports, of what is held: more than the last checkpoint's, or nothing.
    pub fn choose(
        &self,
        reports: &[(AuthorKey, Vec<EventId>)],
        quorum: usize,
        held: &Set,
        before: Option<CheckpointId>,
        due: Micros,
    ) -> Option<Vec<EventId>> {
        let sets: Vec<_> = reports
            .iter()
            .map(|(_, heads)| {
                let mut set = Set::new();
                heads.iter().filter_map(|id| self.past(*id)).for_each(|past| add(&mut set, past));
                set
            })
            .collect();
        let before = before.and_then(|id| self.set_of(id));
        let mut cut = before.cloned().unwrap_or_default();
        for event in bits(held) {
            let holders = sets.iter().filter(|set| has(set, event)).count();
            let known = &self.events[event];
            // Its past is dated before it, and held by whoever holds it.
            if holders >= quorum && known.time <= due {
                add(&mut cut, &known.past);
            }
        }
        (count(&cut) > before.map_or(0, count)).then(|| self.heads(&cut))
    }

    /// The checkpoint of a cut after another, if it is one.
    pub fn derive(&mut self, before: Option<CheckpointId>, heads: &[EventId]) -> Option<Parts> {
        let at = (before, heads.to_vec());
        if let Some(known) = self.by_cut.get(&at) {
            return known.map(|id| self.by_id[&id].parts.clone());
        }
        let derived = self.derive_anew(before, heads);
        let id = derived.as_ref().map(|derived| derived.parts.id());
        self.by_cut.insert(at, id);
        let derived = derived?;
        let parts = derived.parts.clone();
        self.by_id.insert(parts.id(), derived);
        Some(parts)
    }

    fn derive_anew(&self, before: Option<CheckpointId>, heads: &[EventId]) -> Option<Derivation> {
        let mut set = Set::new();
        for head in heads {
            add(&mut set, self.past(*head)?);
        }
        let last = match before {
            Some(id) => Some(self.by_id.get(&id)?),
            None => None,
        };
        let old = last.map(|last| last.set.clone()).unwrap_or_default();
        if self.heads(&set) != heads || !covers(&set, &old) || count(&set) <= count(&old) {
            return None;
        }
        let mut log = last.map(|last| last.log.clone()).unwrap_or_default();
        let new = bits(&set).filter(|event| !has(&old, *event));
        let mut new: Vec<_> = new.map(|event| &self.events[event]).collect();
        new.sort_by_key(|known| (known.time, known.id));
        let newest = new.last().map_or(Micros(0), |known| known.time);
        for known in new {
            log.append(event_leaf_hash(known.id));
        }
        let mut cuts = last.map(|last| last.cuts.clone()).unwrap_or_default();
        let cut = Cut::Heads(heads.to_vec());
        cuts.push(cut.clone());
        let view = self.history.view(&cut, &cuts).unwrap();
        let roles = view.verdicts().roles();
        let members = roles.iter().map(|(author, roles)| Leaf::member(author, roles));
        let state = view.state();
        let counters = state.counters().map(|(key, sum)| Leaf::counter(key, sum));
        let leaves: Vec<_> = members.chain(counters).collect();
        let validators = match (view.verdicts().validators(), last) {
            (some, _) if !some.is_empty() => some,
            (_, Some(last)) => last.parts.validators().keys().to_vec(),
            (_, None) => self.genesis.validators.clone(),
        };
        let (cut, validators) =
            (CutBlock::new(heads.to_vec()).unwrap(), ValidatorsBlock::new(validators).unwrap());
        let checkpoint = Checkpoint {
            ledger: self.id(),
            height: last.map_or(Height::FIRST, |last| Height(last.parts.checkpoint().height.0 + 1)),
            prev: before,
            cut: cut.seal().0,
            size: count(&set),
            root: log.root(),
            state: state_root(leaves).unwrap(),
            validators: validators.seal().0,
            time: self.time(&set),
        };
        let parts = Parts::new(checkpoint, cut, validators).unwrap();
        Some(Derivation { parts, set, newest, log, cuts })
    }
}

fn sign(
    author: usize,
    seq: Seq,
    prev: Option<EventId>,
    parents: Vec<EventId>,
    time: Micros,
    body: &Body,
) -> (quipu_merge::SignedEvent, Vec<u8>) {
    let body = body.encode().unwrap();
    let (id, size) = (BodyId::of(&body), u32::try_from(body.len()).unwrap());
    let event = Event { author: keys::key(author), seq, prev, parents, time, body: id, size };
    (event.sign(keys::secret(author)).unwrap(), body)
}
