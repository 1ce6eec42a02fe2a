//! What keeping the tree over a state costs: `cargo bench -p quipu-merge --bench state_tree`.
//!
//! A tree over a million leaves is built at once, then changed in batches beside building it anew.

#![allow(clippy::unwrap_used, reason = "a benchmark that panics says what is wrong")]
#![expect(clippy::disallowed_methods, reason = "a benchmark needs a clock")]

use std::collections::BTreeMap;
use std::time::Instant;

use quipu_merge::{Height, Leaf, LeafKind, StateChange, prove_state, state_root, update_state};

const LEAVES: u64 = 1_000_000;
const CHANGES: u64 = 10_000;

fn main() {
    let mut nodes = BTreeMap::new();
    let start = Instant::now();
    let update = update_state(&nodes, None, Height(1), (0..LEAVES).map(|i| change(i, 0))).unwrap();
    println!("built over {LEAVES} leaves in {:.2?}", start.elapsed());
    let bytes: usize = update.nodes.iter().map(|(key, node)| key.len() + node.len()).sum();
    println!("{} nodes of {bytes} bytes", update.nodes.len());
    nodes.extend(update.nodes);
    let mut height = 1;
    for (what, removals) in [("changes", 0), ("changes, a tenth of them removals", 10)] {
        for _ in 0..3 {
            let changes = (0..CHANGES).map(|i| {
                let mut change = change(i * (LEAVES / CHANGES), height);
                change.value = change.value.filter(|_| removals == 0 || i % removals != 0);
                change
            });
            let start = Instant::now();
            let base = Some(Height(height));
            let update = update_state(&nodes, base, Height(height + 1), changes).unwrap();
            println!(
                "{CHANGES} {what} in {:.2?}: {} nodes, {} stale",
                start.elapsed(),
                update.nodes.len(),
                update.stale.len()
            );
            nodes.extend(update.nodes);
            height += 1;
        }
    }
    let start = Instant::now();
    let leaf = |change: StateChange| Leaf {
        key_hash: change.key_hash,
        value: change.value.unwrap_or_default(),
    };
    state_root((0..LEAVES).map(|i| leaf(change(i, 0)))).unwrap();
    println!("the root alone, anew, in {:.2?}", start.elapsed());
    let start = Instant::now();
    let proofs = (0..CHANGES).map(|i| prove_state(&nodes, Height(1), change(i, 0).key_hash));
    let longest = proofs.map(|proof| proof.unwrap().siblings.len()).max();
    println!("{CHANGES} proofs in {:.2?}, the longest of {longest:?} hashes", start.elapsed());
}

fn change(number: u64, version: u64) -> StateChange {
    let key_hash = LeafKind::Register.key_hash(&number.to_be_bytes());
    StateChange { key_hash, value: Some([number.to_be_bytes(), version.to_be_bytes()].concat()) }
}
