//! Nodes, their disks, what is between them, and virtual time, on one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quipu_merge::{Chain, Micros};
use quipu_proto::{
    Certified, Certifier, CertifyConfig, CertifyInput, CertifyMessage, CertifyOutput, CertifyStart,
    CertifyTask, Evidence, Message, Moment,
};

use super::keys::{self, NodeKeys};
use super::ledger::{self, ADMIN, Ledger};
use super::member::{Disk, Logged, Member, SignedThings};
use super::random::Random;

/// What the wall clocks show when virtual time starts, in microseconds.
const EPOCH: u64 = 1_700_000_000_000_000;
/// Between two exchanges of events with a random other node.
const GOSSIP: u64 = 100_000;

pub struct World {
    pub now: u64,
    pub random: Random,
    pub ledger: Ledger,
    pub members: Vec<Member>,
    pub config: CertifyConfig,
    /// Messages from the first do not reach the second.
    pub cut: BTreeSet<(usize, usize)>,
    /// What a message takes, in microseconds; one of so many is lost.
    pub delay: (u64, u64),
    pub lost_of: u64,
    pub transcript: blake3::Hasher,
    pub messages: u64,
    pub bytes: u64,
    /// What honest nodes have kept, by height.
    pub certified: BTreeMap<u64, Certified>,
    pub chain: Chain,
    pub signed: SignedThings,
    pub evidence: BTreeSet<Evidence>,
    pub diverged: BTreeSet<usize>,
    /// The most entries that a log has held.
    pub longest_log: usize,
    /// The first thing that must not be.
    pub wrong: Option<String>,
    /// Stores take and certify what is not due: a fault that tests must notice.
    pub careless: bool,
    /// Keys that two nodes have.
    pub twins: BTreeSet<usize>,
    /// Those that do not know any more what they have signed.
    pub were_set_back: BTreeSet<usize>,
    memory: keys::Memory,
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
}

pub enum Event {
    Arrives { from: usize, to: usize, lives: (u64, u64), message: Arc<CertifyMessage> },
    Does { at: usize, life: u64, task: Box<CertifyTask> },
    Synced { at: usize, life: u64, entry: u64 },
    Wakes { at: usize, life: u64 },
    Starts { at: usize },
    Gossips,
}

impl World {
    /// So many validators, and so many nodes that only follow.
    pub fn new(seed: u64, validators: usize, followers: usize, config: CertifyConfig) -> Self {
        let ledger = Ledger::new(validators);
        let genesis = ledger.past(ledger.id()).unwrap().clone();
        let chain = Chain::new(ledger.id(), &ledger.genesis);
        let member = |key| Member::new(key, Disk::new(genesis.clone()));
        let mut world = Self {
            now: 0,
            random: Random::new(seed),
            members: (0..validators + followers).map(member).collect(),
            config: CertifyConfig { ledger: ledger.id(), ..config },
            ledger,
            cut: BTreeSet::new(),
            delay: (500, 20_000),
            lost_of: 0,
            transcript: blake3::Hasher::new(),
            messages: 0,
            bytes: 0,
            certified: BTreeMap::new(),
            chain,
            signed: SignedThings::new(),
            evidence: BTreeSet::new(),
            diverged: BTreeSet::new(),
            longest_log: 0,
            wrong: None,
            careless: false,
            twins: BTreeSet::new(),
            were_set_back: BTreeSet::new(),
            memory: keys::Memory::default(),
            events: BTreeMap::new(),
            number: 0,
        };
        (0..validators + followers).for_each(|at| world.start(at));
        world.later(GOSSIP, Event::Gossips);
        world
    }

    pub fn run_until(&mut self, time: u64) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= time) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            if self.number > 1_000_000 {
                self.fail("somebody is busy with nothing".to_owned());
                break;
            }
            self.happens(event);
        }
        self.now = time;
    }

    pub fn is_honest(&self, at: usize) -> bool {
        let member = &self.members[at];
        member.byzantine.is_none()
            && !self.twins.contains(&member.key)
            && !self.were_set_back.contains(&at)
    }

    pub fn wall(&self, at: usize) -> u64 {
        (EPOCH + self.now).saturating_add_signed(self.members[at].skew)
    }

    pub fn keys(&self, number: usize) -> NodeKeys {
        NodeKeys { number, memory: self.memory.clone() }
    }

    /// All wall clocks are right from now on.
    pub fn heal_clocks(&mut self) {
        for at in 0..self.members.len() {
            self.members[at].shown = self.wall(at);
            self.members[at].skew = 0;
        }
    }

    pub fn statuses(&self) -> String {
        let status = |(at, member): (usize, &Member)| {
            let status = member.certifier.as_ref().map(|certifier| {
                let status = certifier.status();
                (status.height.0, status.round, status.missing.len(), status.state)
            });
            format!("{at}: {status:?}")
        };
        self.members.iter().enumerate().map(status).collect::<Vec<_>>().join("; ")
    }

    /// A node writes an event.
    pub fn write(&mut self, at: usize) {
        self.write_as(at, at, None);
    }

    /// The admin grants or takes away the role of a validator, at a node. Whether it does: only where all
    /// that it has written is held, or it would fork.
    pub fn administer(&mut self, at: usize, whom: usize, grants: bool) -> bool {
        let may = self.members.iter().enumerate().all(|(of, member)| {
            of == at
                || ledger::covers(
                    &self.members[at].disk.held,
                    &self.ledger.of(ADMIN, &member.disk.held),
                )
        });
        may && self.write_as(at, ADMIN, Some((whom, grants)))
    }

    fn write_as(&mut self, at: usize, author: usize, grant: Option<(usize, bool)>) -> bool {
        if self.members[at].certifier.is_none() || self.ledger.len() > 400 {
            return false;
        }
        let (time, held) = (Micros(self.wall(at)), self.members[at].disk.held.clone());
        // Who has lost its disk gets its own events back before it writes.
        if author == at && !ledger::covers(&held, &self.ledger.all_of(author)) {
            return false;
        }
        let past = self.ledger.write(author, &held, time, grant);
        let disk = &mut self.members[at].disk;
        ledger::add(&mut disk.held, &past);
        ledger::add(&mut disk.come, &past);
        self.heads_changed(at);
        true
    }

    pub fn heads_changed(&mut self, at: usize) {
        let heads = self.ledger.heads(&self.members[at].disk.held);
        self.input(at, CertifyInput::Heads(heads));
    }

    /// The nodes with these keys, other than one.
    fn lives(&self, but: usize, to: &[quipu_merge::AuthorKey]) -> Vec<usize> {
        if self.twins.is_empty() {
            return to.iter().map(|key| keys::number(*key)).collect();
        }
        let all = 0..self.members.len();
        let meant = |at: &usize| *at != but && to.contains(&keys::key(self.members[*at].key));
        all.filter(meant).collect()
    }

    pub fn start(&mut self, at: usize) {
        let node_keys = Arc::new(self.keys(self.members[at].key));
        let member = &mut self.members[at];
        member.life += 1;
        member.started = self.now;
        member.wake = None;
        member.disk.restart();
        let disk = &member.disk;
        let of = |certified: &Certified| certified.parts.validators().keys().to_vec();
        let genesis = self.ledger.genesis.validators.clone();
        let (tip, before) = (disk.kept.last(), disk.kept.iter().rev().nth(1));
        let chain = match tip {
            Some(tip) => Chain::trusting(tip.parts.checkpoint(), tip.parts.validators()).unwrap(),
            None => Chain::new(self.ledger.id(), &self.ledger.genesis),
        };
        let start = CertifyStart {
            chain,
            tip: tip.cloned(),
            certifiers: before.map_or(genesis, of),
            log: disk.log(),
            mark: disk.mark,
            heads: self.ledger.heads(&disk.held),
        };
        let config =
            CertifyConfig { me: keys::key(member.key), number: self.number, ..self.config.clone() };
        member.certifier = Some(Certifier::new(config, node_keys, start, Moment(0)));
        self.outputs(at);
        for other in 0..self.members.len() {
            if other != at && self.members[other].certifier.is_some() {
                self.input(other, CertifyInput::Connected(keys::key(self.members[at].key)));
                self.input(at, CertifyInput::Connected(keys::key(self.members[other].key)));
            }
        }
    }

    pub fn later(&mut self, delay: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.now + delay, self.number), event);
    }

    fn happens(&mut self, event: Event) {
        match event {
            // What is under way when a connection ends is lost.
            Event::Arrives { from, to, lives, message } if self.lives_of(from, to) == lives => {
                if let Some(byzantine) = &mut self.members[to].byzantine {
                    byzantine.hears(&message);
                }
                let input = CertifyInput::Received(
                    keys::key(self.members[from].key),
                    (*message).clone().into(),
                );
                self.input(to, input);
            }
            Event::Does { at, life, task } if self.members[at].life == life => {
                let (ticket, answer) = self.answer(at, *task);
                self.input(at, CertifyInput::Done(ticket, answer));
            }
            Event::Synced { at, life, entry } if self.members[at].life == life => {
                self.members[at].disk.sync(entry);
                self.input(at, CertifyInput::Durable(entry));
            }
            Event::Wakes { at, life } if self.members[at].life == life => {
                self.members[at].wake = None;
                self.input(at, CertifyInput::Tick);
            }
            Event::Starts { at } => self.start(at),
            Event::Gossips => {
                for at in 0..self.members.len() {
                    self.admit(at);
                    let from = self.random.below(self.members.len() as u64);
                    self.exchange(usize::try_from(from).unwrap(), at);
                }
                self.later(GOSSIP, Event::Gossips);
            }
            _ => {}
        }
    }

    fn lives_of(&self, from: usize, to: usize) -> (u64, u64) {
        (self.members[from].life, self.members[to].life)
    }

    pub fn input(&mut self, at: usize, input: CertifyInput) {
        let now = self.members[at].now(self.now);
        let Some(certifier) = self.members[at].certifier.as_mut() else { return };
        certifier.handle(input, now);
        self.outputs(at);
    }

    fn outputs(&mut self, at: usize) {
        while let Some(output) =
            self.members[at].certifier.as_mut().and_then(|certifier| certifier.output())
        {
            self.output(at, output);
        }
        let member = &mut self.members[at];
        let next = member.certifier.as_ref().and_then(Certifier::next);
        let next = next.map(|next| (next.0 + member.started).max(self.now + 1));
        if let Some(next) = next.filter(|next| member.wake.is_none_or(|wake| wake > *next)) {
            member.wake = Some(next);
            let life = member.life;
            self.later(next - self.now, Event::Wakes { at, life });
        }
    }

    fn output(&mut self, at: usize, output: CertifyOutput) {
        let life = self.members[at].life;
        match output {
            CertifyOutput::Send(to, message) => {
                if self.members[at].byzantine.is_none() {
                    if self.is_honest(at) {
                        self.check_sent(at, &message);
                    }
                    let message = Arc::new(message);
                    for to in self.lives(at, &to) {
                        self.sends(at, to, &message);
                    }
                } else {
                    let ledger = self.ledger.id();
                    let byzantine = self.members[at].byzantine.as_mut().unwrap();
                    for (to, message) in byzantine.twist(ledger, &to, &message) {
                        self.sends(at, keys::number(to), &Arc::new(message));
                    }
                }
            }
            CertifyOutput::Append { entry, height, bytes, mark } => {
                let log = &mut self.members[at].disk.log;
                log.push(Logged { entry, height: height.0, bytes, mark });
                self.longest_log = self.longest_log.max(log.len());
                let delay = self.random.between(500, 8_000);
                self.later(delay, Event::Synced { at, life, entry });
            }
            CertifyOutput::Trim(height) => self.members[at].disk.trim(height.0),
            CertifyOutput::Do(task) => {
                let delay = self.random.between(500, 15_000);
                self.later(delay, Event::Does { at, life, task: Box::new(task) });
            }
            CertifyOutput::Certified(certified) => {
                if self.is_honest(at) && self.twins.is_empty() {
                    self.check_certified(at, &certified);
                }
            }
            CertifyOutput::Evidence(evidence) => self.check_evidence(at, evidence),
            CertifyOutput::Diverged(_) => {
                self.diverged.insert(at);
            }
            CertifyOutput::Misbehaved(peer, what) => {
                let peer = keys::number(peer);
                if self.is_honest(at) && self.is_honest(peer) {
                    self.fail(format!("{at} takes {peer} for dishonest: {what:?}"));
                }
            }
        }
    }

    fn sends(&mut self, from: usize, to: usize, message: &Arc<CertifyMessage>) {
        let bytes = Message::Certify((**message).clone()).encode();
        self.messages += 1;
        self.bytes += bytes.len() as u64;
        self.transcript.update(&(self.now, from, to).0.to_be_bytes());
        self.transcript.update(&[u8::try_from(from).unwrap(), u8::try_from(to).unwrap()]);
        self.transcript.update(&bytes);
        if self.cut.contains(&(from, to)) || (self.lost_of > 0 && self.random.once_in(self.lost_of))
        {
            return;
        }
        // A question that comes twice is answered twice.
        let once =
            matches!(**message, CertifyMessage::AskCheckpoints(_) | CertifyMessage::Checkpoints(_));
        let times = if !once && self.lost_of > 0 && self.random.once_in(50) { 2 } else { 1 };
        for _ in 0..times {
            let delay = self.random.between(self.delay.0, self.delay.1);
            let (lives, message) = (self.lives_of(from, to), message.clone());
            self.later(delay, Event::Arrives { from, to, lives, message });
        }
    }

    pub fn fail(&mut self, what: String) {
        let now = self.now;
        self.wrong.get_or_insert_with(|| format!("at {now}: {what}"));
    }
}
