use proptest::prelude::*;

use super::*;
use crate::log_tree::InvalidProof;
use crate::state_root::{EMPTY_STATE_ROOT, LeafKind, state_root};

type Nodes = BTreeMap<Vec<u8>, Vec<u8>>;
type Leaves = BTreeMap<[u8; 32], Vec<u8>>;

/// Key hashes that share long prefixes, and such that do not.
fn key_hash(number: u16) -> [u8; 32] {
    if number < 24 {
        let mut key_hash = [0; 32];
        key_hash[usize::from(number / 8)] = 0x80 >> (number % 8);
        return key_hash;
    }
    LeafKind::Counter.key_hash(&number.to_be_bytes())
}

fn step(nodes: &mut Nodes, base: Option<u64>, height: u64, changes: &[StateChange]) -> StateUpdate {
    let update =
        update_state(nodes, base.map(Height), Height(height), changes.iter().cloned()).unwrap();
    assert!(update.nodes.is_sorted_by(|a, b| a.0 < b.0));
    for (key, node) in &update.nodes {
        assert_eq!(nodes.insert(key.clone(), node.clone()), None, "a key that is not new");
    }
    update
}

fn apply(leaves: &mut Leaves, changes: &[StateChange]) {
    for change in changes {
        match &change.value {
            Some(value) => leaves.insert(change.key_hash, value.clone()),
            None => leaves.remove(&change.key_hash),
        };
    }
}

fn root_of(leaves: &Leaves) -> [u8; 32] {
    let leaf = |(key_hash, value): (&[u8; 32], &Vec<u8>)| Leaf {
        key_hash: *key_hash,
        value: value.clone(),
    };
    state_root(leaves.iter().map(leaf)).unwrap()
}

/// Every key has a proof of exactly what the state holds, and nothing else can be shown by it.
fn check_proofs(nodes: &Nodes, height: u64, leaves: &Leaves) {
    let root = root_of(leaves);
    for number in 0..64 {
        let key_hash = key_hash(number);
        let value = leaves.get(&key_hash).map(Vec::as_slice);
        let proof = prove_state(nodes, Height(height), key_hash).unwrap();
        assert_eq!(proof.check(root, key_hash, value), Ok(()), "key {number}");
        let other: Option<&[u8]> = if value.is_some() { None } else { Some(&[]) };
        for wrong in [other, Some(b"another")] {
            assert_eq!(proof.check(root, key_hash, wrong), Err(InvalidProof));
        }
        for place in 0..proof.siblings.len() {
            let mut changed = proof.clone();
            changed.siblings[place][place % 32] ^= 1;
            assert_eq!(changed.check(root, key_hash, value), Err(InvalidProof));
            let shorter =
                StateProof { siblings: proof.siblings[..place].to_vec(), ..proof.clone() };
            assert_eq!(shorter.check(root, key_hash, value), Err(InvalidProof));
        }
        let mut longer = proof.clone();
        longer.siblings.push(EMPTY_STATE_ROOT);
        assert_eq!(longer.check(root, key_hash, value), Err(InvalidProof));
        if let Some((other, value_hash)) = proof.other {
            for changed in [None, Some((key_hash, value_hash)), Some((other, [0; 32]))] {
                let changed = StateProof { other: changed, ..proof.clone() };
                assert_eq!(changed.check(root, key_hash, None), Err(InvalidProof));
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<StateChange>> {
    let value = prop::option::weighted(0.6, prop::collection::vec(any::<u8>(), 0..4));
    let change = (0..64_u16, value)
        .prop_map(|(number, value)| StateChange { key_hash: key_hash(number), value });
    prop_oneof![4 => prop::collection::vec(change, 0..40), 1 => Just(removals())]
}

/// Removes everything there can be.
fn removals() -> Vec<StateChange> {
    (0..64).map(|number| StateChange { key_hash: key_hash(number), value: None }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn step_by_step_is_as_all_at_once(
        history in prop::collection::vec((1..3_u64, changes()), 1..12),
    ) {
        let (mut nodes, mut leaves) = (Nodes::new(), Leaves::new());
        let (mut pruned, mut height, mut base) = (Nodes::new(), 0, None);
        let mut states = Vec::new();
        for (ahead, changes) in history {
            height += ahead;
            apply(&mut leaves, &changes);
            let update = step(&mut nodes, base, height, &changes);
            prop_assert_eq!(update.root, root_of(&leaves));
            states.push((height, leaves.clone()));
            // What is not stale is enough for the newest state, and no more than that.
            pruned.extend(update.nodes);
            for key in &update.stale {
                prop_assert!(pruned.remove(key).is_some());
            }
            let whole = step(&mut Nodes::new(), None, height, &whole(&leaves));
            prop_assert_eq!(pruned.len(), whole.nodes.len());
            check_proofs(&pruned, height, &leaves);
            base = Some(height);
        }
        // Every earlier state is still there.
        for (height, leaves) in states {
            check_proofs(&nodes, height, &leaves);
        }
    }

    #[test]
    fn piece_by_piece_is_as_all_at_once(
        pieces in prop::collection::vec(prop::collection::vec(0..64_u16, 1..20), 1..8),
    ) {
        let (mut nodes, mut leaves) = (Nodes::new(), Leaves::new());
        for (at, piece) in pieces.iter().enumerate() {
            let value = vec![u8::try_from(at).unwrap()];
            let leaf = |number: &u16| Leaf { key_hash: key_hash(*number), value: value.clone() };
            let update = extend_state(&nodes, at > 0, Height(3), piece.iter().map(leaf)).unwrap();
            leaves.extend(piece.iter().map(|number| (key_hash(*number), value.clone())));
            prop_assert_eq!((update.root, update.stale.len()), (root_of(&leaves), 0));
            nodes.extend(update.nodes);
        }
        // The same nodes, and no others.
        let mut whole_nodes = Nodes::new();
        step(&mut whole_nodes, None, 3, &whole(&leaves));
        prop_assert_eq!(&nodes, &whole_nodes);
        check_proofs(&nodes, 3, &leaves);
    }

    #[test]
    fn damaged_nodes_are_errors(
        place in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let all: Vec<_> = (0..64).map(|number| StateChange {
            key_hash: key_hash(number), value: Some(vec![1]),
        }).collect();
        let mut nodes = Nodes::new();
        let update = step(&mut nodes, None, 1, &all);
        let (key, node) = place.get(&update.nodes);
        let mut damaged = node.clone();
        damaged[at.index(node.len())] ^= 1 << bit;
        nodes.insert(key.clone(), damaged);
        // Nothing panics, and no proof shows what is not so.
        let _ = update_state(&nodes, Some(Height(1)), Height(2), removals());
        let _ = update_state(&nodes, Some(Height(1)), Height(2), all);
        for number in 0..64 {
            let wrong = prove_state(&nodes, Height(1), key_hash(number))
                .is_ok_and(|proof| proof.check(update.root, key_hash(number), None).is_ok());
            prop_assert!(!wrong);
        }
        nodes.remove(key);
        let missing = Err(StateTreeError::Missing(key.clone()));
        prop_assert_eq!(update_state(&nodes, Some(Height(1)), Height(2), removals()), missing);
    }
}

fn whole(leaves: &Leaves) -> Vec<StateChange> {
    let change = |(key_hash, value): (&[u8; 32], &Vec<u8>)| StateChange {
        key_hash: *key_hash,
        value: Some(value.clone()),
    };
    leaves.iter().map(change).collect()
}

#[test]
fn the_empty_state_proves_absence() {
    let mut nodes = Nodes::new();
    let update = step(&mut nodes, None, 7, &[]);
    assert_eq!((update.root, update.stale), (EMPTY_STATE_ROOT, vec![]));
    let proof = prove_state(&nodes, Height(7), [1; 32]).unwrap();
    assert_eq!(proof, StateProof::default());
    assert_eq!(proof.check(EMPTY_STATE_ROOT, [1; 32], None), Ok(()));
    let missing = prove_state(&nodes, Height(6), [1; 32]).unwrap_err();
    assert_eq!(missing, StateTreeError::Missing(node::root_key(6)));
}

#[test]
fn heights_ascend() {
    let nodes = Nodes::new();
    for (base, height) in [(Some(2), 2), (Some(3), 2), (None, 0), (Some(0), 1)] {
        let refused = update_state(&nodes, base.map(Height), Height(height), []);
        assert_eq!(refused, Err(StateTreeError::Height { height, base }));
    }
    let refused = extend_state(&nodes, false, Height(0), []);
    assert_eq!(refused, Err(StateTreeError::Height { height: 0, base: None }));
    let missing = StateTreeError::Missing(node::root_key(2));
    let leaf = Leaf { key_hash: [1; 32], value: Vec::new() };
    assert_eq!(extend_state(&nodes, true, Height(2), [leaf]), Err(missing));
}

#[test]
fn a_way_longer_than_a_key_hash_is_refused() {
    let siblings = vec![EMPTY_STATE_ROOT; MAX_STATE_PROOF_LEN + 1];
    let proof = StateProof { siblings, other: None };
    assert_eq!(proof.check(EMPTY_STATE_ROOT, [0; 32], None), Err(InvalidProof));
}
