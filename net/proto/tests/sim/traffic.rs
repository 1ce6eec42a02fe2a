//! Bytes on the wire between two replicas that differ a little.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quipu_merge::{AuthorKey, EventId, Micros, Seq};
use quipu_proto::{
    Answer, Channel, Config, FeedId, Input, LaneTips, Message, Moment, Node, Outcome, Output,
    Packet, PacketOpening, Placed, Task, Tip, Want,
};

const LEDGER: EventId = EventId([3; 32]);
/// What a small write comes to: its event, its body, and the opening of its value.
const EVENT_LEN: usize = 330;
const BODY_LEN: usize = 110;
const OPENING_LEN: usize = 80;

fn author(number: u64) -> AuthorKey {
    AuthorKey(*blake3::hash(&number.to_be_bytes()).as_bytes())
}

/// An event of an author who never forks, by its position.
fn packet(author: AuthorKey, seq: u64) -> Packet {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&author.0).update(&seq.to_be_bytes());
    let mut bytes = hasher.finalize_xof();
    let mut take = |len| {
        let mut part = vec![0; len];
        bytes.fill(&mut part);
        part
    };
    let (event, body) = (take(EVENT_LEN), take(BODY_LEN));
    Packet { event, body, openings: vec![PacketOpening { slot: 0, opening: take(OPENING_LEN) }] }
}

/// A replica that holds the first events of each author.
struct Replica {
    node: Node,
    held: BTreeMap<AuthorKey, u64>,
    places: BTreeMap<EventId, (AuthorKey, u64)>,
    feeds: BTreeMap<FeedId, VecDeque<(AuthorKey, u64)>>,
    sent: BTreeMap<Channel, (u64, u64)>,
}

impl Replica {
    fn new(me: AuthorKey, held: BTreeMap<AuthorKey, u64>) -> Self {
        let mut places = BTreeMap::new();
        for (author, last) in &held {
            places.extend((1..=*last).map(|seq| (packet(*author, seq).id(), (*author, seq))));
        }
        let lanes = held.iter().map(|(author, last)| {
            let tip = Tip { seq: Seq(*last), id: packet(*author, *last).id() };
            LaneTips { author: *author, tips: vec![tip] }
        });
        let node = Node::new(Config::new(me, LEDGER), lanes.collect::<Vec<_>>());
        Self { node, held, places, feeds: BTreeMap::new(), sent: BTreeMap::new() }
    }

    /// Takes an input, and does what there is to do. Gives what is to be sent.
    fn input(&mut self, input: Input, now: u64) -> Vec<Message> {
        let mut sent = Vec::new();
        self.node.handle(input, Moment(now), Micros(now));
        while let Some(output) = self.node.output() {
            match output {
                Output::Send { message, .. } => {
                    let sum = self.sent.entry(message.channel()).or_default();
                    *sum = (sum.0 + 1, sum.1 + message.encode().len() as u64);
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
                let wants = offered.into_iter().filter_map(|lane| self.want(&lane));
                Some((ticket, Answer::Plan(wants.collect())))
            }
            Task::Admit { ticket, packets } => {
                let new: Vec<_> = packets.iter().map(|packet| self.admit(packet)).collect();
                let outcomes = vec![Outcome::Admitted; packets.len()];
                Some((ticket, Answer::Admitted { outcomes, new }))
            }
            Task::Open { feed, wants } => {
                let mut events = VecDeque::new();
                for want in wants {
                    let last = want.up_to.iter().filter_map(|id| self.places.get(id));
                    let known = want.held.iter().filter_map(|tip| self.places.get(&tip.id));
                    let known = known.map(|(_, seq)| *seq).max().unwrap_or(0);
                    for (author, last) in last {
                        events.extend((known + 1..=*last).map(|seq| (*author, seq)));
                    }
                }
                self.feeds.insert(feed, events);
                None
            }
            Task::Read { ticket, feed, max_len } => {
                let events = self.feeds.get_mut(&feed).unwrap();
                let (mut packets, mut len) = (Vec::new(), 0);
                while let Some((author, seq)) = events.front().filter(|_| len < max_len) {
                    packets.push(packet(*author, *seq));
                    len += packets.last().unwrap().len();
                    events.pop_front();
                }
                Some((ticket, Answer::Read { packets, last: events.is_empty() }))
            }
            Task::Lacking { ticket, .. } => {
                Some((ticket, Answer::Lacking { items: Vec::new(), next: None }))
            }
            Task::Missing { ticket, mut events } => {
                events.retain(|id| !self.places.contains_key(id));
                Some((ticket, Answer::Missing(events)))
            }
            Task::Close { .. } => None,
            other => panic!("{other:?}"),
        }
    }

    fn admit(&mut self, packet: &Packet) -> Placed {
        // Whose it is and where it stands, a real store reads in it.
        let next = self
            .held
            .iter()
            .find(|(author, last)| self::packet(**author, **last + 1).event == packet.event);
        let (author, seq) = next.map(|(author, last)| (*author, last + 1)).unwrap();
        let prev = (seq > 1).then(|| self::packet(author, seq - 1).id());
        self.held.insert(author, seq);
        self.places.insert(packet.id(), (author, seq));
        Placed { author, tip: Tip { seq: Seq(seq), id: packet.id() }, prev }
    }

    /// What a store asks for that holds the first events of an author: see `Ledger::plan`.
    fn want(&self, lane: &LaneTips) -> Option<Want> {
        let last = self.held.get(&lane.author).copied().unwrap_or(0);
        let up_to = lane.tips.iter().filter(|tip| tip.seq.0 > last).map(|tip| tip.id);
        let up_to: Vec<_> = up_to.collect();
        let tip = |seq| Tip { seq: Seq(seq), id: packet(lane.author, seq).id() };
        let back =
            (0..64).step_by(4).map(|step| (1_u64 << step) - 1).take_while(|back| *back < last);
        let held: BTreeSet<_> = back.map(|back| last - back).chain([1]).collect();
        let held = held.into_iter().filter(|_| last > 0).map(tip).collect();
        (!up_to.is_empty()).then_some(Want { up_to, held })
    }
}

/// Lets two replicas talk until they have nothing to say. Gives the messages and bytes of
/// synchronisation.
fn talk(one: &mut Replica, other: &mut Replica) -> (u64, u64) {
    let keys = [AuthorKey([1; 32]), AuthorKey([2; 32])];
    let mut now = 1_000_000;
    let ends = [one, other];
    let mut open: VecDeque<(usize, Message)> = VecDeque::new();
    for at in [0, 1] {
        let sent = ends[at].input(Input::Connected(keys[1 - at]), now);
        open.extend(sent.into_iter().map(|message| (1 - at, message)));
    }
    while let Some((at, message)) = open.pop_front() {
        now += 1_000;
        let (channel, bytes) = (message.channel(), message.encode());
        let sent = ends[at].input(Input::Received { peer: keys[1 - at], channel, bytes }, now);
        open.extend(sent.into_iter().map(|message| (1 - at, message)));
    }
    assert_eq!(ends[0].node.frontier(), ends[1].node.frontier());
    let sums = ends.iter().filter_map(|end| end.sent.get(&Channel::Sync));
    sums.fold((0, 0), |all, sum| (all.0 + sum.0, all.1 + sum.1))
}

/// Bytes of synchronisation for each byte of blocks that are missing: of 100,000 events, the last ones
/// of some authors.
fn cost(authors: u64, behind_in: u64, behind_by: u64) -> f64 {
    let each = 100_000 / authors;
    let all: BTreeMap<_, _> = (0..authors).map(|at| (author(at), each)).collect();
    let mut held = all.clone();
    let step = authors / behind_in;
    for at in 0..behind_in {
        held.insert(author(at * step), each - behind_by);
    }
    let mut one = Replica::new(AuthorKey([1; 32]), all);
    let mut other = Replica::new(AuthorKey([2; 32]), held);
    let (messages, bytes) = talk(&mut one, &mut other);
    let missing = behind_in * behind_by * (EVENT_LEN + BODY_LEN + OPENING_LEN) as u64;
    let ratio = bytes as f64 / missing as f64;
    println!(
        "{authors} authors, {behind_by} events of {behind_in} missing: {bytes} bytes in {messages} \
         messages for {missing} of blocks, {ratio:.3}"
    );
    ratio
}

#[test]
fn a_hundredth_that_differs_costs_little_more_than_itself() {
    for (authors, behind_in, behind_by) in [(10, 10, 100), (10, 1, 1_000), (1_000, 100, 10)] {
        let ratio = cost(authors, behind_in, behind_by);
        assert!(ratio <= 1.2, "{ratio}");
    }
    // The fewer events are missing of each author, the more the names of authors weigh.
    for (behind_in, behind_by, most) in [(200, 5, 1.1), (500, 2, 1.2), (1_000, 1, 1.25)] {
        let ratio = cost(1_000, behind_in, behind_by);
        assert!(ratio <= most, "{ratio}");
    }
}

#[test]
fn equal_replicas_take_one_round_trip_of_few_bytes() {
    let all: BTreeMap<_, _> = (0..1_000).map(|at| (author(at), 1)).collect();
    let mut ends = [1, 2].map(|key| Replica::new(AuthorKey([key; 32]), all.clone()));
    let [one, other] = &mut ends;
    let (messages, bytes) = talk(one, other);
    assert_eq!(messages, 2);
    let sent = ends.iter().flat_map(|end| end.sent.values());
    let all: u64 = sent.map(|(_, bytes)| bytes).sum();
    assert!(bytes < 1_024 && all < 1_024, "{all} bytes, {bytes} of them to compare");
}
