//! A node among its peers.

mod answers;
mod due;
mod messages;
mod peers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quipu_merge::{AuthorKey, EventId, Height, Micros};

use self::peers::Peers;
use crate::addresses::Addresses;
use crate::certify::CertifyMessage;
use crate::channel::Channel;
use crate::defer::Deferring;
use crate::frontier::{Frontier, FrontierDigest, LaneTips, Placed};
use crate::gossip::{Gossip, ToPeer};
use crate::history::History;
use crate::message::{Hello, Item, Message, Packet, VERSION, Version};
use crate::peer::{Peer, PeerInfo};
use crate::quota::Quota;
use crate::score::Misbehaviour;
use crate::task::{Answer, Task, Ticket};
use crate::time::Moment;
use crate::values::Values;

/// What a node is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its key.
    pub me: AuthorKey,
    /// Its ledger.
    pub ledger: EventId,
    /// The version that it speaks: [`VERSION`], but for tests of how versions get along.
    pub version: Version,
    /// How fast events of authors are taken that hold no role, once it is told who holds one
    /// ([`Input::Roles`]); as fast as they come without it.
    pub quota: Option<Quota>,
    /// Whether nobody can dial it where it comes from, which its peers are told.
    pub hidden: bool,
}

impl Config {
    /// A node that speaks the version of this crate, without a quota, and can be dialled.
    pub const fn new(me: AuthorKey, ledger: EventId) -> Self {
        Self { me, ledger, version: VERSION, quota: None, hidden: false }
    }
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer is there, whose key has been proven.
    Connected(AuthorKey),
    /// A peer is gone.
    Disconnected(AuthorKey),
    /// A peer has sent a message.
    Received {
        /// The peer.
        peer: AuthorKey,
        /// The channel.
        channel: Channel,
        /// The message.
        bytes: Vec<u8>,
    },
    /// The store has done a task.
    Done(Ticket, Answer),
    /// Events have been written here, in this order, and are held from now on.
    Written(Vec<(Placed, Packet)>),
    /// Who is known, the node itself included, and where each may be reached: HOST:PORT, the best
    /// first. Peers that ask are told, and nobody else is. It takes the place of what was known before.
    Known(Vec<(AuthorKey, Vec<String>)>),
    /// Who holds a role, in a ledger where others may write as well. It takes the place of what was known
    /// before; nothing where only they may write, and nobody has a quota.
    Roles(Option<BTreeSet<AuthorKey>>),
    /// Whom the operator lists: like those that hold a role, they are no strangers. It takes the place of
    /// what was known before.
    Listed(BTreeSet<AuthorKey>),
    /// These events are held from now on, too many at once to be told of one by one.
    Held(Vec<Placed>),
    /// What is held has been read anew: it is all up to this frontier.
    Frontier(Vec<LaneTips>),
    /// What precedes the checkpoint that this replica has started from is to come.
    Fill {
        /// The checkpoint.
        up_to: Height,
        /// The place of the first event that is not here in the certified log, from 0.
        next: u64,
        /// How many events the checkpoint's cut has.
        total: u64,
    },
    /// A peer has done something else that an honest one does not do.
    Misbehaved(AuthorKey, Misbehaviour),
    /// It is later.
    Tick,
}

/// What a node wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A message is to be sent.
    Send {
        /// To this peer.
        peer: AuthorKey,
        /// The message.
        message: Message,
    },
    /// A peer is to be sent away; nothing more is heard from it.
    Disconnect {
        /// The peer.
        peer: AuthorKey,
        /// What it has done, or nothing but be silent.
        why: Option<Misbehaviour>,
    },
    /// The store is to do something.
    Do(Task),
    /// All that a peer held when the last comparison with it started has been dealt with: it is held
    /// here, waits, or was refused.
    Level(AuthorKey),
    /// A peer says whom it knows, itself included, and where each may be reached: HOST:PORT, the best
    /// first. Nothing of it has been tried.
    Heard {
        /// The peer.
        from: AuthorKey,
        /// Whom it knows.
        peers: Vec<(AuthorKey, Vec<String>)>,
    },
    /// A peer has greeted.
    Greeted {
        /// The peer.
        peer: AuthorKey,
        /// This is spoken with it.
        version: Version,
        /// Whether nobody can dial it where it comes from.
        hidden: bool,
    },
    /// A peer has said something about certification.
    Certify(AuthorKey, CertifyMessage),
    /// A peer has done what an honest one does not do.
    Misbehaved(AuthorKey, Misbehaviour),
    /// A peer's wall clock was so far ahead of the own one, in microseconds, give or take half of
    /// the time that a message takes to it and back.
    Clock(AuthorKey, i64),
}

/// A node among its peers.
#[derive(Debug)]
pub struct Node {
    config: Config,
    frontier: Frontier,
    peers: Peers,
    gossip: Gossip,
    values: Values,
    history: History,
    /// Whom the operator lists.
    listed: BTreeSet<AuthorKey>,
    addresses: Addresses,
    deferring: Deferring,
    tasks: Tasks,
    outputs: VecDeque<Output>,
}

/// What the store is asked for, and why.
#[derive(Debug, Default)]
struct Tasks {
    open: BTreeMap<Ticket, Purpose>,
    last: u64,
}

/// Why the store was asked for something.
#[derive(Debug)]
enum Purpose {
    Plan(AuthorKey),
    Pulled(AuthorKey),
    Pushed(AuthorKey, Box<Packet>),
    Checked(AuthorKey),
    /// Who has sent each.
    Deferred(Vec<AuthorKey>),
    Read(AuthorKey),
    Overdue(Vec<EventId>),
    Grafted(AuthorKey),
    Listed,
    Given(AuthorKey),
    Took(AuthorKey, Item),
    Backed(AuthorKey),
    TookHistory,
}

impl Tasks {
    /// A number that no other has.
    const fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The ticket of a new task.
    fn ticket(&mut self, purpose: Purpose) -> Ticket {
        let ticket = Ticket(self.number());
        self.open.insert(ticket, purpose);
        ticket
    }
}

impl Node {
    /// A node with nobody around it, that holds all up to a frontier.
    pub fn new(config: Config, frontier: impl IntoIterator<Item = LaneTips>) -> Self {
        let mut values = Values::default();
        // It may have stopped before all came.
        values.look();
        let deferring = Deferring::new(config.me, config.quota);
        Self {
            config,
            frontier: Frontier::new(frontier),
            peers: Peers::default(),
            gossip: Gossip::default(),
            values,
            history: History::default(),
            listed: BTreeSet::new(),
            addresses: Addresses::default(),
            deferring,
            tasks: Tasks::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes an input. `wall` is the wall clock, which others are told.
    pub fn handle(&mut self, input: Input, now: Moment, wall: Micros) {
        match input {
            Input::Connected(key) => self.connected(key, now, wall),
            Input::Disconnected(key) => self.forget(key),
            Input::Received { peer, channel, bytes } => {
                self.received(peer, channel, &bytes, now, wall);
            }
            Input::Done(ticket, answer) => self.done(ticket, answer, now),
            Input::Written(events) => {
                for (placed, packet) in events {
                    self.frontier.advance(&placed);
                    let push = self.gossip.spread(&packet, None, now);
                    self.send_all(push);
                }
            }
            Input::Known(known) => self.addresses.set(known),
            Input::Roles(with_role) => self.deferring.meter.set_roles(with_role),
            Input::Listed(listed) => self.listed = listed,
            Input::Held(new) => {
                self.hold(&new, None, now);
                self.peers.all_mut().for_each(|(_, peer)| peer.compare = true);
            }
            Input::Frontier(lanes) => {
                self.frontier.replace(lanes);
                self.values.look();
                self.peers.all_mut().for_each(|(_, peer)| peer.compare = true);
            }
            Input::Fill { up_to, next, total } => self.history.want(up_to, next, total),
            Input::Misbehaved(key, what) => self.misbehaved(key, what, now),
            Input::Tick => {}
        }
        self.do_what_is_due(now, wall);
    }

    /// The next thing that is to be done.
    pub fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Values are wanted that were not before: somebody reads them.
    pub fn look_for_values(&mut self) {
        self.values.look();
    }

    /// The frontier of the node.
    pub fn frontier(&self) -> FrontierDigest {
        self.frontier.digest()
    }

    /// Compares frontiers with a peer as soon as may be.
    pub fn compare_with(&mut self, key: &AuthorKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.compare = true;
        }
    }

    /// The peers that are there.
    pub fn peers(&self) -> impl Iterator<Item = AuthorKey> + '_ {
        self.peers.iter().map(|(key, _)| *key)
    }

    /// How it stands with a peer, if it is there.
    pub fn peer(&self, key: &AuthorKey) -> Option<PeerInfo> {
        self.peers.get(key).map(|peer| peer.info(self.frontier.digest()))
    }

    /// How many events were put off because their authors, or all that hold no role together, had used up
    /// their quota; each as often as it came.
    pub const fn deferred(&self) -> u64 {
        self.deferring.count()
    }

    /// How many of them wait here.
    pub fn waiting(&self) -> usize {
        self.deferring.waiting()
    }

    /// How many of the events that precede the checkpoint that this replica has started from have come, and
    /// of how many; nothing where none are to come.
    pub fn filled(&self) -> Option<(u64, u64)> {
        self.history.progress()
    }

    /// How much of values is known to be wanted and not here.
    pub fn lacking(&self) -> usize {
        self.values.lacking()
    }

    /// Whether nothing more of values is to be had for now: the store has listed all that it lacks
    /// since something has changed, nothing of it is under way, and no peer is left to ask for the rest.
    pub fn values_settled(&self) -> bool {
        let greeted = self.peers.iter().filter(|(_, peer)| peer.version.is_some());
        self.values.are_settled(greeted.map(|(key, _)| *key))
    }

    fn send(&mut self, peer: AuthorKey, message: Message) {
        let events = match &message {
            Message::Announce(_) => 1,
            Message::Batch(batch) => batch.events.len() as u64,
            _ => 0,
        };
        if let Some(peer) = self.peers.note(&peer) {
            peer.info.events_out += events;
        }
        self.outputs.push_back(Output::Send { peer, message });
    }

    fn send_all(&mut self, messages: impl IntoIterator<Item = ToPeer>) {
        for (peer, message) in messages {
            self.send(peer, message);
        }
    }

    fn connected(&mut self, key: AuthorKey, now: Moment, wall: Micros) {
        self.forget(key);
        self.peers.insert(key, Peer::new(self.config.me, key, now));
        let Config { ledger, version, hidden, .. } = self.config;
        self.send(key, Message::Hello(Hello { version, ledger, time: wall, hidden }));
    }

    fn forget(&mut self, key: AuthorKey) {
        if let Some(mut peer) = self.peers.remove(&key) {
            self.outputs.extend(peer.serving.stop().map(Output::Do));
            self.gossip.leave(key);
            self.deferring.leave(key);
            self.values.leave(key);
            self.history.leave(key);
            if !peer.pulling.is_idle() {
                self.compare_with_others(key);
            }
        }
    }

    fn misbehaved(&mut self, key: AuthorKey, what: Misbehaviour, now: Moment) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        self.outputs.push_back(Output::Misbehaved(key, what));
        if peer.score.add(what, now) {
            self.forget(key);
            self.outputs.push_back(Output::Disconnect { peer: key, why: Some(what) });
        }
    }
}
