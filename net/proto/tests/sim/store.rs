//! A store in memory that does what a node asks for, and forgets in a crash what was not synced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quipu_merge::{EventId, History, MAX_AHEAD, Micros, ParsedEvent, Reason, SignedEvent};
use quipu_proto::{Answer, FeedId, LaneTips, Outcome, Packet, Placed, Task, Ticket, Tip, Want};

use super::author::Verifier;
use super::below::Below;
use super::values::Values;

/// So many events may wait for others.
const MAX_WAITING: usize = 1000;
/// So much of what is lacking is listed at once.
const MAX_LISTED: usize = 4;

pub struct Store {
    pub history: History,
    packets: BTreeMap<EventId, Packet>,
    /// All events in the order of admission; those before `synced` survive a crash.
    order: Vec<EventId>,
    synced: usize,
    waiting: BTreeMap<EventId, Packet>,
    feeds: BTreeMap<FeedId, VecDeque<EventId>>,
    pub values: Values,
    pub below: Below,
    pub full: bool,
}

impl Store {
    pub fn new(genesis: &Packet, verifier: &mut Verifier) -> Self {
        let event = verifier.check(&genesis.event).unwrap();
        let history = History::new(&event, &genesis.body).unwrap();
        Self {
            history,
            packets: BTreeMap::from([(event.id(), genesis.clone())]),
            order: vec![event.id()],
            synced: 1,
            waiting: BTreeMap::new(),
            feeds: BTreeMap::new(),
            values: Values::default(),
            below: Below::default(),
            full: false,
        }
    }

    pub fn sync(&mut self) {
        self.synced = self.order.len();
    }

    /// Loses what was not synced, and what was in memory.
    pub fn crash(&mut self, verifier: &mut Verifier) {
        let kept: Vec<_> =
            self.order[..self.synced].iter().map(|id| self.packets[id].clone()).collect();
        let (values, below) = (std::mem::take(&mut self.values), std::mem::take(&mut self.below));
        *self = Self::new(&kept[0], verifier);
        (self.values, self.below) = (values, below);
        kept[1..].iter().for_each(|packet| self.write(packet, verifier));
    }

    pub fn frontier(&self) -> Vec<LaneTips> {
        let mut lanes: BTreeMap<_, Vec<Tip>> = BTreeMap::new();
        let followed: BTreeSet<_> =
            self.history.iter().filter_map(|(_, entry)| entry.event.prev).collect();
        for (id, entry) in self.history.iter().filter(|(id, _)| !followed.contains(id)) {
            lanes.entry(entry.event.author).or_default().push(Tip { seq: entry.event.seq, id });
        }
        lanes.into_iter().map(|(author, tips)| LaneTips { author, tips }).collect()
    }

    /// An event of this node's own: it is synced before anybody hears of it.
    pub fn write(&mut self, packet: &Packet, verifier: &mut Verifier) {
        let event = verifier.check(&packet.event).unwrap();
        let outcome = self.admit_one(&event, packet, event.event().time, &mut Vec::new());
        assert_eq!(outcome, Outcome::Admitted);
        self.sync();
    }

    /// How many events are held.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether the first events of another are held or wait here, as far as that has not lost them.
    pub fn knows(&self, other: &Self, first: usize) -> bool {
        let mut first = other.order.iter().take(first);
        first.all(|id| self.packets.contains_key(id) || self.waiting.contains_key(id))
    }

    pub fn waits(&self) -> usize {
        self.waiting.len()
    }

    pub fn run(
        &mut self,
        task: Task,
        wall: Micros,
        verifier: &mut Verifier,
    ) -> Option<(Ticket, Answer)> {
        match task {
            Task::Plan { ticket, offered } => Some((ticket, Answer::Plan(self.plan(offered)))),
            Task::Admit { ticket, .. } if self.full => Some((ticket, Answer::Failed)),
            Task::Admit { ticket, packets } => {
                let mut new = Vec::new();
                let mut outcomes = Vec::new();
                for packet in &packets {
                    outcomes.push(self.admit(packet, wall, verifier, &mut new));
                }
                Some((ticket, Answer::Admitted { outcomes, new }))
            }
            Task::Open { feed, wants } => {
                self.open(feed, &wants);
                None
            }
            Task::Read { ticket, feed, max_len } => Some((ticket, self.read(feed, max_len))),
            Task::Close { feed } => {
                self.feeds.remove(&feed);
                None
            }
            Task::Lacking { ticket, after, limit } => {
                let (items, next) = self.values.list(after, limit.min(MAX_LISTED));
                Some((ticket, Answer::Lacking { items, next }))
            }
            Task::Provide { ticket, item } => {
                Some((ticket, Answer::Provided(self.values.get(item).cloned())))
            }
            Task::Take { ticket, .. } if self.full => Some((ticket, Answer::Failed)),
            Task::Take { ticket, item, bytes } => {
                let taken = self.values.take(item, bytes);
                Some((ticket, Answer::Taken(taken)))
            }
            Task::Missing { ticket, mut events } => {
                events.retain(|id| self.history.get(*id).is_none());
                Some((ticket, Answer::Missing(events)))
            }
            Task::Fetch { ticket, events, max_len } => {
                let mut left = max_len;
                let held = events.iter().filter_map(|id| self.packets.get(id));
                let fetched = held.take_while(|packet| {
                    let fits = packet.len() <= left;
                    left = left.saturating_sub(packet.len());
                    fits
                });
                Some((ticket, Answer::Fetched(fetched.cloned().collect())))
            }
            Task::TakeHistory { ticket, .. } if self.full => {
                self.below.go_back();
                Some((ticket, Answer::Failed))
            }
            Task::Start { ticket } => Some((ticket, self.below.start())),
            Task::ReadStart { ticket, file, offset, max_len } => {
                Some((ticket, self.below.read_start(file, offset, max_len)))
            }
            Task::ReadHistory { ticket, from, up_to, max_len } => {
                Some((ticket, self.below.read(from, up_to, max_len)))
            }
            Task::TakeHistory { ticket, from, entries } => {
                Some((ticket, self.below.take(from, entries)))
            }
        }
    }

    fn plan(&self, offered: Vec<LaneTips>) -> Vec<Want> {
        let (mut wants, frontier) = (Vec::new(), self.frontier());
        for lane in offered {
            let missing = |tip: &&Tip| !self.is_complete(tip.id);
            let up_to: Vec<_> = lane.tips.iter().filter(missing).map(|tip| tip.id).collect();
            if up_to.is_empty() {
                continue;
            }
            let own = frontier.iter().find(|own| own.author == lane.author);
            let tips = own.map(|own| own.tips.as_slice()).unwrap_or_default();
            let held = tips.iter().flat_map(|tip| self.back_from(*tip)).collect();
            wants.push(Want { up_to, held });
        }
        wants
    }

    /// Whether an event is held, or waits for nothing but its time.
    fn is_complete(&self, id: EventId) -> bool {
        let (mut open, mut seen) = (vec![id], BTreeSet::new());
        while let Some(id) = open.pop() {
            if self.history.get(id).is_some() || !seen.insert(id) {
                continue;
            }
            let Some(packet) = self.waiting.get(&id) else { return false };
            let event = ParsedEvent::decode(&packet.event).unwrap();
            open.extend(event.event().follows());
        }
        true
    }

    /// A tip, and events ever farther back on its chain.
    fn back_from(&self, tip: Tip) -> Vec<Tip> {
        let (mut back, mut step, mut at) = (vec![tip], 15_u64, tip);
        let mut left = step;
        while let Some(prev) = self.history.get(at.id).and_then(|entry| entry.event.prev) {
            at = Tip { seq: self.history.get(prev).unwrap().event.seq, id: prev };
            left -= 1;
            if left == 0 {
                back.push(at);
                step *= 16;
                left = step;
            }
        }
        back
    }

    fn open(&mut self, feed: FeedId, wants: &[Want]) {
        let mut chosen = BTreeSet::new();
        for want in wants {
            let held: BTreeSet<_> = want.held.iter().map(|tip| tip.id).collect();
            for tip in &want.up_to {
                let mut at = Some(*tip);
                while let Some(id) = at.filter(|id| !held.contains(id)) {
                    let Some(entry) = self.history.get(id) else { break };
                    chosen.insert((entry.event.time, id));
                    at = entry.event.prev;
                }
            }
        }
        self.feeds.insert(feed, chosen.into_iter().map(|(_, id)| id).collect());
    }

    fn read(&mut self, feed: FeedId, max_len: usize) -> Answer {
        let Some(queue) = self.feeds.get_mut(&feed) else { return Answer::Failed };
        let (mut packets, mut len) = (Vec::new(), 0);
        while let Some(id) = queue.front() {
            // A crash may have taken it.
            let Some(packet) = self.packets.get(id) else { return Answer::Failed };
            len += packet.len();
            if len > max_len && !packets.is_empty() {
                break;
            }
            packets.push(packet.clone());
            queue.pop_front();
        }
        Answer::Read { packets, last: queue.is_empty() }
    }

    fn admit(
        &mut self,
        packet: &Packet,
        wall: Micros,
        verifier: &mut Verifier,
        new: &mut Vec<Placed>,
    ) -> Outcome {
        let event = match verifier.check(&packet.event) {
            Ok(event) => event,
            Err(refusal) => return Outcome::Refused(refusal.to_string()),
        };
        let outcome = self.admit_one(&event, packet, wall, new);
        if outcome == Outcome::Admitted {
            self.release(wall, verifier, new);
        }
        outcome
    }

    fn admit_one(
        &mut self,
        event: &SignedEvent,
        packet: &Packet,
        wall: Micros,
        new: &mut Vec<Placed>,
    ) -> Outcome {
        let id = event.id();
        if self.history.get(id).is_some() {
            return Outcome::Known;
        }
        let mut waits = || {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.insert(id, packet.clone());
            }
            Outcome::Waits
        };
        if event.event().time.0 > wall.0 + MAX_AHEAD {
            return waits();
        }
        match self.history.admit(event, &packet.body) {
            Ok(_) => {}
            Err(refusal) if refusal.reason == Reason::Missing => return waits(),
            Err(refusal) => return Outcome::Refused(refusal.to_string()),
        }
        let content = event.event();
        new.push(Placed {
            author: content.author,
            tip: Tip { seq: content.seq, id },
            prev: content.prev,
        });
        self.order.push(id);
        self.packets.insert(id, packet.clone());
        self.values.want(id, packet);
        self.waiting.remove(&id);
        Outcome::Admitted
    }

    /// Admits what has been waiting for others, until nothing more goes in.
    fn release(&mut self, wall: Micros, verifier: &mut Verifier, new: &mut Vec<Placed>) {
        loop {
            let before = new.len();
            for packet in self.waiting.values().cloned().collect::<Vec<_>>() {
                let Ok(event) = verifier.check(&packet.event) else { continue };
                if let Outcome::Refused(_) = self.admit_one(&event, &packet, wall, new) {
                    self.waiting.remove(&event.id());
                }
            }
            if new.len() == before {
                return;
            }
        }
    }
}
