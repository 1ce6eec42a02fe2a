//! A small ledger with certified checkpoints, made by hand.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, BlockId, Body, Certificate, Certified, Checkpoint, CheckpointId, Claim, Codec,
    Content, CutBlock, Event, EventId, ForkPolicy, Genesis, Height, Key, KeyEntry, Leaf, Link,
    LogHash, LogTree, Member, Micros, Opening, OpeningId, Operation, Policy, Proof, ProofStart,
    ProvedKey, ProvedWrite, Round, Seq, SignedEvent, StateChange, Trust, ValidatorsBlock, Vote,
    VoteType, event_leaf_hash, list_entry_hash, proof_steps, prove_consistency, prove_inclusion,
    prove_state, update_state,
};

pub struct World {
    pub keys: Vec<SigningKey>,
    pub body: Vec<u8>,
    pub events: Vec<SignedEvent>,
    pub openings: BTreeMap<OpeningId, Vec<u8>>,
    pub chain: Vec<Certified>,
    stored: Vec<LogHash>,
    nodes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Who has written what, in the order of the checkpoints' state.
type Writes = Vec<(EventId, OpeningId)>;

impl World {
    /// A ledger whose genesis names the validators of `sets[0]`, and whose checkpoint of height
    /// h names those of `sets[h]`. Author 0 writes; validators are numbers of keys.
    pub fn new(sets: &[&[usize]]) -> Self {
        let count = u32::try_from(sets[0].len()).unwrap().max(9);
        let seed = |number: u32| [number.to_be_bytes(); 8].concat().try_into().unwrap();
        let mut keys: Vec<_> = (1..=count).map(|i| SigningKey::from_bytes(&seed(i))).collect();
        keys.sort_by_key(|key| key.verifying_key().to_bytes());
        let genesis = Body::Genesis(Genesis {
            name: "a world".to_owned(),
            policy: Policy::Members,
            forks: ForkPolicy::Keep,
            admins: Vec::new(),
            validators: sets[0].iter().map(|&number| author(&keys[number])).collect(),
        });
        let body = genesis.encode().unwrap();
        let mut world = Self {
            keys,
            body: body.clone(),
            events: Vec::new(),
            openings: BTreeMap::new(),
            chain: Vec::new(),
            stored: Vec::new(),
            nodes: BTreeMap::new(),
        };
        let mut log = LogTree::new();
        world.write(&body, &mut log);
        let mut appended = Vec::new();
        for (validators, named) in sets.iter().zip(&sets[1..]) {
            world.certify(validators, named, &mut log, &mut appended);
        }
        world
    }

    fn write(&mut self, body: &[u8], log: &mut LogTree) -> EventId {
        let count = self.events.len() as u64;
        let event = Event {
            author: author(&self.keys[0]),
            seq: Seq(count + 1),
            prev: self.events.last().map(SignedEvent::id),
            parents: Vec::new(),
            time: Micros(1_790_000_000_000_000 + count),
            body: quipu_merge::BodyId::of(body),
            size: u32::try_from(body.len()).unwrap(),
        };
        let event = event.sign(&self.keys[0]).unwrap();
        let id = event.id();
        self.events.push(event);
        self.stored.extend(log.append(event_leaf_hash(id)));
        id
    }

    /// An event that puts `content` into register `key` and appends it to the list.
    fn put(
        &mut self,
        key: &str,
        content: Content,
        by: usize,
        log: &mut LogTree,
    ) -> (EventId, OpeningId) {
        let number = u8::try_from(self.events.len()).unwrap();
        let opening = Opening { author: author(&self.keys[by]), salt: [number; 16], content };
        let (opening, bytes) = opening.seal();
        self.openings.insert(opening, bytes);
        let key = Key::new(key).unwrap();
        let operations = vec![
            Operation::Put { key: key.clone(), value: opening },
            Operation::Append { key, value: opening },
        ];
        let body = Body::Data(operations).encode().unwrap();
        (self.write(&body, log), opening)
    }

    fn certify(
        &mut self,
        validators: &[usize],
        named: &[usize],
        log: &mut LogTree,
        appended: &mut Writes,
    ) {
        let height = self.chain.len() as u64 + 1;
        let long = Content::Linked(Link {
            block: BlockId { codec: Codec::Raw, digest: [9; 32] },
            size: 5_000,
        });
        let text = |text: &str| Content::Inline(text.as_bytes().to_vec());
        let first = self.put("k", text(&format!("value {height}")), 0, log);
        let second = self.put("k", text("conflict"), 0, log);
        let long = self.put("long", long, 0, log);
        let foreign = self.put("foreign", text("stolen"), 1, log);
        appended.extend([first, second, long, foreign]);
        let key = |text: &str| Key::new(text).unwrap();
        let member = Member::new(b"m").unwrap();
        let mut list = LogTree::new();
        appended.iter().for_each(|&(event, opening)| {
            list.append(list_entry_hash(event, opening));
        });
        let leaves = [
            Leaf::register(&key("k"), &[first, second]),
            Leaf::register(&key("long"), &[long]),
            Leaf::register(&key("foreign"), &[foreign]),
            Leaf::counter(&key("k"), &height),
            Leaf::set(&key("k"), &BTreeMap::from([(&member, vec![first.0])])),
            Leaf::list(&key("k"), &list),
            Leaf::member(&author(&self.keys[0]), &["admin", "writer"]),
        ];
        let base = Some(Height(height - 1)).filter(|base| base.0 > 0);
        let update =
            update_state(&self.nodes, base, Height(height), leaves.map(StateChange::from)).unwrap();
        self.nodes.extend(update.nodes);
        let block = self.validators(named);
        let last = self.events.last().unwrap();
        let checkpoint = Checkpoint {
            ledger: self.ledger(),
            height: Height(height),
            prev: self.chain.last().map(|link| link.checkpoint.seal().unwrap().0),
            cut: CutBlock::new(vec![last.id()]).unwrap().seal().0,
            size: log.size(),
            root: log.root(),
            state: update.root,
            validators: block.seal().0,
            time: last.event().time,
        };
        let certificate = self.sign(&checkpoint, &validators[..validators.len().min(1024)]);
        self.chain.push(Certified { checkpoint, certificate, validators: block });
    }

    pub fn validators(&self, numbers: &[usize]) -> ValidatorsBlock {
        let keys = numbers.iter().map(|&number| author(&self.keys[number])).collect();
        ValidatorsBlock::new(keys).unwrap()
    }

    /// Precommits of these keys.
    pub fn sign(&self, checkpoint: &Checkpoint, signers: &[usize]) -> Certificate {
        let (id, _) = checkpoint.seal().unwrap();
        let (height, round) = (checkpoint.height, Round(0));
        let ledger = checkpoint.ledger;
        let vote_type = VoteType::Precommit;
        let vote = Vote { ledger, height, round, vote_type, value: Some(id) };
        let sign = |&number: &usize| {
            let key = &self.keys[number];
            (author(key), vote.sign(key).unwrap())
        };
        let signatures = signers.iter().map(sign).collect();
        Certificate { checkpoint: id, height, round, signatures }
    }

    pub fn ledger(&self) -> EventId {
        self.events[0].id()
    }

    pub fn at(&self, height: u64) -> &Certified {
        &self.chain[usize::try_from(height).unwrap() - 1]
    }

    pub fn id(&self, height: u64) -> CheckpointId {
        self.at(height).certificate.checkpoint
    }

    /// From genesis, or from the checkpoint of a height, with what must be trusted.
    pub fn start(&self, from: u64) -> (ProofStart, Trust) {
        if from == 0 {
            let (event, body) = (self.events[0].bytes().to_vec(), self.body.clone());
            return (ProofStart::Genesis { event, body }, Trust::Genesis(self.ledger()));
        }
        let Certified { checkpoint, validators, .. } = self.at(from).clone();
        (ProofStart::Checkpoint { checkpoint, validators }, Trust::Checkpoint(self.id(from)))
    }

    /// A proof that leads to `height`, through the turning points and the heights `through`.
    pub fn proof(&self, from: u64, height: u64, through: &[u64], claim: Claim) -> (Proof, Trust) {
        let (start, trust) = self.start(from);
        let needed = |at: &u64| {
            let before = if *at == 1 { None } else { Some(self.at(at - 1)) };
            let named = self.at(*at).checkpoint.validators;
            let turns = before.is_none_or(|before| before.checkpoint.validators != named);
            *at == height || through.contains(at) || turns
        };
        let certified = (from + 1..=height).filter(needed).map(|at| self.at(at).clone());
        let read = |height: Height| Ok::<_, ()>(self.at(height.0).checkpoint.clone());
        let steps = proof_steps(&start, certified, read).unwrap();
        (Proof { start, steps, claim }, trust)
    }

    pub fn event_claim(&self, index: usize, height: u64) -> Claim {
        let size = self.at(height).checkpoint.size;
        let path = prove_inclusion(size, index as u64, &self.stored).unwrap();
        Claim::Event { event: self.events[index].bytes().to_vec(), index: index as u64, path }
    }

    pub fn extends_claim(&self, from: u64, height: u64) -> Claim {
        let size = |height: u64| self.at(height).checkpoint.size;
        let path = prove_consistency(size(height), size(from), &self.stored).unwrap();
        Claim::Extends { from: Height(from), path }
    }

    /// What a key names in the state of a height; `leaves` are those that exist.
    pub fn key_claim(
        &self,
        key: ProvedKey,
        height: u64,
        leaves: &[Leaf],
        writes: &Writes,
    ) -> Claim {
        let entries = key.kinds().iter().map(|&kind| {
            let key_hash = key.key_hash(kind);
            let leaf = leaves.iter().find(|leaf| leaf.key_hash == key_hash);
            let path = prove_state(&self.nodes, Height(height), key_hash).unwrap();
            let is_register = kind == quipu_merge::LeafKind::Register;
            let writes = if is_register { self.shown(writes) } else { Vec::new() };
            KeyEntry { kind, value: leaf.map(|leaf| leaf.value.clone()), path, writes }
        });
        Claim::Key { entries: entries.collect(), key: key.clone() }
    }

    fn shown(&self, writes: &Writes) -> Vec<Option<ProvedWrite>> {
        let write = |&(event, opening): &(EventId, OpeningId)| {
            let event = self.events.iter().find(|known| known.id() == event).unwrap();
            let opening = self.openings.get(&opening)?.clone();
            Some(ProvedWrite { event: event.bytes().to_vec(), opening })
        };
        writes.iter().map(write).collect()
    }

    /// The write number `number` (from 0) of those that come with a height.
    pub fn write_of(&self, height: u64, number: usize) -> (EventId, OpeningId) {
        let index = 1 + 4 * (usize::try_from(height).unwrap() - 1) + number;
        let opening = self.openings.keys().copied().find(|opening| {
            let bytes = &self.openings[opening];
            Opening::decode(bytes).unwrap().salt == [u8::try_from(index).unwrap(); 16]
        });
        (self.events[index].id(), opening.unwrap())
    }
}

pub fn author(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}
