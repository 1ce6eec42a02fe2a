//! A node that only follows, with a validator's key.

use std::sync::Arc;

use quipu_merge::{AuthorKey, Chain};
use quipu_proto::{
    CatchingUp, Certified, Certifier, CertifyAnswer, CertifyConfig, CertifyInput, CertifyMessage,
    CertifyOutput, CertifyStart, CertifyTask, Derived, Log, Misbehaviour, Moment,
};

use super::keys::{self, NodeKeys};
use super::scenario::quick;
use super::world::World;

/// What a peer has certified, and a visitor that has the events and nothing else.
struct Visit {
    kept: Vec<Certified>,
    visitor: Certifier,
    peer: AuthorKey,
    /// What it was asked for, and what was kept.
    asked: Vec<u64>,
    counted: usize,
    blamed: Option<Misbehaviour>,
}

impl Visit {
    fn new() -> Self {
        let mut world = World::new(1, 4, 0, quick());
        for _ in 0..3 {
            world.write(0);
            world.run_until(world.now + 3_000_000);
        }
        let (me, peer) = (keys::key(1), keys::key(0));
        let config = CertifyConfig { me, follows: true, ..world.config.clone() };
        let start = CertifyStart {
            chain: Chain::new(world.ledger.id(), &world.ledger.genesis),
            tip: None,
            certifiers: Vec::new(),
            log: Log::Lost,
            mark: None,
            heads: Vec::new(),
        };
        let node_keys = Arc::new(NodeKeys { number: 1, memory: keys::Memory::default() });
        let visitor = Certifier::new(config, node_keys, start, Moment(0));
        let kept = world.members[0].disk.kept.clone();
        assert!(kept.len() >= 3);
        Self { kept, visitor, peer, asked: Vec::new(), counted: 0, blamed: None }
    }

    fn input(&mut self, input: CertifyInput) {
        self.visitor.handle(input, Moment(1));
    }

    fn hears(&mut self, message: CertifyMessage) {
        self.input(CertifyInput::Received(self.peer, Box::new(message)));
    }

    /// The peer gives as many at once as it is told to, and the store lets all count.
    fn go_on(&mut self, at_once: usize) {
        while let Some(output) = self.visitor.output() {
            match output {
                CertifyOutput::Send(to, CertifyMessage::AskCheckpoints(from)) => {
                    assert_eq!(to, [self.peer]);
                    assert_eq!(self.visitor.catching_up(self.peer), Some(CatchingUp::Waits));
                    self.asked.push(from);
                    let some =
                        self.kept.iter().skip(usize::try_from(from).unwrap() - 1).take(at_once);
                    let some = some.map(Certified::encode).collect();
                    self.hears(CertifyMessage::Checkpoints(some));
                }
                CertifyOutput::Do(CertifyTask::Keep { ticket, .. }) => {
                    assert_eq!(self.visitor.catching_up(self.peer), Some(CatchingUp::Keeps));
                    let answer = CertifyAnswer::Derived(Derived::Same);
                    self.input(CertifyInput::Done(ticket, answer));
                }
                CertifyOutput::Certified(_) => self.counted += 1,
                CertifyOutput::Misbehaved(_, what) => self.blamed = Some(what),
                CertifyOutput::Send(_, CertifyMessage::Tip(_)) | CertifyOutput::Trim(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn it_asks_until_there_is_no_more_and_signs_nothing() {
    let mut visit = Visit::new();
    assert_eq!(visit.visitor.catching_up(visit.peer), None);
    visit.input(CertifyInput::Connected(visit.peer));
    visit.go_on(2);
    let all = visit.kept.len();
    assert_eq!((visit.counted, visit.blamed), (all, None));
    assert_eq!(visit.asked.first(), Some(&1));
    assert_eq!(visit.asked.last(), Some(&(all as u64 + 1)));
    assert_eq!(visit.visitor.catching_up(visit.peer), Some(CatchingUp::Done));
    // Whoever asks what it has seen would take its silence for an answer.
    visit.hears(CertifyMessage::AskClaim(7));
    visit.go_on(2);
}

#[test]
fn what_a_peer_tells_of_later_is_asked_for() {
    let mut visit = Visit::new();
    let last = visit.kept.pop().unwrap();
    visit.input(CertifyInput::Connected(visit.peer));
    visit.go_on(64);
    assert_eq!(visit.counted, visit.kept.len());
    let (height, id) = (last.parts.checkpoint().height, last.parts.id());
    visit.kept.push(last);
    visit.hears(CertifyMessage::Tip(quipu_proto::TipOf { height, id }));
    visit.go_on(64);
    assert_eq!(visit.counted, visit.kept.len());
    assert_eq!(visit.visitor.catching_up(visit.peer), Some(CatchingUp::Done));
}

#[test]
fn what_does_not_follow_ends_it() {
    let mut visit = Visit::new();
    visit.kept.remove(1);
    visit.input(CertifyInput::Connected(visit.peer));
    visit.go_on(64);
    assert_eq!(visit.blamed, Some(Misbehaviour::Bogus));
}
