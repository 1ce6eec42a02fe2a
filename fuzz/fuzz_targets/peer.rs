//! What a peer sends: it makes no node panic, and no node answer without bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_merge::{AuthorKey, CheckpointId, EventId, Height, Micros};
use quipu_proto::{
    Allowance, Answer, Channel, Config, Hello, HistoryEntry, Input, Message, Moment, Node, Outcome,
    Output, Quota, Start, StartFile, Task, VERSION, Want,
};

const PEER: AuthorKey = AuthorKey([2; 32]);
const LEDGER: EventId = EventId([3; 32]);
/// What a node may want done because of one message.
const MOST: usize = 10_000;

fuzz_target!(|bytes: &[u8]| {
    let allowance = Allowance { events: 1, bytes: 1_000 };
    let burst = std::time::Duration::from_secs(2);
    let quota = Some(Quota { author: allowance, all: allowance, burst });
    let config = Config { quota, ..Config::new(AuthorKey([1; 32]), LEDGER) };
    let mut node = Node::new(config, []);
    let mut now = 0;
    let mut put = |node: &mut Node, input| {
        now += 100_000;
        node.handle(input, Moment(now), Micros(now));
        settle(node, now);
    };
    put(&mut node, Input::Roles(Some(std::collections::BTreeSet::new())));
    put(&mut node, Input::Fill { up_to: Height(16), next: 0, total: 400 });
    put(&mut node, Input::Connected(PEER));
    let hello =
        Message::Hello(Hello { version: VERSION, ledger: LEDGER, time: Micros(0), hidden: false });
    let greeting = (Channel::Control, hello.encode());
    for (channel, bytes) in std::iter::once(greeting).chain(messages(bytes)) {
        if let Ok(Some(message)) = Message::decode(channel, &bytes) {
            let again = Message::decode(channel, &message.encode());
            assert_eq!(again, Ok(Some(message)));
        }
        put(&mut node, Input::Received { peer: PEER, channel, bytes });
    }
    put(&mut node, Input::Disconnected(PEER));
});

/// Cuts the input into messages: a channel, a length, and so many bytes.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (Channel, Vec<u8>)> {
    std::iter::from_fn(move || {
        let ([channel, high, low], rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (message, rest) = rest.split_at(len.min(rest.len()));
        bytes = rest;
        let channel = Channel::from_byte(channel % 4)?;
        Some((channel, message.to_vec()))
    })
}

/// Does what the node wants, as a store would that holds nothing.
fn settle(node: &mut Node, now: u64) {
    for _ in 0..MOST {
        let Some(output) = node.output() else { return };
        let Output::Do(task) = output else { continue };
        let (ticket, answer) = match task {
            Task::Plan { ticket, offered } => {
                let wants = offered.into_iter().map(|lane| Want {
                    up_to: lane.tips.iter().map(|tip| tip.id).collect(),
                    held: Vec::new(),
                });
                (ticket, Answer::Plan(wants.collect()))
            }
            Task::Admit { ticket, packets } => {
                let outcomes = packets.iter().map(|_| Outcome::Known).collect();
                (ticket, Answer::Admitted { outcomes, new: Vec::new() })
            }
            Task::Read { ticket, .. } => (ticket, Answer::Read { packets: Vec::new(), last: true }),
            Task::Lacking { ticket, .. } => {
                (ticket, Answer::Lacking { items: Vec::new(), next: None })
            }
            Task::Provide { ticket, .. } => (ticket, Answer::Provided(None)),
            Task::Take { ticket, .. } => (ticket, Answer::Taken(true)),
            Task::Missing { ticket, events } => (ticket, Answer::Missing(events)),
            Task::Fetch { ticket, .. } => (ticket, Answer::Fetched(Vec::new())),
            Task::Start { ticket } => {
                let checkpoint = CheckpointId([4; 32]);
                let file = StartFile { height: Height(16), checkpoint, len: 9 };
                (ticket, Answer::Start(Start::From(file)))
            }
            Task::ReadStart { ticket, offset, .. } => {
                (ticket, Answer::StartPart((offset < 9).then(|| vec![0; 9])))
            }
            Task::ReadHistory { ticket, .. } => (ticket, Answer::History(None)),
            // What begins with a certain byte leads nowhere.
            Task::TakeHistory { ticket, from, entries } => {
                let events = entries.iter().filter_map(|entry| match entry {
                    HistoryEntry::Event(packet) => Some(packet.body.first()),
                    HistoryEntry::Checkpoint(_) => None,
                });
                let (count, bad) = events
                    .fold((0, false), |(count, bad), first| (count + 1, bad || first == Some(&0)));
                let next = if bad { 0 } else { from + count };
                (ticket, Answer::HistoryTaken { next, good: !bad })
            }
            Task::Open { .. } | Task::Close { .. } => continue,
        };
        node.handle(Input::Done(ticket, answer), Moment(now), Micros(now));
    }
    panic!("a message is answered without end");
}
