//! Authors with tens of thousands of branches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quipu_merge::{AuthorKey, EventId, Micros, Seq};
use quipu_proto::{
    Answer, Config, FeedId, Input, LaneTips, MAX_LANES_LEN, MAX_PULL_LEN, Message, Moment, Node,
    Outcome, Output, Packet, Placed, Task, Tip, VERSION, Version, Want,
};

const LEDGER: EventId = EventId([3; 32]);
const KEYS: [AuthorKey; 2] = [AuthorKey([1; 32]), AuthorKey([2; 32])];
/// As the store does: so many held events of one author are named at most.
const MAX_HELD: usize = 1024;

/// The events of an author: the first, and so many others that all follow it.
fn packet(author: u8, branch: u64) -> Packet {
    let event = [&[author], branch.to_be_bytes().as_slice()].concat();
    Packet { event, body: Vec::new(), openings: Vec::new() }
}

fn placed(packet: &Packet) -> Placed {
    let (author, branch) = packet.event.split_first().unwrap();
    let branch = u64::from_be_bytes(branch.try_into().unwrap());
    let first = self::packet(*author, 0).id();
    let tip = Tip { seq: Seq(branch.min(1) + 1), id: packet.id() };
    Placed { author: AuthorKey([*author; 32]), tip, prev: (branch > 0).then_some(first) }
}

/// A store that knows where each of its events stands, and nothing else.
struct Replica {
    node: Node,
    held: BTreeMap<EventId, Packet>,
    lanes: BTreeMap<AuthorKey, BTreeSet<Tip>>,
    feeds: BTreeMap<FeedId, VecDeque<Packet>>,
    /// The longest message of each kind.
    longest: BTreeMap<&'static str, usize>,
}

impl Replica {
    fn new(me: AuthorKey, version: Version, events: impl Iterator<Item = Packet>) -> Self {
        let node = Node::new(Config { version, ..Config::new(me, LEDGER) }, []);
        let (held, lanes, feeds) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut replica = Self { node, held, lanes, feeds, longest: BTreeMap::new() };
        let all = events.map(|packet| replica.hold(packet)).collect();
        replica.node.handle(Input::Held(all), Moment(0), Micros(0));
        replica
    }

    fn hold(&mut self, packet: Packet) -> Placed {
        let placed = placed(&packet);
        self.held.insert(placed.tip.id, packet);
        self.lanes.entry(placed.author).or_default().insert(placed.tip);
        placed
    }

    fn input(&mut self, input: Input, now: u64) -> Vec<Message> {
        let mut sent = Vec::new();
        self.node.handle(input, Moment(now), Micros(now));
        while let Some(output) = self.node.output() {
            match output {
                Output::Send { message, .. } => {
                    let kind = match &message {
                        Message::Lanes(_) => "lanes",
                        Message::Pull(_) => "pull",
                        _ => "other",
                    };
                    let longest = self.longest.entry(kind).or_default();
                    *longest = message.encode().len().max(*longest);
                    sent.push(message);
                }
                Output::Do(task) => {
                    if let Some((ticket, answer)) = self.run(task) {
                        self.node.handle(Input::Done(ticket, answer), Moment(now), Micros(now));
                    }
                }
                Output::Misbehaved(_, what) => panic!("{what:?}"),
                _ => {}
            }
        }
        sent
    }

    fn run(&mut self, task: Task) -> Option<(quipu_proto::Ticket, Answer)> {
        match task {
            Task::Plan { ticket, offered } => {
                let wants = offered.iter().map(|lane| self.want(lane));
                let wants = wants.filter(|want| !want.up_to.is_empty());
                Some((ticket, Answer::Plan(wants.collect())))
            }
            Task::Admit { ticket, packets } => {
                let outcomes = vec![Outcome::Admitted; packets.len()];
                let known = packets.iter().filter(|packet| self.held.contains_key(&packet.id()));
                assert_eq!(known.count(), 0, "what is held comes again");
                let new = packets.into_iter().map(|packet| self.hold(packet)).collect();
                Some((ticket, Answer::Admitted { outcomes, new }))
            }
            Task::Open { feed, wants } => {
                let events = self.events(&wants);
                self.feeds.insert(feed, events);
                None
            }
            Task::Read { ticket, feed, max_len } => {
                let events = self.feeds.get_mut(&feed).unwrap();
                let count = events.len().min(max_len / 300);
                let packets = events.drain(..count).collect();
                Some((ticket, Answer::Read { packets, last: events.is_empty() }))
            }
            Task::Lacking { ticket, .. } => {
                Some((ticket, Answer::Lacking { items: Vec::new(), next: None }))
            }
            Task::Missing { ticket, mut events } => {
                events.retain(|id| !self.held.contains_key(id));
                Some((ticket, Answer::Missing(events)))
            }
            Task::Close { .. } => None,
            other => panic!("{other:?}"),
        }
    }

    fn want(&self, lane: &LaneTips) -> Want {
        let up_to = lane.tips.iter().map(|tip| tip.id).filter(|id| !self.held.contains_key(id));
        let held = self.lanes.get(&lane.author).into_iter().flatten();
        Want { up_to: up_to.collect(), held: held.take(MAX_HELD).copied().collect() }
    }

    fn events(&self, wants: &[Want]) -> VecDeque<Packet> {
        let mut events = BTreeMap::new();
        for want in wants {
            let held: BTreeSet<_> = want.held.iter().map(|tip| tip.id).collect();
            for packet in want.up_to.iter().filter_map(|id| self.held.get(id)) {
                let Placed { tip, prev, .. } = placed(packet);
                events.insert((tip.seq, tip.id), packet.clone());
                if let Some(first) = prev.filter(|first| !held.contains(first)) {
                    events.insert((Seq::FIRST, first), self.held[&first].clone());
                }
            }
        }
        events.into_values().collect()
    }
}

/// Lets two replicas talk, and look at each other's frontiers now and then, until they hold the same.
fn talk(mut ends: [Replica; 2]) -> [Replica; 2] {
    let mut now = 1_000_000;
    let mut open: VecDeque<(usize, Message)> = VecDeque::new();
    for at in [0, 1] {
        let sent = ends[at].input(Input::Connected(KEYS[1 - at]), now);
        open.extend(sent.into_iter().map(|message| (1 - at, message)));
    }
    while now < 60_000_000 {
        now += 1_000;
        let mut said = Vec::new();
        if let Some((at, message)) = open.pop_front() {
            let (channel, bytes) = (message.channel(), message.encode());
            assert!(bytes.len() <= channel.max_frame() as usize, "{} bytes", bytes.len());
            let received = Input::Received { peer: KEYS[1 - at], channel, bytes };
            said.push((at, ends[at].input(received, now)));
        } else if ends[0].node.frontier() == ends[1].node.frontier() {
            break;
        } else {
            now += 1_000_000;
            said.extend([0, 1].map(|at| (at, ends[at].input(Input::Tick, now))));
        }
        let to_others = said
            .into_iter()
            .flat_map(|(at, sent)| sent.into_iter().map(move |message| (1 - at, message)));
        open.extend(to_others);
    }
    assert!(now < 60_000_000, "they do not come to hold the same");
    assert_eq!(ends[0].node.frontier(), ends[1].node.frontier());
    ends
}

/// Both hold some branches of authors in the end, of which each held some before.
fn come_together(versions: [Version; 2], held: [Vec<(u8, std::ops::Range<u64>)>; 2]) {
    let mut held = held.into_iter().zip(KEYS).zip(versions).map(|((held, key), version)| {
        let branches = held.into_iter().flat_map(|(author, branches)| {
            std::iter::once(0).chain(branches).map(move |branch| packet(author, branch))
        });
        Replica::new(key, version, branches)
    });
    let ends = talk([held.next().unwrap(), held.next().unwrap()]);
    assert!(ends[0].held.keys().eq(ends[1].held.keys()));
    for longest in ends.iter().map(|end| &end.longest) {
        let of = |kind| longest.get(kind).copied().unwrap_or(0);
        assert!(
            of("lanes") <= MAX_LANES_LEN + 32 && of("pull") <= MAX_PULL_LEN + 32,
            "{longest:?}"
        );
    }
}

#[test]
fn an_author_with_tens_of_thousands_of_branches_synchronises() {
    let older = Version { minor: 1, ..VERSION };
    let all = || vec![(7, 1..60_001)];
    come_together([VERSION, VERSION], [all(), Vec::new()]);
    come_together([VERSION, older], [vec![(7, 1..30_001)], all()]);
    // Neither has what the other has.
    come_together([VERSION, VERSION], [vec![(7, 1..40_001)], vec![(7, 20_001..60_001)]]);
}

#[test]
fn more_branches_than_one_comparison_tells_synchronise() {
    come_together([VERSION, VERSION], [vec![(7, 1..100_001)], vec![(7, 1..10)]]);
    // Many authors, of whom some fork without end.
    let many = |from: u8| {
        (from..from + 80).map(|author| (author, 1..if author % 16 == 9 { 9_001 } else { 2 }))
    };
    come_together([VERSION, VERSION], [many(1).collect(), many(21).collect()]);
}
