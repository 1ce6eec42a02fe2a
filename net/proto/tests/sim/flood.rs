//! Peers that ask for, or send, more than an honest one does: each kind is found out, and what it costs
//! until then is bounded.

use quipu_merge::{AuthorKey, Body, EventId, Height, Key, Micros, Operation, Seq};
use quipu_proto::{
    Ask, AskHistory, AskLanes, AskMarked, Batch, Compare, Config, Credit, FrontierDigest, Given,
    Hello, HistoryPart, Ids, Input, Item, MAX_GOSSIP_PENDING_LEN, MAX_GOSSIP_PENDING_OF_AUTHOR,
    MAX_QUESTIONS, MAX_SIGNATURES, Message, Misbehaviour, Moment, Node, Output, Packet, Part, Ping,
    Pull, PullTold, Start, Sums, Task, VERSION, Want,
};

use super::author;

const ME: AuthorKey = AuthorKey([1; 32]);
const PEER: AuthorKey = AuthorKey([2; 32]);
const LEDGER: EventId = EventId([3; 32]);

/// A node with one peer, that has greeted.
struct Alone {
    node: Node,
    now: u64,
}

impl Alone {
    fn new() -> Self {
        let mut alone = Self { node: Node::new(Config::new(ME, LEDGER), []), now: 1_000_000 };
        alone.input(Input::Connected(PEER));
        alone.hear(&Message::Hello(Hello {
            version: VERSION,
            ledger: LEDGER,
            time: Micros(0),
            hidden: false,
        }));
        alone
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.node.handle(input, Moment(self.now), Micros(self.now));
        std::iter::from_fn(|| self.node.output()).collect()
    }

    fn hear(&mut self, message: &Message) -> Vec<Output> {
        let channel = message.channel();
        self.input(Input::Received { peer: PEER, channel, bytes: message.encode() })
    }

    /// Hears the same over and over. Gives what became of it, up to the peer's being sent away.
    fn hear_all(&mut self, messages: impl IntoIterator<Item = Message>) -> Vec<Output> {
        let mut all = Vec::new();
        for message in messages {
            all.extend(self.hear(&message));
            if self.node.peers().next().is_none() {
                break;
            }
        }
        all
    }
}

/// Says something over and over within a moment: so many are answered or done, and then the peer is
/// sent away for this.
fn is_found_out(
    message: impl Fn(u64) -> Message,
    costs: impl Fn(&Output) -> bool,
    most: usize,
    why: Misbehaviour,
) {
    let outputs = Alone::new().hear_all((1..=10_000).map(message));
    let done = outputs.iter().filter(|output| costs(output)).count();
    assert!(done <= most, "{done} times, {most} at most");
    let last = outputs.last();
    assert_eq!(last, Some(&Output::Disconnect { peer: PEER, why: Some(why) }));
}

fn sends(kind: impl Fn(&Message) -> bool) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::Send { message, .. } if kind(message))
}

#[test]
fn a_peer_that_compares_without_end_is_found_out() {
    let compare = |round| {
        let frontier = FrontierDigest([9; 32]);
        Message::Compare(Compare { round: 1 + round, frontier, lanes: 1_000, known: Vec::new() })
    };
    let compares = sends(|message| matches!(message, Message::Compare(_)));
    is_found_out(compare, compares, 17, Misbehaviour::Flood);
}

#[test]
fn a_number_far_ahead_is_no_comparison() {
    let frontier = FrontierDigest([9; 32]);
    let compare = Compare { round: u64::MAX, frontier, lanes: 1, known: Vec::new() };
    let outputs = Alone::new().hear(&Message::Compare(compare));
    assert!(outputs.contains(&Output::Misbehaved(PEER, Misbehaviour::Malformed)), "{outputs:?}");
}

#[test]
fn a_peer_that_pulls_without_end_is_found_out() {
    let pull = |pull| {
        let want = Want { up_to: vec![EventId([5; 32])], held: Vec::new() };
        Message::Pull(Pull { pull, wants: vec![want] })
    };
    let opens = |output: &Output| matches!(output, Output::Do(Task::Open { .. }));
    is_found_out(pull, opens, 1, Misbehaviour::Flood);
    let told =
        |pull| Message::PullTold(PullTold { pull, round: 1, told: vec![0], wants: Vec::new() });
    is_found_out(told, opens, 1, Misbehaviour::Flood);
}

#[test]
fn a_peer_that_pulls_when_the_one_before_has_ended_is_served() {
    let want = Want { up_to: vec![EventId([5; 32])], held: Vec::new() };
    let mut alone = Alone::new();
    for pull in 1..=512 {
        let pull = Message::Pull(Pull { pull, wants: vec![want.clone()] });
        let outputs = alone.hear(&pull);
        let read = outputs.iter().find_map(|output| match output {
            Output::Do(Task::Read { ticket, .. }) => Some(*ticket),
            _ => None,
        });
        let answer = quipu_proto::Answer::Read { packets: Vec::new(), last: true };
        let outputs = alone.input(Input::Done(read.unwrap(), answer));
        assert!(outputs.iter().any(sends(|message| matches!(message, Message::End(_)))));
    }
    assert!(alone.node.peer(&PEER).is_some());
}

#[test]
fn a_peer_that_pings_tells_or_asks_without_end_is_found_out() {
    let ping =
        |number| Message::Ping(Ping { number, frontier: FrontierDigest([9; 32]), time: Micros(0) });
    let pongs = sends(|message| matches!(message, Message::Pong(_)));
    is_found_out(ping, pongs, 16, Misbehaviour::Flood);
    let id = |number: u64| EventId(*blake3::hash(&number.to_be_bytes()).as_bytes());
    let have = |number| Message::Have(Ids { events: vec![id(number)] });
    is_found_out(have, |_| false, 0, Misbehaviour::Flood);
    // It was told of nothing that it could ask for.
    let graft = |number| Message::Graft(Ids { events: vec![id(number)] });
    let fetches = |output: &Output| matches!(output, Output::Do(Task::Fetch { .. }));
    is_found_out(graft, fetches, 0, Misbehaviour::Flood);
    let asks = sends(|message| matches!(message, Message::Peers(_)));
    is_found_out(|_| Message::AskPeers, asks, 4, Misbehaviour::Flood);
    let item = Item::Opening { event: EventId([5; 32]), slot: 0 };
    let ask = |request| Message::Ask(Ask { request, items: vec![item; 8] });
    let reads = |output: &Output| matches!(output, Output::Do(Task::Provide { .. }));
    is_found_out(ask, reads, 1, Misbehaviour::Flood);
}

#[test]
fn a_peer_that_sends_unasked_is_found_out() {
    let nothing = |_: &Output| false;
    let pong = |number| {
        let number = 1_000 + number;
        Message::Pong(Ping { number, frontier: FrontierDigest([9; 32]), time: Micros(0) })
    };
    is_found_out(pong, nothing, 0, Misbehaviour::Unasked);
    let given = |_| Message::Given(Given { request: 0, bytes: Some(vec![0; 1_000].into()) });
    is_found_out(given, nothing, 0, Misbehaviour::Unasked);
    let packet = author::genesis(1, "unasked");
    let batch = move |_| Message::Batch(Batch { pull: 0, events: vec![packet.clone()] });
    is_found_out(batch, nothing, 0, Misbehaviour::Unasked);
    let credit = |_| Message::Credit(Credit { pull: 7, bytes: 0 });
    let mut alone = Alone::new();
    let want = Want { up_to: vec![EventId([5; 32])], held: Vec::new() };
    alone.hear(&Message::Pull(Pull { pull: 7, wants: vec![want] }));
    let outputs = alone.hear_all((0..100).map(credit));
    let why = Some(Misbehaviour::Flood);
    assert_eq!(outputs.last(), Some(&Output::Disconnect { peer: PEER, why }));
}

#[test]
fn entries_are_told_once_and_only_those_that_there_are() {
    let mut alone = Alone::new();
    let round = alone.node.peer(&PEER).map(|_| 1).unwrap();
    let ask = |entry| Message::AskLanes(AskLanes { round, entries: vec![[entry; 32]] });
    let outputs = alone.hear(&ask(7));
    assert_eq!(outputs, [Output::Misbehaved(PEER, Misbehaviour::Flood)]);
    let outputs = alone.hear(&Message::AskMarked(AskMarked { round, places: vec![0] }));
    assert_eq!(outputs, [Output::Misbehaved(PEER, Misbehaviour::Flood)]);
    // It is not at marks either.
    let outputs = alone.hear(&Message::Sums(Sums { round, sums: vec![0; 8] }));
    assert!(outputs.contains(&Output::Misbehaved(PEER, Misbehaviour::Malformed)), "{outputs:?}");
}

/// Events of one author, in a chain.
fn chain(number: usize, count: u64) -> Vec<Packet> {
    let mut prev = None;
    let mut packets = Vec::new();
    for at in 1..=count {
        let body = Body::Data(vec![Operation::Del { key: Key::new("key").unwrap() }]);
        let parents = if at == 1 { vec![LEDGER] } else { Vec::new() };
        let (placed, packet) =
            author::sign(number, (Seq(at), prev), parents, Micros(at * 1_000_000), &body);
        prev = Some(placed.tip.id);
        packets.push(packet);
    }
    packets
}

fn admits(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Do(Task::Admit { .. }))).count()
}

#[test]
fn one_author_does_not_keep_others_out_of_gossip() {
    let mut alone = Alone::new();
    let flood = chain(5, 300).into_iter().map(Message::Announce);
    assert_eq!(admits(&alone.hear_all(flood)), MAX_GOSSIP_PENDING_OF_AUTHOR);
    let other = chain(6, 1).into_iter().map(Message::Announce);
    assert_eq!(admits(&alone.hear_all(other)), 1);
    // Nobody is blamed: what was passed over comes by synchronisation.
    assert!(alone.node.peer(&PEER).is_some());
}

#[test]
fn pushed_events_that_wait_for_the_store_are_bounded_in_length() {
    let mut alone = Alone::new();
    let long = |number: usize| {
        let packet = author::genesis(number, "long");
        Message::Announce(Packet { body: vec![0; 1 << 20], ..packet })
    };
    let admitted = admits(&alone.hear_all((100..110).map(long)));
    assert_eq!(admitted, MAX_GOSSIP_PENDING_LEN / (1 << 20) - 1);
    let short = chain(6, 1).into_iter().map(Message::Announce);
    assert_eq!(admits(&alone.hear_all(short)), 1);
    assert!(alone.node.peer(&PEER).is_some());
}

#[test]
fn signatures_of_pushed_events_are_checked_at_a_bounded_rate() {
    let mut alone = Alone::new();
    let packets = chain(5, u64::from(MAX_SIGNATURES) + 200);
    let mut checked = 0;
    // The store is as fast as can be.
    for packet in packets {
        for output in alone.hear(&Message::Announce(packet)) {
            if let Output::Do(Task::Admit { ticket, .. }) = output {
                checked += 1;
                let outcomes = vec![quipu_proto::Outcome::Waits];
                let answer = quipu_proto::Answer::Admitted { outcomes, new: Vec::new() };
                alone.input(Input::Done(ticket, answer));
            }
        }
    }
    assert_eq!(checked, MAX_SIGNATURES);
    alone.now += 1_000_000;
    let more = chain(6, 1).into_iter().map(Message::Announce);
    assert_eq!(admits(&alone.hear_all(more)), 1);
}

#[test]
fn a_peer_that_asks_for_history_without_waiting_is_found_out() {
    let ask = |from| Message::AskHistory(AskHistory { from, up_to: Height(1) });
    let reads = |output: &Output| matches!(output, Output::Do(Task::ReadHistory { .. }));
    // One is looked up, and the others wait.
    is_found_out(ask, reads, 1, Misbehaviour::Flood);
    let starts = |output: &Output| matches!(output, Output::Do(Task::Start { .. }));
    is_found_out(|_| Message::AskStart, starts, 1, Misbehaviour::Flood);
    let outputs = Alone::new().hear_all((0..MAX_QUESTIONS as u64).map(ask));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Misbehaved(..))), "{outputs:?}");
}

#[test]
fn starts_and_history_that_nobody_asked_for_are_noted() {
    let unasked = [
        Message::Start(Start::Nothing),
        Message::Part(Part { offset: 0, bytes: None }),
        Message::HistoryPart(HistoryPart { from: 0, items: None }),
    ];
    for message in unasked {
        let outputs = Alone::new().hear(&message);
        let noted = Output::Misbehaved(PEER, Misbehaviour::Unasked);
        assert!(outputs.contains(&noted), "{message:?}: {outputs:?}");
    }
}
