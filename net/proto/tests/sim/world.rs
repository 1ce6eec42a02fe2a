//! Nodes, stores, links and virtual time, on one thread.
//!
//! A link carries messages as QUIC does: in order on each channel, each channel by itself, so loss
//! and reordering of datagrams show as delays, and duplicates not at all. What is under way when a link
//! breaks is lost.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, EventId, Micros};
use quipu_proto::{
    Answer, Channel, Config, Input, Message, Misbehaviour, Moment, Node, Output, Packet, Placed,
    Quota, Ticket, Version,
};

use super::author::{self, Verifier};
use super::level::Levels;
use super::member::Member;
use super::network::{Arrival, Conditions, Held, ends};
use super::random::Random;
use super::store::Store;

/// What the wall clocks show when virtual time starts, in microseconds.
const EPOCH: u64 = 1_700_000_000_000_000;
/// Who writes the first event.
const GENESIS: usize = 1099;
/// Between two attempts to connect to a peer that is not there.
const REDIAL: u64 = 1_000_000;
/// Between two syncs of what others wrote.
const SYNC: u64 = 50_000;

pub struct World {
    pub now: u64,
    pub random: Random,
    pub verifier: Verifier,
    pub members: Vec<Member>,
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    /// Links that are up, by both ends, the lesser first, with their generation.
    links: BTreeMap<(usize, usize), u64>,
    /// Messages from the first do not reach the second.
    cut: BTreeSet<(usize, usize)>,
    /// What is sent again until it gets through a cut.
    held: BTreeMap<(usize, usize), Vec<Held>>,
    /// When the last message on a channel arrives: none overtakes it.
    arrivals: BTreeMap<(usize, usize, Channel), u64>,
    pub conditions: Conditions,
    /// What nodes take of authors that hold no role: all but that of the first event.
    quota: Option<Quota>,
    pub transcript: blake3::Hasher,
    /// What has arrived, where somebody wants to know: from whom, at whom, and how.
    pub arrived: Option<Vec<Arrival>>,
    pub messages: u64,
    pub bytes: u64,
    /// Events that were pushed, and when the last was.
    pub pushed: u64,
    pub last_pushed: u64,
    pub levels: Levels,
    /// What nodes were told of others.
    pub heard_of: Vec<Introduction>,
    /// Honest peers that were taken for dishonest.
    pub wronged: Vec<(usize, usize, Misbehaviour)>,
}

/// What a node was told of others, by whom.
pub type Introduction = (usize, usize, Vec<(AuthorKey, Vec<String>)>);

#[derive(Debug)]
enum Event {
    Arrives { from: usize, to: usize, generation: u64, channel: Channel, bytes: Vec<u8> },
    Done { at: usize, life: u64, ticket: Ticket, answer: Answer },
    Wakes { at: usize, life: u64 },
    Dials { one: usize, other: usize },
    Syncs,
    Starts { at: usize },
}

impl World {
    pub fn new(seed: u64, count: usize, topology: BTreeSet<(usize, usize)>) -> Self {
        let mut random = Random::new(seed);
        let mut verifier = Verifier::default();
        let genesis = author::genesis(GENESIS, "simulated");
        let members = (0..count).map(|_| Member::new(Store::new(&genesis, &mut verifier)));
        let members = members.collect();
        let conditions = Conditions { delay: (500, random.between(1_000, 50_000)), lost_of: 0 };
        let mut world = Self {
            now: 0,
            random,
            verifier,
            members,
            events: BTreeMap::new(),
            number: 0,
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            held: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            conditions,
            quota: None,
            transcript: blake3::Hasher::new(),
            arrived: None,
            messages: 0,
            bytes: 0,
            pushed: 0,
            last_pushed: 0,
            levels: Levels::default(),
            heard_of: Vec::new(),
            wronged: Vec::new(),
        };
        (0..count).for_each(|at| world.start(at));
        for (one, other) in topology {
            let delay = world.random.below(REDIAL);
            world.later(delay, Event::Dials { one, other });
        }
        world.later(SYNC, Event::Syncs);
        world
    }

    pub fn wall(&self, at: usize) -> Micros {
        let now = EPOCH + self.now;
        Micros(now.saturating_add_signed(self.members[at].skew))
    }

    /// A node holds events before it starts.
    pub fn load(&mut self, at: usize, events: &[Packet]) {
        let store = &mut self.members[at].store;
        events.iter().for_each(|packet| store.write(packet, &mut self.verifier));
        self.start(at);
    }

    /// A node speaks another version.
    pub fn speak(&mut self, at: usize, version: Version) {
        self.members[at].version = version;
        self.start(at);
    }

    /// A node wants what precedes the checkpoint that it has started from.
    pub fn fill(&mut self, at: usize) {
        let (up_to, next, total) = self.members[at].store.below.wanted();
        self.input(at, Input::Fill { up_to, next, total });
    }

    /// All nodes have a quota.
    pub fn limit(&mut self, quota: Quota) {
        self.quota = Some(quota);
        (0..self.members.len()).for_each(|at| self.start(at));
    }

    /// A node holds events from now on, which were written by somebody there.
    pub fn hold(&mut self, at: usize, events: &[(Placed, Packet)]) {
        let store = &mut self.members[at].store;
        events.iter().for_each(|(_, packet)| store.write(packet, &mut self.verifier));
        // Of few, others are told one by one.
        let input = match events {
            [event] => Input::Written(vec![event.clone()]),
            events => Input::Held(events.iter().map(|(placed, _)| *placed).collect()),
        };
        self.input(at, input);
    }

    /// A node knows where others are.
    pub fn know(&mut self, at: usize, known: &[(usize, &str)]) {
        let place = |(of, place): &(usize, &str)| (author::author(*of), vec![(*place).to_owned()]);
        self.input(at, Input::Known(known.iter().map(place).collect()));
    }

    /// Lets time pass.
    pub fn run_until(&mut self, time: u64) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= time) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happens(event);
        }
        self.now = time;
    }

    pub fn is_honest(&self, at: usize) -> bool {
        self.members[at].byzantine.is_none()
    }

    /// The links that are up between honest nodes.
    pub fn honest_links(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let links = self.links.keys().copied();
        links.filter(|(one, other)| self.is_honest(*one) && self.is_honest(*other))
    }

    /// An event of a node's own, by what follows the given tip of its author.
    pub fn write(&mut self, at: usize, prev: Option<EventId>, ahead: u64) -> Option<EventId> {
        if self.members[at].node.is_none() || self.members[at].store.full {
            return None;
        }
        let time = Micros(self.wall(at).0 + ahead);
        let (placed, packet) = author::write(at, &self.members[at].store.history, prev, time);
        let store = &mut self.members[at].store;
        store.write(&packet, &mut self.verifier);
        store.values.put(placed.tip.id, author::opening(at, placed.tip.seq));
        self.input(at, Input::Written(vec![(placed, packet)]));
        Some(placed.tip.id)
    }

    /// A node stops, loses what was not synced, and starts again after a while.
    pub fn crash(&mut self, at: usize, pause: u64) {
        if self.members[at].node.take().is_none() {
            return;
        }
        self.members[at].life += 1;
        self.members[at].store.crash(&mut self.verifier);
        for link in self
            .links
            .keys()
            .copied()
            .filter(|(one, other)| *one == at || *other == at)
            .collect::<Vec<_>>()
        {
            self.unlink(link);
        }
        self.later(pause, Event::Starts { at });
    }

    fn start(&mut self, at: usize) {
        let ledger = self.members[at].store.history.authority().ledger();
        let version = self.members[at].version;
        let quota = self.quota;
        let config = Config { version, quota, ..Config::new(author::author(at), ledger) };
        let node = Node::new(config, self.members[at].store.frontier());
        self.members[at].node = Some(node);
        self.members[at].wake = None;
        self.members[at].untold.clear();
        if quota.is_some() {
            let with_role = BTreeSet::from([author::author(GENESIS)]);
            self.input(at, Input::Roles(Some(with_role)));
        }
    }

    fn later(&mut self, delay: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.now + delay, self.number), event);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives { from, to, generation, channel, bytes } => {
                if self.links.get(&ends(from, to)) != Some(&generation) {
                    return;
                }
                if self.cut.contains(&(from, to)) {
                    let held = self.held.entry((from, to)).or_default();
                    return held.push((generation, channel, bytes));
                }
                self.levels.arrived((from, to), channel, &bytes);
                if let Some(arrived) = &mut self.arrived {
                    arrived.push((from, to, channel, bytes.clone()));
                }
                let peer = author::author(from);
                self.transcript.update(&self.now.to_be_bytes());
                self.transcript.update(&bytes);
                self.input(to, Input::Received { peer, channel, bytes });
            }
            Event::Done { at, life, ticket, answer } => {
                if self.members[at].life == life {
                    self.members[at].untold.remove(&ticket);
                    self.input(at, Input::Done(ticket, answer));
                }
            }
            Event::Wakes { at, life } => {
                if self.members[at].life == life && self.members[at].wake == Some(self.now) {
                    self.members[at].wake = None;
                    self.input(at, Input::Tick);
                }
            }
            Event::Dials { one, other } => self.dial(one, other),
            Event::Syncs => {
                self.members.iter_mut().for_each(|member| member.store.sync());
                self.later(SYNC, Event::Syncs);
            }
            Event::Starts { at } => self.start(at),
        }
    }

    fn dial(&mut self, one: usize, other: usize) {
        let delay = REDIAL + self.random.below(REDIAL);
        self.later(delay, Event::Dials { one, other });
        let cut = self.cut.contains(&(one, other)) || self.cut.contains(&(other, one));
        let up = |at: usize| self.members[at].node.is_some();
        if cut || !up(one) || !up(other) || self.links.contains_key(&ends(one, other)) {
            return;
        }
        self.number += 1;
        self.links.insert(ends(one, other), self.number);
        self.input(one, Input::Connected(author::author(other)));
        self.input(other, Input::Connected(author::author(one)));
    }

    fn unlink(&mut self, (one, other): (usize, usize)) {
        if self.links.remove(&(one, other)).is_some() {
            self.levels.parted(one, other);
            self.input(one, Input::Disconnected(author::author(other)));
            self.input(other, Input::Disconnected(author::author(one)));
        }
    }

    fn input(&mut self, at: usize, input: Input) {
        let (now, wall) = (Moment(self.now), self.wall(at));
        let Some(node) = &mut self.members[at].node else { return };
        node.handle(input, now, wall);
        let mut outputs = Vec::new();
        while let Some(output) = node.output() {
            outputs.push(output);
        }
        let next = node.next();
        for output in outputs {
            self.output(at, output);
        }
        if let Some(next) = next {
            self.wake(at, next.0.max(self.now + 1));
        }
    }

    fn wake(&mut self, at: usize, time: u64) {
        let member = &mut self.members[at];
        if member.wake.is_none_or(|wake| wake > time || wake <= self.now) {
            member.wake = Some(time);
            let life = member.life;
            self.later(time - self.now, Event::Wakes { at, life });
        }
    }

    fn output(&mut self, at: usize, output: Output) {
        match output {
            Output::Send { peer, message } => {
                let to = author::number_of(peer);
                if matches!(message, Message::Announce(_)) {
                    (self.pushed, self.last_pushed) = (self.pushed + 1, self.now);
                }
                self.levels.sent((at, to), &message, self.members[at].told_of());
                let honest = (message.channel(), message.encode());
                let sent = match self.members[at].byzantine {
                    Some(kind) => kind.twist(message, &mut self.random),
                    None => vec![honest],
                };
                for (channel, bytes) in sent {
                    self.send(at, to, channel, bytes);
                }
            }
            Output::Do(task) => {
                let wall = self.wall(at);
                let member = &mut self.members[at];
                let before = member.store.len();
                let done = member.store.run(task, wall, &mut self.verifier);
                let (life, slowness) = (member.life, member.slowness);
                if let Some((ticket, answer)) = done {
                    member.untold.insert(ticket, before);
                    let delay = self.random.between(50, 500) * slowness;
                    self.later(delay, Event::Done { at, life, ticket, answer });
                }
            }
            Output::Disconnect { peer, .. } => self.unlink(ends(at, author::number_of(peer))),
            Output::Misbehaved(peer, what) => {
                let other = author::number_of(peer);
                if self.is_honest(at) && self.is_honest(other) {
                    self.wronged.push((at, other, what));
                }
            }
            Output::Level(peer) => {
                let peer = author::number_of(peer);
                if self.is_honest(peer) {
                    let [own, theirs] = [at, peer].map(|at| &self.members[at].store);
                    self.levels.noticed((at, peer), own, theirs);
                }
            }
            Output::Heard { from, peers } => {
                self.heard_of.push((at, author::number_of(from), peers));
            }
            Output::Clock(..) | Output::Greeted { .. } | Output::Certify(..) => {}
        }
    }

    fn send(&mut self, from: usize, to: usize, channel: Channel, bytes: Vec<u8>) {
        let Some(&generation) = self.links.get(&ends(from, to)) else { return };
        assert!(bytes.len() <= channel.max_frame() as usize, "a message of {} bytes", bytes.len());
        self.messages += 1;
        self.bytes += bytes.len() as u64;
        let (least, most) = self.conditions.delay;
        let mut delay = self.random.between(least, most);
        if self.conditions.lost_of > 0 && self.random.once_in(self.conditions.lost_of) {
            delay += 1_000_000;
        }
        // None overtakes those before it on its channel.
        let arrival = self.arrivals.entry((from, to, channel)).or_default();
        *arrival = (*arrival + 1).max(self.now + delay);
        let delay = *arrival - self.now;
        self.later(delay, Event::Arrives { from, to, generation, channel, bytes });
    }

    /// Messages from one node to another wait.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// They go on, and so do those that have waited, in their order.
    pub fn heal(&mut self, from: usize, to: usize) {
        self.cut.remove(&(from, to));
        for (generation, channel, bytes) in self.held.remove(&(from, to)).unwrap_or_default() {
            // Before anything that is under way.
            self.happens(Event::Arrives { from, to, generation, channel, bytes });
        }
    }

    /// Ends all faults but those of dishonest nodes.
    pub fn mend(&mut self) {
        for (from, to) in self.cut.clone() {
            self.heal(from, to);
        }
        self.conditions.lost_of = 0;
        for member in &mut self.members {
            (member.store.full, member.slowness) = (false, 1);
        }
    }

    /// Breaks a link: what is under way on it is lost.
    pub fn break_link(&mut self, one: usize, other: usize) {
        self.unlink(ends(one, other));
    }
}
