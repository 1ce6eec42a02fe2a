//! Conversations for the fuzz target `peer` to start from.
//!
//! `QUIPU_WRITE_SEEDS=1` writes them anew.

use std::collections::BTreeSet;
use std::path::Path;

use quipu_merge::{AuthorKey, CheckpointId, EventId, Height};
use quipu_proto::{
    AskPart, AskProposal, CertifiedBytes, CertifyMessage, Channel, Claim, Cosigned, Id, Message,
    NoteLines, Part, PartsBytes, Polka, Proposed, Report, RoundProof, RoundVote, Signed,
    SignedProposal, SignedVote, Start, StartFile, TipOf, VERSION, Version,
};

use super::below;
use super::network::Arrival;
use super::pair::firsts;
use super::world::World;

/// Length of the longest seed, in bytes.
const MAX_LEN: usize = 16 << 10;

/// What one node hears of another, as the fuzz target reads it: for each message the channel, the length
/// in two bytes, and the message. The target greets by itself.
fn heard(arrivals: &[Arrival], from: usize, to: usize) -> Vec<u8> {
    let mut seed = Vec::new();
    for (_, _, channel, bytes) in arrivals.iter().filter(|of| (of.0, of.1) == (from, to)) {
        let greets = matches!(Message::decode(*channel, bytes), Ok(Some(Message::Hello(_))));
        let Ok(len) = u16::try_from(bytes.len()) else { continue };
        if !greets && seed.len() + bytes.len() < MAX_LEN {
            seed.push(channel.byte());
            seed.extend(len.to_be_bytes());
            seed.extend(bytes);
        }
    }
    seed
}

/// What is said among so many nodes, all linked with each other.
fn conversation(count: usize, load: impl Fn(&mut World), writes: usize) -> Vec<Arrival> {
    let links = (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)));
    let mut world = World::new(1, count, links.collect());
    // What is late is asked for elsewhere.
    world.conditions.lost_of = 5;
    load(&mut world);
    world.arrived = Some(Vec::new());
    (0..count).for_each(|at| world.know(at, &[(at, "127.0.0.1:7420"), (9, "[::1]:1")]));
    world.run_until(4_000_000);
    let mut last = None;
    for _ in 0..writes {
        last = world.write(0, last, 0).or(last);
        world.run_until(world.now + 300_000);
    }
    world.run_until(world.now + 6_000_000);
    world.arrived.take().unwrap_or_default()
}

/// A node gets what precedes its checkpoint.
fn history() -> Vec<Arrival> {
    let mut world = below::around(1, 1, 0);
    world.arrived = Some(Vec::new());
    world.fill(0);
    world.run_until(4_000_000);
    world.arrived.take().unwrap_or_default()
}

/// Somebody gets what to start from.
fn start() -> Vec<Arrival> {
    let file = StartFile { height: Height(3), checkpoint: CheckpointId([7; 32]), len: 9 };
    let asks = [Message::AskStart, Message::AskPart(AskPart { file, offset: 4 })];
    let bytes = Some(vec![1; 5].into());
    let gives = [
        Message::Start(Start::Later),
        Message::Start(Start::From(file)),
        Message::Part(Part { offset: 4, bytes }),
    ];
    let said = |from| move |message: Message| (from, 1 - from, message.channel(), message.encode());
    asks.into_iter().map(said(0)).chain(gives.into_iter().map(said(1))).collect()
}

/// A validator says each thing that there is about a height. The fuzz target `consensus` goes on from there.
fn certifying() -> Vec<Arrival> {
    let (height, round, by, id) = (Height(5), 2, AuthorKey([6; 32]), CheckpointId([7; 32]));
    let (value, signature) = (Some(Id(id)), [8; 64]);
    let vote = SignedVote { height, round, precommit: true, value, by, signature };
    let proposal = SignedProposal { height, round, pol_round: Some(1), value: id, by, signature };
    let parts = PartsBytes { checkpoint: vec![1], cut: vec![2], validators: vec![3] };
    let votes = vec![RoundVote { precommit: false, value: None, by, signature }];
    let lines = vec![NoteLines { by, seconds: 9, log: signature, cosignature: signature }];
    let said = [
        CertifyMessage::Report(Report { heads: vec![EventId([9; 32])] }),
        CertifyMessage::Tip(TipOf { height, id }),
        CertifyMessage::AskClaim(1),
        CertifyMessage::Claim(Claim { number: 1, height, yours: Some(vote.clone()) }),
        CertifyMessage::Proposal(Proposed { proposal, parts: Some(parts.clone()) }),
        CertifyMessage::Vote(vote),
        CertifyMessage::Polka(Polka {
            height,
            round,
            value: id,
            signatures: vec![Signed { by, signature }],
        }),
        CertifyMessage::RoundProof(RoundProof { height, round, leave: true, votes }),
        CertifyMessage::AskProposal(AskProposal { height, round, value: id }),
        CertifyMessage::AskCheckpoints(height.0),
        CertifyMessage::Checkpoints(vec![CertifiedBytes { parts, certificate: vec![4] }]),
        CertifyMessage::Cosigned(Cosigned { height, lines }),
        CertifyMessage::AskCosigned(height.0),
    ];
    let said = said.into_iter().map(Message::Certify);
    said.map(|message| (0, 1, message.channel(), message.encode())).collect()
}

/// Both speak the version before marks.
fn older(world: &mut World, load: impl Fn(&mut World)) {
    load(world);
    [0, 1].into_iter().for_each(|at| world.speak(at, Version { minor: 1, ..VERSION }));
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let differ = |count: usize| {
        move |world: &mut World| {
            let events = firsts(world, 10..10 + count + 2);
            world.load(0, &events[..count + 1]);
            world.load(1, &[&events[..count], &events[count + 1..]].concat());
        }
    };
    let conversations = [
        ("equal", conversation(2, |_| {}, 0)),
        ("few-authors", conversation(2, differ(3), 0)),
        ("many-authors", conversation(2, differ(70), 0)),
        ("older", conversation(2, |world| older(world, differ(70)), 0)),
        ("gossip", conversation(5, |_| {}, 6)),
        ("history", history()),
        ("start", start()),
        ("certifying", certifying()),
    ];
    let mut seeds = Vec::new();
    let mut known = BTreeSet::new();
    for (name, arrivals) in conversations {
        let ends: BTreeSet<_> = arrivals.iter().map(|(from, to, ..)| (*from, *to)).collect();
        for (from, to) in ends {
            let seed = heard(&arrivals, from, to);
            let kinds = kinds(&seed);
            if !kinds.is_subset(&known) || name != "gossip" {
                known.extend(kinds);
                seeds.push((format!("{name}-{from}-{to}"), seed));
            }
        }
    }
    seeds
}

/// The kinds of messages in a seed.
fn kinds(mut seed: &[u8]) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    while let Some(([channel, high, low], rest)) = seed.split_first_chunk() {
        let (message, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        let message = Message::decode(Channel::from_byte(*channel).unwrap(), message);
        let kind = format!("{:?}", message.unwrap().unwrap());
        let kind = kind.strip_prefix("Certify(").unwrap_or(&kind);
        kinds.insert(kind.split('(').next().unwrap().to_owned());
        seed = rest;
    }
    assert!(seed.is_empty());
    kinds
}

#[test]
fn seeds_of_the_fuzzer_are_whole_conversations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/peer");
    if std::env::var_os("QUIPU_WRITE_SEEDS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, seed) in seeds() {
            std::fs::write(folder.join(name), seed).unwrap();
        }
    }
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        all.extend(kinds(&std::fs::read(entry.unwrap().path()).unwrap()));
    }
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    // Every kind but the greeting.
    let expected = "Announce Ask AskCheckpoints AskClaim AskCosigned AskHistory AskLanes AskMarked AskPart AskPeers \
                    AskProposal AskStart Batch Checkpoints Claim Compare Cosigned Credit End Given Got Graft Have \
                    HistoryPart Lanes Marks Part Peers Ping Polka Pong Proposal Prune Pull PullTold Reconcile Report \
                    RoundProof Start Sums Tip Vote";
    assert_eq!(all.join(" "), expected);
}
