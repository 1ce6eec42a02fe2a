//! One validator of four with its disk, and what must hold of all that it does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};

use ed25519_dalek::{Signer, SigningKey};
use quipu_merge::{
    AuthorKey, Chain, Checkpoint, CutBlock, EventId, ForkPolicy, Genesis, Height, Micros, Policy,
    ValidatorsBlock,
};
use quipu_proto::{
    Certified, Certifier, CertifyConfig, CertifyInput, CertifyMessage, CertifyOutput, CertifyStart,
    CertifyTask, Evidence, Keys, Log, Mark, Message, Moment, Parts, SignedVote,
};

pub const LEDGER: EventId = EventId([7; 32]);
/// What a validator may want done because of one input.
const MOST: usize = 1_000;

/// The keys of the four, ascending.
pub static SECRETS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    let mut secrets: Vec<_> = (1..=4).map(|seed| SigningKey::from_bytes(&[seed; 32])).collect();
    secrets.sort_by_key(|secret| secret.verifying_key().to_bytes());
    secrets
});

pub fn key(number: usize) -> AuthorKey {
    AuthorKey(SECRETS[number].verifying_key().to_bytes())
}

fn keys() -> Vec<AuthorKey> {
    (0..SECRETS.len()).map(key).collect()
}

struct OwnKey(usize);

impl Keys for OwnKey {
    fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        Some(SECRETS[self.0].sign(message).to_bytes())
    }
}

/// An entry of the log, with the mark that goes with it.
struct Logged {
    entry: u64,
    height: Height,
    bytes: Vec<u8>,
    mark: Option<Mark>,
}

pub struct Validator {
    pub me: usize,
    pub now: u64,
    pub starts: u64,
    /// Whether the log becomes durable at once.
    pub is_prompt: bool,
    pub kept: Vec<Certified>,
    pub tasks: VecDeque<CertifyTask>,
    /// Its last vote that was sent.
    pub voted: Option<SignedVote>,
    certifier: Certifier,
    log: Vec<Logged>,
    durable: u64,
    mark: Option<Mark>,
    /// What it has signed at a height, in a round and step.
    signed: BTreeMap<Mark, Vec<u8>>,
    chain: Chain,
}

impl Validator {
    pub fn new(me: usize) -> Self {
        let certifier = certifier(me, 0, &[], Log::New, None);
        let mut validator = Self {
            me,
            now: 0,
            starts: 0,
            is_prompt: true,
            kept: Vec::new(),
            tasks: VecDeque::new(),
            voted: None,
            certifier,
            log: Vec::new(),
            durable: 0,
            mark: None,
            signed: BTreeMap::new(),
            chain: chain(&[]),
        };
        validator.settle();
        validator
    }

    pub fn put(&mut self, input: CertifyInput) {
        self.certifier.handle(input, Moment(self.now));
        self.settle();
    }

    pub fn receive(&mut self, from: AuthorKey, message: CertifyMessage) {
        self.put(CertifyInput::Received(from, Box::new(message)));
    }

    pub fn height(&self) -> u64 {
        self.kept.len() as u64 + 1
    }

    /// Stops, loses what is not durable, and starts again with nobody around.
    pub fn restart(&mut self) {
        let durable = self.durable;
        self.log.retain(|logged| logged.entry <= durable);
        self.log.iter_mut().for_each(|logged| logged.entry = 0);
        self.starts += 1;
        (self.durable, self.now) = (0, 0);
        self.tasks.clear();
        self.chain = chain(&self.kept);
        let entries: Vec<_> = self.log.iter().map(|logged| logged.bytes.clone()).collect();
        let log = if self.mark.is_none() { Log::New } else { Log::Kept(entries) };
        self.certifier = certifier(self.me, self.starts, &self.kept, log, self.mark);
        self.settle();
    }

    /// The log is durable up to an entry, and so is its mark.
    pub fn sync(&mut self, entry: u64) {
        self.durable = self.durable.max(entry);
        let durable = self.log.iter().filter(|logged| logged.entry <= entry);
        self.mark = durable.filter_map(|logged| logged.mark).max().max(self.mark);
        self.put(CertifyInput::Durable(entry));
    }

    /// The number of the last entry of the log since the start.
    pub fn appended(&self) -> u64 {
        self.log.last().map_or(0, |logged| logged.entry)
    }

    fn settle(&mut self) {
        for _ in 0..MOST {
            let Some(output) = self.certifier.output() else {
                if self.is_prompt && self.durable < self.appended() {
                    self.sync(self.appended());
                }
                return;
            };
            self.output(output);
        }
        panic!("an input is answered without end");
    }

    fn output(&mut self, output: CertifyOutput) {
        match output {
            CertifyOutput::Send(to, message) => {
                assert!(!to.is_empty() && to.len() <= SECRETS.len());
                self.check_sent(&message);
                let (channel, message) = (message.channel(), Message::Certify(message));
                assert_eq!(Message::decode(channel, &message.encode()), Ok(Some(message)));
            }
            CertifyOutput::Append { entry, height, bytes, mark } => {
                assert_eq!(
                    entry,
                    self.log.last().map_or(0, |last| last.entry).max(self.durable) + 1
                );
                self.log.push(Logged { entry, height, bytes, mark });
            }
            CertifyOutput::Trim(height) => {
                let durable = self.durable;
                self.log.retain(|logged| logged.height >= height || logged.entry > durable);
            }
            CertifyOutput::Do(task) => self.tasks.push_back(task),
            CertifyOutput::Certified(certified) => {
                let Certified { parts, certificate } = &*certified;
                let next = self.chain.accept(parts.checkpoint(), certificate, parts.validators());
                assert_eq!(next, Ok(parts.id()));
            }
            CertifyOutput::Evidence(evidence) => {
                assert_eq!(Evidence::decode(&evidence.encode(), LEDGER).as_ref(), Ok(&evidence));
                assert_ne!(evidence.validator(), key(self.me));
            }
            CertifyOutput::Misbehaved(peer, _) => assert_ne!(peer, key(self.me)),
            CertifyOutput::Diverged(_) => {}
        }
    }

    /// It signs one thing for each step, and sends nothing that it could forget.
    fn check_sent(&mut self, message: &CertifyMessage) {
        let me = key(self.me);
        let (height, round, step, content) = match message {
            CertifyMessage::Vote(vote) if vote.by == me => {
                self.voted = Some(vote.clone());
                let value = vote.value.map_or(Vec::new(), |id| id.0.0.to_vec());
                (vote.height, vote.round, 2 + u8::from(vote.precommit), value)
            }
            CertifyMessage::Proposal(proposed) if proposed.proposal.by == me => {
                let proposal = &proposed.proposal;
                (proposal.height, proposal.round, 1, proposal.signing_bytes(LEDGER))
            }
            _ => return,
        };
        let mark = Mark { height, round, step };
        assert!(self.mark >= Some(mark), "{mark:?} is sent before it is durable");
        let before = self.signed.entry(mark).or_insert_with(|| content.clone());
        assert_eq!(*before, content, "two things are signed for {mark:?}");
    }
}

fn chain(kept: &[Certified]) -> Chain {
    let genesis = Genesis {
        name: String::new(),
        policy: Policy::Open,
        forks: ForkPolicy::Keep,
        admins: Vec::new(),
        validators: keys(),
    };
    kept.last().map_or_else(
        || Chain::new(LEDGER, &genesis),
        |tip| Chain::trusting(tip.parts.checkpoint(), tip.parts.validators()).expect("it is kept"),
    )
}

fn certifier(
    me: usize,
    number: u64,
    kept: &[Certified],
    log: Log,
    mark: Option<Mark>,
) -> Certifier {
    let (chain, tip) = (chain(kept), kept.last().cloned());
    let start = CertifyStart { chain, tip, certifiers: keys(), log, mark, heads: Vec::new() };
    let config = CertifyConfig::new(key(me), LEDGER, number);
    Certifier::new(config, Arc::new(OwnKey(me)), start, Moment(0))
}

/// The checkpoint of a height on top of what is kept. Each number makes another; the last of them
/// does not follow.
pub fn parts(kept: &[Certified], height: u64, number: u8) -> Parts {
    let before = usize::try_from(height).ok().and_then(|height| kept.get(height.checked_sub(2)?));
    let cut = CutBlock::new(vec![EventId([number; 32])]).expect("one head");
    let validators = ValidatorsBlock::new(keys()).expect("four keys, ascending");
    // Where what precedes it is not known, something else stands for it.
    let unknown = || (height > 1).then_some(quipu_merge::CheckpointId([9; 32]));
    let checkpoint = Checkpoint {
        ledger: if number == 3 { EventId([8; 32]) } else { LEDGER },
        height: Height(height.max(1)),
        prev: before.map(|before| before.parts.id()).or_else(unknown),
        cut: cut.seal().0,
        size: height.max(1),
        root: [number; 32],
        state: [number; 32],
        validators: validators.seal().0,
        time: Micros(height),
    };
    Parts::new(checkpoint, cut, validators).expect("a checkpoint within the limits")
}
