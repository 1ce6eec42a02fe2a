//! Checkpoints as signed notes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use quipu_merge::{CheckpointNote, CheckpointSignature, Height, NoteKey, SignedNote};
use quipu_store::Ledger;
use serde_json::json;
use support::{Scratch, fields, text};

/// Has so many validators cosign a checkpoint of a store, which nobody may have open.
fn cosign(s: &Scratch, store: &str, height: u64, count: usize) {
    let ledger = Ledger::open(s.path(store)).unwrap();
    let certified = ledger.snapshot().unwrap().checkpoint(Height(height)).unwrap().unwrap();
    let note = CheckpointNote::of(&certified.checkpoint, certified.id());
    let keys = support::certify::keys();
    let sign = |key| CheckpointSignature::sign(&note, key, 7).unwrap();
    let lines: Vec<_> = keys[..count].iter().map(sign).collect();
    ledger.keep_cosignatures(Height(height), &lines).unwrap();
}

#[test]
fn a_checkpoint_is_shown_as_a_note() {
    let s = Scratch::certified();
    let ids = ["1", "2", "3"].map(|value| {
        s.event(&["put", "k", value]);
        s.certify("a")
    });
    cosign(&s, "a", 1, 4);
    cosign(&s, "a", 2, 2);
    let shown = s.a(&["checkpoint", "show", "1", "--note"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    let note = SignedNote::parse(&shown.stdout).unwrap();
    let certified = CheckpointNote::parse(&note.text).unwrap();
    assert_eq!((certified.height, certified.checkpoint.to_string()), (Height(1), ids[0].clone()));
    // The keys that `validators` prints check it.
    let validators = s.a(&["validators", "--json"]).lines();
    let keys: Vec<NoteKey> = validators
        .iter()
        .flat_map(|line| ["vkey", "cosigner_vkey"].map(|key| text(line, key).parse().unwrap()))
        .collect();
    assert_eq!(note.verify(&keys).unwrap().len(), 8);

    let few = s.a(&["checkpoint", "show", "checkpoint:2", "--note"]);
    assert_eq!(SignedNote::parse(&few.stdout).unwrap().signatures.len(), 4);
    assert!(few.stderr.contains("2 of its 4 validators"), "{}", few.stderr);
    let few = s.a(&["checkpoint", "show", "2", "--note", "--json"]).json();
    assert_eq!(fields(&few), ["checkpoint", "cosigned", "height", "note"]);
    assert_eq!((&few["height"], &few["checkpoint"]), (&json!(2), &json!(ids[1])));
    assert_eq!(few["cosigned"].as_array().unwrap().len(), 2);
    assert!(text(&few, "note").starts_with("quipu/ledger/"));

    let none = s.refused(4, &["checkpoint", "show", "3", "--note"]);
    assert!(none.stderr.contains("no validator's lines have come"), "{}", none.stderr);
    assert!(none.stderr.contains("hint: "), "{}", none.stderr);
    s.refused(3, &["checkpoint", "show", "4", "--note"]);
    s.refused(2, &["checkpoint", "list", "--note"]);
}
