//! `quipu verify --repair`.

#![allow(clippy::unwrap_used, reason = "a test that panics has done its work")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Scratch, fields};

/// A store with two values, and a replica of it.
fn replicated() -> Scratch {
    let s = Scratch::with_store();
    s.event(&["put", "k", "v"]);
    s.event(&["put", "k", "w"]);
    s.ok(&["clone", "a", "b"]);
    s.a(&["export", "a.car"]).ok();
    s
}

#[test]
fn a_sound_store_stays_as_it_is() {
    let s = replicated();
    let plain = s.a(&["verify", "--repair"]);
    assert!(plain.ok().ends_with("nothing is wrong, and nothing was changed\n"));
    let report = s.a(&["verify", "--repair", "--json"]).json();
    assert_eq!((&report["repaired"], &report["damaged"]), (&json!(false), &Value::Null));
    let forced = s.a(&["verify", "--repair", "--force", "--json"]).json();
    assert_eq!((&forced["repaired"], &forced["kept"]), (&json!(true), &json!(3)));
    assert_eq!(s.a(&["get", "k"]).ok(), "w");
    for usage in [&["verify", "--from", "b"][..], &["verify", "--force"]] {
        assert_eq!(s.a(usage).code, 2);
    }
    assert_eq!(s.a(&["verify", "--repair", "--force", "--from", "a"]).code, 2);
}

#[test]
fn a_damaged_store_is_repaired_as_the_hint_says() {
    let s = replicated();
    fs::remove_file(s.path("a/db/CURRENT")).unwrap();
    let get = s.a(&["get", "k"]);
    assert_eq!(get.code, 1);
    assert!(get.stderr.contains("CURRENT is missing"), "{}", get.stderr);
    assert!(get.stderr.contains("`quipu verify --repair`"), "{}", get.stderr);
    assert_eq!(s.a(&["verify"]).code, 21);
    let repaired = s.a(&["verify", "--repair", "--json"]);
    let report = repaired.json();
    let all = [
        "damaged",
        "fetched",
        "found",
        "kept",
        "left_behind",
        "loss",
        "lost_checkpoints",
        "lost_events",
        "lost_pins",
        "lost_values",
        "missing_values",
        "repaired",
        "unplaced",
        "unreadable",
        "verified",
    ];
    assert_eq!(fields(&report), all);
    assert_eq!(report["damaged"], json!("a/db.damaged-1"));
    assert!(s.path("a/db.damaged-1").is_dir());
    s.a(&["verify"]).ok();
    assert_eq!(s.a(&["get", "k"]).ok(), "w");
    s.event(&["put", "k", "x"]);
}

#[test]
fn what_is_lost_is_fetched() {
    let s = replicated();
    for source in ["b", "a.car"] {
        fs::remove_dir_all(s.path("a/db")).unwrap();
        let alone = s.a(&["verify", "--repair"]);
        assert_eq!(alone.code, 21, "{}", alone.stderr);
        assert!(alone.stderr.contains("--from SOURCE"), "{}", alone.stderr);
        let report = s.a(&["verify", "--repair", "--from", source, "--json"]).json();
        assert_eq!((&report["kept"], &report["fetched"]), (&json!(0), &json!(3)));
        assert_eq!(s.a(&["get", "k"]).ok(), "w");
    }
    // Where another replica has less, the loss is told, and own events are refused until it is back.
    s.event(&["put", "k", "later"]);
    s.a(&["export", "later.car"]).ok();
    fs::remove_dir_all(s.path("a/db")).unwrap();
    let less = s.a(&["verify", "--repair", "--from", "b"]);
    assert_eq!(less.code, 21, "{}", less.stderr);
    assert!(less.stderr.contains("not everything is back"), "{}", less.stderr);
    assert_ne!(s.a(&["put", "k", "x"]).code, 0);
    s.a(&["verify", "--repair", "--force", "--from", "later.car"]).ok();
    assert_eq!(s.a(&["get", "k"]).ok(), "later");
    s.event(&["put", "k", "x"]);
}
