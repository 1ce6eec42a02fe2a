//! One validator of four, and what others send to it, by hand.

use std::sync::Arc;

use ed25519_dalek::Signer;
use quipu_merge::{Chain, Checkpoint, EventId, Height};
use quipu_proto::{
    AskProposal, Certifier, CertifyAnswer, CertifyConfig, CertifyInput, CertifyMessage,
    CertifyOutput, CertifyStart, CertifyState, CertifyTask, Claim, Derived, Id, Log, Mark, Moment,
    Parts, Proposed, SignedProposal, SignedVote, Ticket,
};

use super::keys::{self, NodeKeys};
use super::scenario::quick;
use super::world::World;

struct Alone {
    now: Moment,
    config: CertifyConfig,
    certifier: Certifier,
    chain: Chain,
    /// The first checkpoint.
    parts: Parts,
    log: Vec<Vec<u8>>,
    mark: Option<Mark>,
    sent: Vec<CertifyMessage>,
    /// What the store is asked for and has not answered.
    choose: Option<Ticket>,
    derive: Option<Ticket>,
    /// So many times the store has nothing that is due.
    not_due: usize,
    /// Whether the log does not become durable by itself.
    durable_late: bool,
}

impl Alone {
    fn new(me: usize) -> Self {
        Self::not_due(me, 0)
    }

    fn not_due(me: usize, not_due: usize) -> Self {
        let mut world = World::new(1, 4, 0, quick());
        world.run_until(3_000_000);
        let parts = world.members[0].disk.kept[0].parts.clone();
        let chain = Chain::new(world.ledger.id(), &world.ledger.genesis);
        let config = CertifyConfig { me: keys::key(me), ..world.config };
        let certifier = start(&config, &chain, Log::New, None);
        let (now, log, sent) = (Moment(0), Vec::new(), Vec::new());
        let (mark, choose, derive) = (None, None, None);
        let mut alone = Self {
            now,
            config,
            certifier,
            chain,
            parts,
            log,
            mark,
            sent,
            choose,
            derive,
            not_due,
            durable_late: false,
        };
        alone.meets_all();
        alone
    }

    fn ledger(&self) -> EventId {
        self.config.ledger
    }

    fn input(&mut self, input: CertifyInput) {
        self.certifier.handle(input, self.now);
        while let Some(output) = self.certifier.output() {
            match output {
                CertifyOutput::Send(_, message) => self.sent.push(message),
                CertifyOutput::Append { entry, bytes, mark, .. } => {
                    self.log.push(bytes);
                    self.mark = mark.or(self.mark);
                    if !self.durable_late {
                        self.certifier.handle(CertifyInput::Durable(entry), self.now);
                    }
                }
                CertifyOutput::Do(CertifyTask::Grows { ticket, .. }) => {
                    let answer = match self.not_due.checked_sub(1) {
                        Some(left) => {
                            self.not_due = left;
                            CertifyAnswer::NotDue
                        }
                        None => CertifyAnswer::Grows(true),
                    };
                    self.certifier.handle(CertifyInput::Done(ticket, answer), self.now);
                }
                CertifyOutput::Do(CertifyTask::Choose { ticket, .. }) => self.choose = Some(ticket),
                CertifyOutput::Do(CertifyTask::Derive { ticket, .. }) => self.derive = Some(ticket),
                CertifyOutput::Evidence(_) | CertifyOutput::Do(CertifyTask::Keep { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn hears(&mut self, from: usize, message: CertifyMessage) {
        self.input(CertifyInput::Received(keys::key(from), Box::new(message)));
    }

    fn meets_all(&mut self) {
        let others = (0..4).filter(|other| keys::key(*other) != self.config.me);
        for other in others.collect::<Vec<_>>() {
            self.input(CertifyInput::Connected(keys::key(other)));
            let (number, height) = (self.config.number, Height(1));
            self.hears(other, CertifyMessage::Claim(Claim { number, height, yours: None }));
        }
    }

    /// The first checkpoint is proposed for a round by whose turn it is.
    fn hears_proposal(&mut self, round: u32) {
        self.hears_of(round, &self.parts.clone());
    }

    /// Another is.
    fn hears_another(&mut self, round: u32, state: [u8; 32]) {
        let checkpoint = Checkpoint { state, ..self.parts.checkpoint().clone() };
        let (cut, validators) = (self.parts.cut().clone(), self.parts.validators().clone());
        self.hears_of(round, &Parts::new(checkpoint, cut, validators).unwrap());
    }

    fn hears_of(&mut self, round: u32, parts: &Parts) {
        let from = round as usize % 4;
        let (by, value) = (keys::key(from), parts.id());
        let (height, pol_round, signature) = (Height(1), None, [0; 64]);
        let unsigned = SignedProposal { height, round, pol_round, value, by, signature };
        let message = unsigned.signing_bytes(self.ledger());
        let signature = keys::secret(from).sign(&message).to_bytes();
        let (proposal, parts) = (SignedProposal { signature, ..unsigned }, Some(parts.encode()));
        self.hears(from, CertifyMessage::Proposal(Proposed { proposal, parts }));
    }

    fn others_vote(&mut self, round: u32, precommit: bool, value: Option<Id>) {
        let others = (0..4).filter(|other| keys::key(*other) != self.config.me);
        for other in others.collect::<Vec<_>>() {
            let (height, by, signature) = (Height(1), keys::key(other), [0; 64]);
            let unsigned = SignedVote { height, round, precommit, value, by, signature };
            let message = unsigned.vote(self.ledger()).signing_bytes().unwrap();
            let signature = keys::secret(other).sign(&message).to_bytes();
            self.hears(other, CertifyMessage::Vote(SignedVote { signature, ..unsigned }));
        }
    }

    /// The others vote for nothing, and that is waited for.
    fn round_fails(&mut self, round: u32) {
        self.others_vote(round, false, None);
        self.others_vote(round, true, None);
        let patience = self.config.patience;
        self.now = self.now.after(patience.vote + patience.more * round);
        self.input(CertifyInput::Tick);
    }

    /// The store has chosen the first checkpoint.
    fn chooses(&mut self) {
        let chosen = CertifyAnswer::Chosen(Some(Box::new(self.parts.clone())));
        let ticket = self.choose.take().unwrap();
        self.input(CertifyInput::Done(ticket, chosen));
    }

    /// What it has prevoted in a round.
    fn prevote(&self, round: u32) -> Option<Option<Id>> {
        self.sent.iter().find_map(|message| match message {
            CertifyMessage::Vote(vote) if vote.round == round && !vote.precommit => {
                Some(vote.value)
            }
            _ => None,
        })
    }

    /// It starts again with what it has logged.
    fn starts_again(&mut self) {
        self.sent.clear();
        self.config.number += 1;
        let log = Log::Kept(self.log.clone());
        self.certifier = start(&self.config, &self.chain, log, self.mark);
        self.meets_all();
    }
}

pub fn start(config: &CertifyConfig, chain: &Chain, log: Log, mark: Option<Mark>) -> Certifier {
    let number = keys::number(config.me);
    let node_keys = Arc::new(NodeKeys { number, memory: keys::Memory::default() });
    let (chain, heads) = (chain.clone(), vec![config.ledger]);
    let start = CertifyStart { chain, tip: None, certifiers: Vec::new(), log, mark, heads };
    Certifier::new(config.clone(), node_keys, start, Moment(0))
}

/// Whoever is slow to choose may have heard of the same, for the next round.
#[test]
fn what_it_chooses_it_knows_when_somebody_else_proposes_it() {
    for turn_is_over in [false, true] {
        let mut alone = Alone::new(0);
        let value = Some(Some(Id(alone.parts.id())));
        alone.hears_proposal(1);
        if turn_is_over {
            alone.round_fails(0);
            alone.chooses();
        } else {
            alone.chooses();
            assert_eq!(alone.prevote(0), value);
            alone.round_fails(0);
        }
        assert_eq!(alone.prevote(1), value, "turn is over: {turn_is_over}");
        alone.starts_again();
        let state = alone.certifier.status().state;
        assert!(!matches!(state, CertifyState::Stopped(_)), "{state:?}");
        assert_eq!(alone.prevote(1), value);
    }
}

/// Two others of the round in which it chooses take all the room that the core has.
#[test]
fn what_it_chooses_among_too_many_it_knows_later() {
    let mut alone = Alone::new(0);
    alone.round_fails(0);
    alone.hears_another(1, [1; 32]);
    alone.hears_another(1, [2; 32]);
    alone.chooses();
    alone.round_fails(1);
    alone.hears_proposal(2);
    assert_eq!(alone.prevote(2), Some(Some(Id(alone.parts.id()))));
}

/// One that proposes for a round to come what somebody proposes now does not put it off.
#[test]
fn what_is_proposed_for_later_is_looked_at_when_it_is_proposed_now() {
    let mut alone = Alone::new(1);
    alone.hears_proposal(3);
    assert_eq!(alone.derive, None);
    alone.hears_proposal(0);
    assert!(alone.derive.is_some());
}

#[test]
fn what_is_not_due_yet_is_looked_at_again() {
    let mut alone = Alone::not_due(0, 3);
    assert_eq!(alone.choose, None);
    assert_eq!(alone.certifier.status().state, CertifyState::Waits);
    let mut asked = 0;
    while alone.choose.is_none() {
        // Not before it is time, and not for ever.
        let next = alone.certifier.next().unwrap();
        assert!(next > alone.now && asked < 20);
        (alone.now, asked) = (next, asked + 1);
        alone.input(CertifyInput::Tick);
    }
    assert!(alone.now >= Moment(0).after(std::time::Duration::from_secs(3)));
}

/// It has lost its mark and nothing else, and somebody knows that nothing else was signed.
#[test]
fn whoever_is_vouched_for_goes_on_where_its_log_ends() {
    let mut alone = Alone::new(1);
    let value = Some(Some(Id(alone.parts.id())));
    alone.hears_proposal(0);
    let ticket = alone.derive.take().unwrap();
    alone.input(CertifyInput::Done(ticket, CertifyAnswer::Derived(Derived::Same)));
    assert_eq!(alone.prevote(0), value);
    alone.mark = None;
    alone.starts_again();
    assert_eq!(alone.certifier.status().state, CertifyState::Abstains);
    alone.input(CertifyInput::Vouched);
    for _ in 0..3 {
        alone.now = alone.now.after(alone.config.patience.propose);
        alone.input(CertifyInput::Tick);
        let state = alone.certifier.status().state;
        assert_eq!((state, alone.prevote(0)), (CertifyState::Votes, value));
    }
    // And so it does after the next start.
    alone.starts_again();
    assert_eq!((alone.certifier.status().state, alone.prevote(0)), (CertifyState::Votes, value));
}

/// A disk that is full or slow, and one that asks as often as it may.
#[test]
fn what_waits_for_the_log_is_bounded() {
    let mut alone = Alone::new(0);
    alone.chooses();
    alone.durable_late = true;
    alone.round_fails(0);
    alone.hears_another(1, [1; 32]);
    let (height, round, value) = (Height(1), 0, alone.parts.id());
    for _ in 0..2_000 {
        alone.now = alone.now.after(std::time::Duration::from_millis(10));
        let ask = AskProposal { height, round, value };
        alone.hears(2, CertifyMessage::AskProposal(ask));
        alone.hears(2, CertifyMessage::AskClaim(7));
    }
    alone.sent.clear();
    let entry = alone.log.len() as u64;
    alone.input(CertifyInput::Durable(entry));
    assert!(alone.sent.len() < 100, "{} messages have waited", alone.sent.len());
}

/// A crowd comes after the start, and then the others have voted for what it had voted for.
#[test]
fn what_it_has_voted_for_stays_longest_after_a_start_too() {
    for starts in [false, true] {
        let mut alone = Alone::new(1);
        let value = Some(Id(alone.parts.id()));
        alone.hears_proposal(0);
        let ticket = alone.derive.take().unwrap();
        alone.input(CertifyInput::Done(ticket, CertifyAnswer::Derived(Derived::Same)));
        assert_eq!(alone.prevote(0), Some(value));
        if starts {
            alone.starts_again();
        }
        for round in 1..50 {
            alone.round_fails(round);
            if round % 4 != 0 {
                alone.hears_another(round + 1, [u8::try_from(round).unwrap(); 32]);
                alone.hears_another(round + 1, [u8::try_from(round + 100).unwrap(); 32]);
            }
            alone.now = alone.now.after(std::time::Duration::from_secs(1));
        }
        assert_eq!(alone.certifier.status().round.map(|(round, _)| round), Some(50));
        alone.others_vote(0, true, value);
        assert_eq!(alone.certifier.status().state, CertifyState::Keeps, "starts: {starts}");
    }
}
