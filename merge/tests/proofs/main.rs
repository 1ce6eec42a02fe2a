//! Proofs: what holds is shown, and nothing else ever is.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics says what is wrong"
)]

mod chain;
mod kinds;
mod sizes;
mod tamper;
mod vectors;
mod world;

use std::collections::BTreeMap;

use quipu_merge::{
    AuthorKey, Claim, Fact, Height, Key, Leaf, LogTree, Member, Proof, ProofError, ProvedKey,
    Trust, list_entry_hash,
};
use serde_json::{Value, json};
use world::{World, author};

/// Validators change at heights 1 and 4, and height 5 names those of 4.
const SETS: &[&[usize]] =
    &[&[0], &[0, 1, 2, 3], &[0, 1, 2, 3], &[0, 1, 2, 3], &[2, 3, 4], &[2, 3, 4], &[2, 3, 4]];
const LAST: u64 = 6;

/// What a proof shows, after it has been a file.
fn show(proof: &Proof, trust: Trust) -> Result<Value, ProofError> {
    let bytes = proof.encode().unwrap();
    assert_eq!(Proof::decode(&bytes).as_ref(), Ok(proof));
    Ok(serde_json::to_value(proof.check(trust)?).unwrap())
}

fn key(text: &str) -> ProvedKey {
    ProvedKey::Key(Key::new(text).unwrap())
}

/// What key `k` names at a height.
fn leaves_of_k(world: &World, height: u64) -> Vec<Leaf> {
    let key = Key::new("k").unwrap();
    let member = Member::new(b"m").unwrap();
    let writes = [world.write_of(height, 0), world.write_of(height, 1)];
    vec![
        Leaf::register(&key, &writes),
        Leaf::counter(&key, &height),
        Leaf::set(&key, &BTreeMap::from([(&member, vec![writes[0].0])])),
        Leaf::list(&key, &list(world, height)),
    ]
}

fn list(world: &World, height: u64) -> LogTree {
    let mut list = LogTree::new();
    for (event, opening) in (1..=height).flat_map(|at| (0..4).map(move |n| world.write_of(at, n))) {
        list.append(list_entry_hash(event, opening));
    }
    list
}

fn claim_of_k(world: &World, height: u64) -> Claim {
    let writes = vec![world.write_of(height, 0), world.write_of(height, 1)];
    world.key_claim(key("k"), height, &leaves_of_k(world, height), &writes)
}

#[test]
fn every_event_of_every_height_is_shown_from_everywhere() {
    let world = World::new(SETS);
    for height in 1..=LAST {
        let checkpoint = &world.at(height).checkpoint;
        for index in 0..usize::try_from(checkpoint.size).unwrap() {
            let claim = world.event_claim(index, height);
            for from in [0, 1, height.saturating_sub(2).max(1), height] {
                let (proof, trust) = world.proof(from, height, &[], claim.clone());
                let shown = show(&proof, trust).unwrap();
                let event = &world.events[index];
                let expected = json!({
                    "proof": "event", "present": true, "event": event.id().to_string(), "index": index,
                    "author": event.event().author.to_string(), "seq": event.event().seq.0,
                    "written": event.event().time.0, "height": height,
                    "checkpoint": world.id(height).to_string(), "size": checkpoint.size,
                    "time": checkpoint.time.0, "ledger": world.ledger().to_string(),
                });
                assert_eq!(shown, expected);
            }
        }
    }
}

#[test]
fn keys_show_everything_that_they_name() {
    let mut world = World::new(SETS);
    for height in 1..=LAST {
        let (proof, trust) = world.proof(0, height, &[], claim_of_k(&world, height));
        let shown = show(&proof, trust).unwrap();
        let writes =
            [world.write_of(height, 0), world.write_of(height, 1)].map(|write| write.0.to_string());
        let expected = json!({
            "proof": "key", "present": true, "key": "k",
            "kinds": ["register", "counter", "set", "list"], "exists": ["register", "counter", "set", "list"],
            "value": format!("value {height}"), "written_by": writes[0],
            "conflicts": [{"event": writes[1], "value": "conflict"}],
            "counter": height.to_string(), "set": ["m"],
            "list": {"count": 4 * height, "root": data_encoding::HEXLOWER.encode(&list(&world, height).root())},
            "height": height, "checkpoint": world.id(height).to_string(),
            "size": world.at(height).checkpoint.size, "time": world.at(height).checkpoint.time.0,
            "ledger": world.ledger().to_string(),
        });
        assert_eq!(shown, expected);
    }
    // Erased: the opening is not at hand any more.
    let leaves = leaves_of_k(&world, LAST);
    let writes = vec![world.write_of(LAST, 0), world.write_of(LAST, 1)];
    world.openings.remove(&writes[0].1).unwrap();
    let claim = world.key_claim(key("k"), LAST, &leaves, &writes);
    let (proof, trust) = world.proof(0, LAST, &[], claim);
    let shown = show(&proof, trust).unwrap();
    assert_eq!((&shown["present"], &shown["value"]), (&json!(true), &Value::Null));
    assert_eq!(shown["conflicts"][0]["value"], json!("conflict"));
}

#[test]
fn long_values_show_as_links_and_stolen_openings_as_nothing() {
    let world = World::new(SETS);
    for (name, number, value) in [
        ("long", 2, json!({"/": "bafkr4iajbeeqscijbeeqscijbeeqscijbeeqscijbeeqscijbeeqscijbe"})),
        ("foreign", 3, Value::Null),
    ] {
        let write = world.write_of(LAST, number);
        let leaf = Leaf::register(&Key::new(name).unwrap(), &[write]);
        let claim = world.key_claim(key(name), LAST, &[leaf], &vec![write]);
        let (proof, trust) = world.proof(0, LAST, &[], claim);
        let shown = show(&proof, trust).unwrap();
        assert_eq!((&shown["value"], &shown["exists"]), (&value, &json!(["register"])), "{name}");
    }
}

#[test]
fn what_is_absent_is_shown_to_be() {
    let world = World::new(SETS);
    let claim = world.key_claim(key("nothing"), 3, &[], &vec![]);
    let (proof, trust) = world.proof(0, 3, &[], claim);
    let shown = show(&proof, trust).unwrap();
    assert_eq!((&shown["present"], &shown["value"]), (&json!(false), &Value::Null));
    assert_eq!((&shown["exists"], &shown["conflicts"]), (&json!([]), &json!([])));
    // What exists is not shown to be absent, nor the other way round.
    let (proof, trust) = world.proof(0, 3, &[], world.key_claim(key("k"), 3, &[], &vec![]));
    let error = proof.check(trust).unwrap_err();
    let told = "register of \"k\": not shown to be so in the state of height 3";
    assert_eq!(error.to_string(), told);
    let writes = vec![world.write_of(3, 0), world.write_of(3, 1)];
    let leaves = leaves_of_k(&world, 3);
    let mut claim = world.key_claim(key("k"), 3, &leaves, &writes);
    if let Claim::Key { key, .. } = &mut claim {
        *key = ProvedKey::Key(Key::new("nothing").unwrap());
    }
    let (proof, trust) = world.proof(0, 3, &[], claim);
    assert!(matches!(proof.check(trust), Err(ProofError::NotInState { .. })));
}

#[test]
fn members_show_their_roles() {
    let world = World::new(SETS);
    let writer = author(&world.keys[0]);
    let leaf = Leaf::member(&writer, &["admin", "writer"]);
    for (author, roles, leaves) in [
        (writer, json!(["admin", "writer"]), vec![leaf]),
        (AuthorKey([7; 32]), Value::Null, vec![]),
    ] {
        let claim = world.key_claim(ProvedKey::Author(author), 2, &leaves, &vec![]);
        let (proof, trust) = world.proof(0, 2, &[], claim);
        let shown = show(&proof, trust).unwrap();
        assert_eq!(shown["roles"], roles);
        assert_eq!(shown["present"], json!(!roles.is_null()));
        assert_eq!(shown["key"], json!(author.to_string()));
    }
}

#[test]
fn later_logs_continue_earlier_ones() {
    let world = World::new(SETS);
    for height in 2..=LAST {
        for from in 1..height {
            for start in [0, from] {
                let claim = world.extends_claim(from, height);
                let (proof, trust) = world.proof(start, height, &[from], claim);
                let Fact::Extends(earlier) = proof.check(trust).unwrap().fact else { panic!() };
                assert_eq!((earlier.height, earlier.checkpoint), (Height(from), world.id(from)));
                let shown = show(&proof, trust).unwrap();
                assert_eq!(shown["from"]["height"], json!(from));
                assert_eq!(shown["height"], json!(height));
            }
        }
    }
    // The earlier one must be shown, and the path must be the one between the two.
    let (proof, trust) = world.proof(0, LAST, &[], world.extends_claim(2, LAST));
    assert_eq!(proof.check(trust), Err(ProofError::NotShown(Height(2))));
    let (proof, trust) = world.proof(0, LAST, &[2], world.extends_claim(3, LAST));
    assert_eq!(proof.check(trust), Err(ProofError::NotShown(Height(3))));
    let mut claim = world.extends_claim(3, LAST);
    if let Claim::Extends { from, .. } = &mut claim {
        *from = Height(2);
    }
    let (proof, trust) = world.proof(0, LAST, &[2], claim);
    let not_continued = ProofError::NotContinued { from: Height(2), to: Height(LAST) };
    assert_eq!(proof.check(trust), Err(not_continued));
}
