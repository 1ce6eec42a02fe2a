//! How long proofs are in large ledgers, whose trees are made up around one leaf.

use quipu_merge::{
    Claim, KeyEntry, Leaf, LeafKind, LogHash, Proof, ProvedWrite, StateProof, Trust,
    check_inclusion, event_leaf_hash, prove_inclusion,
};
use sha2::{Digest, Sha256};

use super::world::World;
use super::{SETS, key};

const EVENTS: u64 = 10_000_000;
const LEAVES_LOG2: usize = 20;
/// How far two of a million key hashes share their bits at most, seen from one of them, in all but
/// one of ten thousand cases.
const DEPTH: usize = LEAVES_LOG2 + 14;

/// A log in which every leaf is the same event.
struct Uniform(LogHash);

impl quipu_merge::StoredHashes for Uniform {
    type Error = std::convert::Infallible;

    fn read(&self, index: u64) -> Result<Option<LogHash>, Self::Error> {
        let (level, _) = tlog_tiles::tlog::split_stored_hash_index(index);
        Ok(Some((0..level).fold(self.0, |hash, _| node(hash, hash))))
    }
}

fn node(left: LogHash, right: LogHash) -> LogHash {
    tlog_tiles::node_hash(tlog_tiles::Hash(left), tlog_tiles::Hash(right)).0
}

/// What stands in the checkpoint of a world's height 2 for `claim` to hold, and the proof.
fn certified(claim: Claim, root: Option<LogHash>, state: Option<[u8; 32]>) -> (Proof, Trust) {
    let mut world = World::new(SETS);
    let link = &mut world.chain[1];
    link.checkpoint.root = root.unwrap_or(link.checkpoint.root);
    link.checkpoint.state = state.unwrap_or(link.checkpoint.state);
    link.checkpoint.size = EVENTS;
    let checkpoint = link.checkpoint.clone();
    world.chain[1].certificate = world.sign(&checkpoint, &[0, 1, 2, 3]);
    world.proof(0, 2, &[], claim)
}

/// Everything but the blocks that certify.
fn beside_certificates(proof: &Proof) -> usize {
    let certificate = |step: &quipu_merge::ProofStep| step.certificate.encode().unwrap().len();
    proof.encode().unwrap().len() - proof.steps.iter().map(certificate).sum::<usize>()
}

#[test]
fn of_an_event_in_ten_million() {
    let world = World::new(SETS);
    let event = world.events[1].clone();
    let leaf = event_leaf_hash(event.id());
    let stored = Uniform(leaf);
    let root = quipu_merge::LogTree::resume(EVENTS, &stored).unwrap().root();
    let path = prove_inclusion(EVENTS, 6_543_210, &stored).unwrap();
    check_inclusion(&path, (EVENTS, root), (6_543_210, leaf)).unwrap();
    let claim = Claim::Event { event: event.bytes().to_vec(), index: 6_543_210, path };
    let (proof, trust) = certified(claim, Some(root), None);
    proof.check(trust).unwrap();
    let bytes = beside_certificates(&proof);
    println!("an event in {EVENTS}: {bytes} bytes beside the certificates");
    assert!(bytes < 4096);
}

#[test]
fn of_a_key_in_a_million() {
    let world = World::new(SETS);
    let (event, opening) = world.write_of(1, 0);
    let leaf = Leaf::register(&quipu_merge::Key::new("k").unwrap(), &[(event, opening)]);
    let block = world.events.iter().find(|known| known.id() == event).unwrap();
    let write =
        ProvedWrite { event: block.bytes().to_vec(), opening: world.openings[&opening].clone() };
    let siblings: Vec<[u8; 32]> =
        (0..DEPTH).map(|depth| Sha256::digest([u8::try_from(depth).unwrap()]).into()).collect();
    let path = StateProof { siblings, other: None };
    let root = state_root(&path, leaf.key_hash, &leaf.value);
    path.check(root, leaf.key_hash, Some(&leaf.value)).unwrap();
    let register = KeyEntry {
        kind: LeafKind::Register,
        value: Some(leaf.value),
        path: path.clone(),
        writes: vec![Some(write)],
    };
    let claim = Claim::Key { key: key("k"), entries: vec![register.clone()] };
    let (proof, trust) = certified(claim, None, Some(root));
    proof.check(trust).unwrap();
    // The three other kinds are absent, each at the end of a way of its own as long as this.
    let absent = |kind| KeyEntry {
        kind,
        value: None,
        path: StateProof { other: Some(([1; 32], [2; 32])), ..path.clone() },
        writes: vec![],
    };
    let others = [LeafKind::Counter, LeafKind::Set, LeafKind::List].map(absent);
    let entries = [vec![register], others.to_vec()].concat();
    let whole = Proof { claim: Claim::Key { key: key("k"), entries }, ..proof };
    let bytes = beside_certificates(&whole);
    println!("a key in 2^{LEAVES_LOG2}, ways of {DEPTH}: {bytes} bytes beside the certificates");
    assert!(bytes < 6 * 1024);
}

fn state_root(path: &StateProof, key_hash: [u8; 32], value: &[u8]) -> [u8; 32] {
    let leaf = [b"JMT::LeafNode".as_slice(), &key_hash, &Sha256::digest(value)].concat();
    let ways = (0..path.siblings.len()).map(|bit| key_hash[bit / 8] >> (7 - bit % 8) & 1 == 1);
    let ways: Vec<bool> = ways.collect();
    let start: [u8; 32] = Sha256::digest(leaf).into();
    path.siblings.iter().zip(ways).rev().fold(start, |hash, (sibling, right)| {
        let (left, right) = if right { (*sibling, hash) } else { (hash, *sibling) };
        Sha256::digest([b"JMT::IntrnalNode".as_slice(), &left, &right].concat()).into()
    })
}
