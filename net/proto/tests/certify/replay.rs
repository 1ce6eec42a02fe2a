//! One validator, three others that sign whatever they like, and starts at any moment: the log leads to
//! what it was made by.

use std::collections::BTreeMap;

use ed25519_dalek::Signer;
use quipu_merge::{Chain, Checkpoint, EventId, Height};
use quipu_proto::{
    Certifier, CertifyAnswer, CertifyConfig, CertifyInput, CertifyMessage, CertifyOutput,
    CertifyState, CertifyTask, Claim, Derived, Id, Log, Mark, Moment, Parts, Polka, Proposed,
    RoundProof, RoundVote, Signed, SignedProposal, SignedVote, Ticket,
};

use super::alone::start;
use super::keys;
use super::random::Random;
use super::scenario::quick;
use super::world::World;

const SEEDS: u64 = 300;
const STEPS: usize = 300;
/// So many checkpoints may be proposed; the last one is wrong.
const VALUES: usize = 5;

struct Logged {
    entry: u64,
    bytes: Vec<u8>,
    mark: Option<Mark>,
}

struct Replayed {
    random: Random,
    now: Moment,
    config: CertifyConfig,
    certifier: Certifier,
    chain: Chain,
    values: Vec<Parts>,
    log: Vec<Logged>,
    durable: u64,
    mark: Option<Mark>,
    /// Whether the log becomes durable at once.
    prompt: bool,
    me: usize,
    tasks: Vec<CertifyTask>,
    /// What was signed, by round, and 0 for a proposal, 1 for a prevote, 2 for a precommit.
    signed: BTreeMap<(u32, u8), Vec<u8>>,
    /// The seed, and what has happened since.
    trace: Vec<String>,
    decided: bool,
}

impl Replayed {
    fn new(seed: u64, config: &CertifyConfig, chain: &Chain, first: &Parts) -> Self {
        let mut random = Random::new(seed);
        let me = usize::try_from(random.below(4)).unwrap();
        let values = (0..VALUES).map(|number| {
            if number == 0 {
                return first.clone();
            }
            let state = [u8::try_from(number).unwrap(); 32];
            let checkpoint = Checkpoint { state, ..first.checkpoint().clone() };
            Parts::new(checkpoint, first.cut().clone(), first.validators().clone()).unwrap()
        });
        let values = values.collect();
        let config = CertifyConfig { me: keys::key(me), ..config.clone() };
        let certifier = start(&config, chain, Log::New, None);
        let mut replayed = Self {
            random,
            now: Moment(0),
            config,
            certifier,
            chain: chain.clone(),
            values,
            log: Vec::new(),
            durable: 0,
            mark: None,
            prompt: true,
            me,
            tasks: Vec::new(),
            signed: BTreeMap::new(),
            trace: vec![format!("QUIPU_SEED={seed}")],
            decided: false,
        };
        replayed.outputs();
        replayed.meets_all();
        replayed
    }

    fn ledger(&self) -> EventId {
        self.config.ledger
    }

    fn input(&mut self, input: CertifyInput) {
        self.certifier.handle(input, self.now);
        self.outputs();
    }

    fn outputs(&mut self) {
        loop {
            while let Some(output) = self.certifier.output() {
                self.output(output);
            }
            let last = self.log.last().map_or(0, |logged| logged.entry);
            if !self.prompt || self.durable >= last {
                return;
            }
            self.sync(last);
        }
    }

    fn sync(&mut self, entry: u64) {
        self.durable = self.durable.max(entry);
        let durable = self.durable;
        let marks = self.log.iter().filter(|logged| logged.entry <= durable);
        self.mark = marks.filter_map(|logged| logged.mark).max().max(self.mark);
        self.certifier.handle(CertifyInput::Durable(entry), self.now);
    }

    fn output(&mut self, output: CertifyOutput) {
        match output {
            CertifyOutput::Send(_, message) => self.sent(&message),
            CertifyOutput::Append { entry, bytes, mark, .. } => {
                self.log.push(Logged { entry, bytes, mark });
            }
            CertifyOutput::Do(CertifyTask::Grows { ticket, .. }) => {
                let answer = CertifyAnswer::Grows(true);
                self.certifier.handle(CertifyInput::Done(ticket, answer), self.now);
            }
            CertifyOutput::Do(CertifyTask::Keep { .. }) => self.decided = true,
            CertifyOutput::Do(task) => self.tasks.push(task),
            CertifyOutput::Evidence(evidence) => {
                assert_ne!(evidence.validator(), self.config.me, "{}", self.story());
            }
            CertifyOutput::Misbehaved(..) => {}
            other => panic!("{other:?}"),
        }
    }

    fn sent(&mut self, message: &CertifyMessage) {
        let (at, content) = match message {
            CertifyMessage::Vote(vote) if vote.by == self.config.me => {
                let content = vote.vote(self.ledger()).signing_bytes().unwrap();
                ((vote.round, 1 + u8::from(vote.precommit)), content)
            }
            CertifyMessage::Proposal(Proposed { proposal, .. })
                if proposal.by == self.config.me =>
            {
                ((proposal.round, 0), proposal.signing_bytes(self.ledger()))
            }
            _ => return,
        };
        let before = self.signed.entry(at).or_insert_with(|| content.clone()).clone();
        assert_eq!(before, content, "{at:?} twice: {}", self.story());
    }

    fn story(&self) -> String {
        self.trace.join("\n")
    }

    fn hears(&mut self, from: usize, message: CertifyMessage) {
        self.input(CertifyInput::Received(keys::key(from), Box::new(message)));
    }

    fn others(&self) -> Vec<usize> {
        (0..4).filter(|other| *other != self.me).collect()
    }

    fn meets_all(&mut self) {
        for other in self.others() {
            self.input(CertifyInput::Connected(keys::key(other)));
            let (number, height) = (self.config.number, Height(1));
            self.hears(other, CertifyMessage::Claim(Claim { number, height, yours: None }));
        }
    }

    fn stand(&self) -> Option<(u32, String)> {
        self.certifier.status().round.map(|(round, step)| (round, format!("{step:?}")))
    }

    fn round(&self) -> u32 {
        self.stand().map_or(0, |(round, _)| round)
    }

    fn check(&self) {
        let state = self.certifier.status().state;
        let stopped = matches!(state, CertifyState::Stopped(_) | CertifyState::Abstains);
        assert!(!stopped, "{state:?}\n{}", self.story());
    }

    fn restart(&mut self, all: bool) {
        let before = self.stand();
        let last = self.log.last().map_or(0, |logged| logged.entry);
        if all {
            self.sync(last);
        }
        let durable = self.durable;
        self.log.retain(|logged| logged.entry <= durable);
        self.log.iter_mut().for_each(|logged| logged.entry = 0);
        (self.durable, self.now) = (0, Moment(0));
        self.tasks.clear();
        self.config.number += 1;
        let entries: Vec<_> = self.log.iter().map(|logged| logged.bytes.clone()).collect();
        let log = if self.mark.is_none() { Log::New } else { Log::Kept(entries) };
        self.certifier = start(&self.config, &self.chain, log, self.mark);
        self.decided = false;
        self.outputs();
        self.meets_all();
        self.check();
        if all && before.is_some() {
            assert_eq!(before, self.stand(), "{}", self.story());
        }
    }

    fn value(&mut self) -> usize {
        usize::try_from(if self.random.once_in(2) { 0 } else { self.random.below(VALUES as u64) })
            .unwrap()
    }

    fn some_round(&mut self) -> u32 {
        let ahead = self.random.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 11, -1, -1, -2, -3]);
        self.round().saturating_add_signed(ahead)
    }

    fn vote_of(&self, of: usize, round: u32, precommit: bool, value: Option<usize>) -> SignedVote {
        let value = value.map(|value| Id(self.values[value].id()));
        let (height, by, signature) = (Height(1), keys::key(of), [0; 64]);
        let unsigned = SignedVote { height, round, precommit, value, by, signature };
        let message = unsigned.vote(self.ledger()).signing_bytes().unwrap();
        let signature = keys::secret(of).sign(&message).to_bytes();
        SignedVote { signature, ..unsigned }
    }

    fn choice(&mut self) -> Option<usize> {
        if self.random.once_in(3) { None } else { Some(self.value()) }
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..=3 => self.votes(1),
            4..=5 => self.votes(3),
            6..=10 => self.proposal(),
            11 => self.polka(),
            12 => self.proof(),
            13..=14 => {
                let times = self.random.below(8);
                self.now = Moment(self.now.0 + self.random.below(300_000) * times);
                self.note(format!("tick {:?}", self.now));
                self.input(CertifyInput::Tick);
            }
            15..=19 => self.answer(),
            20 => {
                let heads = vec![self.ledger(), EventId(self.random.bytes32())];
                self.input(CertifyInput::Heads(heads));
            }
            21 => {
                self.prompt = !self.prompt;
                self.outputs();
            }
            22 => {
                let last = self.log.last().map_or(0, |logged| logged.entry);
                let some = self.random.below(last + 1);
                self.sync(some);
                self.outputs();
            }
            _ if self.random.once_in(2) => {
                let all = self.random.once_in(2);
                self.note(format!("start, all is durable: {all}"));
                self.restart(all);
            }
            _ => {}
        }
        self.check();
    }

    fn note(&mut self, what: String) {
        let stand = self.stand();
        self.trace.push(format!("{stand:?} {what}"));
    }

    fn votes(&mut self, count: usize) {
        let (round, precommit, value) = (self.some_round(), self.random.once_in(2), self.choice());
        self.note(format!("{count} votes {round} {precommit} {value:?}"));
        let (others, first) = (self.others(), self.random.pick(&[0, 1, 2]));
        for at in first..first + count {
            let other = others[at % 3];
            let vote = self.vote_of(other, round, precommit, value);
            self.hears(other, CertifyMessage::Vote(vote));
        }
    }

    fn polka(&mut self) {
        let (round, value) = (self.some_round(), self.value());
        self.note(format!("polka {round} {value}"));
        let signed = |of: &usize| {
            let vote = self.vote_of(*of, round, false, Some(value));
            Signed { by: vote.by, signature: vote.signature }
        };
        let others = self.others();
        let signatures = others.iter().map(signed).collect();
        let (height, value) = (Height(1), self.values[value].id());
        let polka = Polka { height, round, value, signatures };
        self.hears(others[0], CertifyMessage::Polka(polka));
    }

    fn proof(&mut self) {
        let (leave, far) = (self.random.once_in(2), self.random.once_in(12));
        let round = self.some_round() + if far { 15 } else { 0 };
        self.note(format!("proof {round} {leave}"));
        let mut votes = Vec::new();
        for of in self.others() {
            let (value, precommit) = (self.choice(), leave || self.random.once_in(2));
            let vote = self.vote_of(of, round, precommit, value);
            let SignedVote { value, by, signature, .. } = vote;
            votes.push(RoundVote { precommit, value, by, signature });
        }
        let proof = RoundProof { height: Height(1), round, leave, votes };
        self.hears(self.others()[0], CertifyMessage::RoundProof(proof));
    }

    fn proposal(&mut self) {
        let round = self.some_round();
        let by = round as usize % 4;
        if by == self.me {
            return;
        }
        let value = self.value();
        let pol_round = if round > 0 && self.random.once_in(3) {
            Some(round - 1 - u32::try_from(self.random.below(u64::from(round.min(4)))).unwrap())
        } else {
            None
        };
        let parts = self.values[value].clone();
        let unsigned = SignedProposal {
            height: Height(1),
            round,
            pol_round,
            value: parts.id(),
            by: keys::key(by),
            signature: [0; 64],
        };
        let message = unsigned.signing_bytes(self.ledger());
        let signature = keys::secret(by).sign(&message).to_bytes();
        let with = !self.random.once_in(4);
        self.note(format!("proposal {round} {value} {pol_round:?} parts {with}"));
        let proposal = SignedProposal { signature, ..unsigned };
        let parts = with.then(|| parts.encode());
        self.hears(self.others()[0], CertifyMessage::Proposal(Proposed { proposal, parts }));
    }

    fn answer(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let at = usize::try_from(self.random.below(self.tasks.len() as u64)).unwrap();
        let (ticket, answer): (Ticket, CertifyAnswer) = match self.tasks.remove(at) {
            CertifyTask::Choose { ticket, .. } => {
                let chosen = usize::try_from(self.random.below(VALUES as u64)).unwrap();
                self.note(format!("chosen {chosen}"));
                let parts = (chosen + 1 < VALUES).then(|| Box::new(self.values[chosen].clone()));
                (ticket, CertifyAnswer::Chosen(parts))
            }
            CertifyTask::Derive { ticket, parts } => {
                let lacks = self.random.once_in(4);
                let same = parts.id() != self.values[VALUES - 1].id();
                let at = self.values.iter().position(|one| one.id() == parts.id());
                self.note(format!("derived {at:?} lacks {lacks}"));
                let derived = match (lacks, same) {
                    (true, _) => Derived::Lacks,
                    (_, true) => Derived::Same,
                    _ => Derived::Differs(None),
                };
                (ticket, CertifyAnswer::Derived(derived))
            }
            _ => return,
        };
        self.input(CertifyInput::Done(ticket, answer));
    }
}

#[test]
fn whatever_others_say_a_log_leads_to_what_it_was_made_by() {
    let mut world = World::new(1, 4, 0, quick());
    world.run_until(3_000_000);
    let first = world.members[0].disk.kept[0].parts.clone();
    let chain = Chain::new(world.ledger.id(), &world.ledger.genesis);
    let number = super::number;
    let (from, count) = (number("QUIPU_SEED").unwrap_or(1), number("QUIPU_SEEDS").unwrap_or(SEEDS));
    for seed in from..from + count {
        let mut replayed = Replayed::new(seed, &world.config, &chain, &first);
        for _ in 0..STEPS {
            if replayed.decided {
                break;
            }
            replayed.step();
        }
        replayed.restart(true);
    }
}
