//! Values that are dropped, and what keeps them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use serde_json::json;
use support::{Scratch, fields, text};

const LONG: usize = 100_000;

/// A store `a` whose registers `t/k` and `t/long` were overwritten by the third event, and `b`, a
/// clone of it.
fn overwritten() -> (Scratch, [String; 4]) {
    let s = Scratch::with_store();
    s.write("long", &noise());
    let first = s.event(&["put", "t/k", "first"]);
    let long = s.event(&["put", "t/long", "--file", "long"]);
    let second = s.event(&["put", "t/k", "second"]);
    let third = s.event(&["put", "t/long", "short"]);
    s.ok(&["clone", "a", "b"]);
    (s, [first, long, second, third])
}

/// Bytes that repeat in no pattern.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(LONG)
    .collect()
}

#[test]
fn pruned_values_say_so_everywhere() {
    let (s, [first, long, second, third]) = overwritten();
    let preview = s.a(&["prune", "--before", &second, "--dry-run", "--json"]).json();
    let all = [
        "block_bytes",
        "blocks",
        "bodies",
        "body_bytes",
        "dry_run",
        "opening_bytes",
        "pinned",
        "values",
    ];
    assert_eq!(fields(&preview), all);
    assert_eq!((&preview["values"], &preview["blocks"]), (&json!(1), &json!(0)));
    assert_eq!(s.a(&["get", "t/k", "--at", &first]).ok(), "first");
    let before = s.state("a");
    let told = s.a(&["prune", "--before", &third]).ok();
    assert!(told.starts_with("2 values dropped") && told.contains("see `quipu gc`"), "{told}");
    assert_eq!(s.state("a"), before);
    assert_eq!(s.a(&["status", "--json"]).json()["pruned_values"], 2);
    assert!(s.a(&["status"]).ok().contains("pruned     2 values"));

    let ran = s.refused(4, &["get", "t/k", "--at", &first]);
    assert!(ran.stderr.contains("pruned") && ran.stderr.contains("--refill"), "{}", ran.stderr);
    for args in [
        &["get", "t/k", "--at", &first, "--json"][..],
        &["get", "t/k", "--at", &first, "--all"],
        &["get", "t/long", "--at", &long],
        &["get", "t/long", "--at", &long, "--range", "0..1"],
    ] {
        s.refused(4, args);
    }
    let shown = s.a(&["show", &first, "--json"]).json();
    assert_eq!(
        shown["ops"],
        json!([{"op": "put", "key": "t/k", "value": null, "unavailable": "pruned"}])
    );
    for args in [
        &["show", &first][..],
        &["log"],
        &["blame", "t/k"],
        &["diff", &first],
        &["keys", "--at", &first],
    ] {
        let told = s.a(args).ok();
        assert!(args[0] == "keys" || told.contains("<pruned>"), "{args:?}: {told}");
        assert!(!told.contains("first"), "{args:?}: {told}");
    }
    let diff = s.a(&["diff", &first, "--json"]).lines();
    assert_eq!(diff[0]["before"][0]["unavailable"], "pruned");
    let dump = s.a(&["dump", "--json", "--at", &first]);
    assert!(dump.stderr.contains("1 pruned value shown as null"), "{}", dump.stderr);
    assert_eq!(dump.json()["registers"]["t/k"][0]["value"], json!(null));
    assert_eq!(s.state("a"), s.state("b"));
    let usage = s.a(&["du", "--at", &first, "--json"]).json();
    assert_eq!((&usage["unavailable"], &usage["pruned"]), (&json!(1), &json!(1)));
    assert!(s.a(&["du", "--at", &first]).ok().contains("(1 pruned)"));
    let ran = s.a(&["get", "--dir", "t/", "out", "--at", &long, "--json"]);
    assert_eq!((ran.code, ran.text().matches("\"pruned\"").count()), (4, 2), "{}", ran.text());
    let report = s.a(&["verify", "--json"]).json();
    assert_eq!(report["findings"], json!([]));
    let collected = s.a(&["gc", "--grace", "0s", "--json"]).json();
    assert!(collected["bytes"].as_u64().unwrap() >= LONG as u64, "{collected}");
    s.a(&["verify"]).ok();
}

#[test]
fn what_was_pruned_comes_back_when_asked_for() {
    let (s, [first, long, ..]) = overwritten();
    let now = s.on("b", &["log", "--json"]).lines()[0]["time"].as_str().unwrap().to_owned();
    s.a(&["prune", "--before", &now]).ok();
    s.a(&["gc", "--grace", "0s"]).ok();
    assert_eq!(s.a(&["merge", "b", "--json"]).json()["new_values"], 0);
    s.refused(2, &["merge", "b", "--refill", "--dry-run"]);
    assert_eq!(s.a(&["merge", "b", "--refill", "--json"]).json()["new_values"], 2);
    assert_eq!(s.a(&["get", "t/k", "--at", &first]).ok(), "first");
    assert_eq!(s.a(&["get", "t/long", "--at", &long]).stdout, noise());
    s.a(&["verify"]).ok();
    s.a(&["prune", "--before", &now]).ok();
    s.on("b", &["export", "b.car"]).ok();
    assert_eq!(s.a(&["import", "b.car", "--json"]).json()["new_values"], 0);
    s.refused(4, &["get", "t/k", "--at", &first]);
    assert_eq!(s.a(&["import", "b.car", "--refill", "--json"]).json()["new_values"], 2);
    assert_eq!(s.a(&["get", "t/k", "--at", &first]).ok(), "first");
    s.a(&["verify"]).ok();
}

#[test]
fn pins_keep_what_would_go() {
    let (s, [first, long, _, third]) = overwritten();
    let shown = s.a(&["get", "t/long", "--at", &long, "--json"]).json();
    let block = text(&shown["value"], "/").to_owned();
    assert_eq!(s.a(&["pin", "add", &first[..20], &block]).ok().lines().count(), 2);
    let pins = [json!({"kind": "block", "id": block}), json!({"kind": "event", "id": first})];
    assert_eq!(s.a(&["pin", "list", "--json"]).lines(), pins);
    s.a(&["pin", "add", &first]).ok();
    assert_eq!(s.a(&["pin", "list"]).ok(), format!("block {block}\nevent {first}\n"));
    let report = s.a(&["prune", "--before", &third, "--json"]).json();
    assert_eq!((&report["values"], &report["pinned"]), (&json!(0), &json!(2)));
    assert_eq!(s.a(&["get", "t/k", "--at", &first]).ok(), "first");
    assert_eq!(s.a(&["pin", "rm", &first, "--json"]).lines(), [pins[1].clone()]);
    let told = s.a(&["prune", "--before", &third]).ok();
    assert!(told.contains("1 value dropped") && told.contains("1 value kept by pins"), "{told}");
    // Erasing wins.
    s.event(&["redact", &long]);
    let report = s.a(&["gc", "--json"]).json();
    assert_eq!(report["unpinned"], 1);
    assert_eq!(s.a(&["pin", "list"]).ok(), "");
    s.a(&["verify"]).ok();
}

#[test]
fn what_cannot_be_pruned_or_pinned_is_refused() {
    let (s, [first, ..]) = overwritten();
    let absent = "bafkr4idtidovj6nmxx4utnpm274vxwuhplzhv5gnioh2f6iiwkbb6oaqm4";
    for (code, args) in [
        (2, &["prune"][..]),
        (2, &["prune", "--before", ""]),
        (3, &["prune", "--before", "zzzzzzzzzz"]),
        (2, &["pin"]),
        (2, &["pin", "add"]),
        (3, &["pin", "add", &first, "zzzzzzzzzz"]),
        (3, &["pin", "add", &first, absent]),
        (3, &["pin", "rm", &first]),
        (3, &["pin", "rm", absent]),
    ] {
        s.refused(code, args);
        assert_eq!(s.a(&["pin", "list"]).ok(), "", "{args:?}");
    }
}

#[test]
fn operations_that_are_gone_say_so_everywhere() {
    let s = Scratch::certified();
    let first = s.event(&["put", "k", "first"]);
    s.event(&["put", "k", "second"]);
    s.certify("a");
    let third = s.event(&["put", "k", "third"]);
    s.ok(&["clone", "a", "b"]);
    let before = s.state("a");
    let preview = s.a(&["prune", "--before", "checkpoint:1", "--dry-run", "--json"]).json();
    assert_eq!((&preview["values"], &preview["bodies"]), (&json!(1), &json!(1)));
    assert!(preview["body_bytes"].as_u64().unwrap() > 50, "{preview}");
    assert_eq!(s.a(&["get", "k", "--at", &first]).ok(), "first");
    let told = s.a(&["prune", "--before", "checkpoint:1"]).ok();
    assert!(told.contains("operations of 1 event dropped"), "{told}");
    assert_eq!(s.state("a"), before);
    for args in [
        &["get", "k", "--at", &first][..],
        &["keys", "--at", &first],
        &["dump", "--at", &first],
        &["export", "a.car"],
    ] {
        let ran = s.refused(4, args);
        assert!(ran.stderr.contains("pruned"), "{args:?}: {}", ran.stderr);
    }
    // What is found of a key is told, and that it may not be all.
    for args in [&["log", "--key", "k"][..], &["blame", "k"]] {
        let ran = s.a(args);
        assert_eq!((ran.code, ran.text().lines().count()), (4, 2), "{args:?}: {}", ran.stderr);
    }
    // Which of the events that are followed work on a key is not told in part.
    let ran = s.refused(4, &["watch", "--once", "--from-start", "--key", "other"]);
    assert!(ran.stderr.contains("`quipu watch --from-checkpoint N`"), "{}", ran.stderr);
    let all = s.a(&["watch", "--once", "--from-start", "--json"]).lines();
    assert_eq!((all.len(), &all[1]["pruned"]), (4, &json!(true)));
    let later = ["watch", "--once", "--from-checkpoint", "1", "--key", "k", "--json"];
    let later = s.a(&later).lines();
    assert_eq!((later.len(), text(&later[0], "event")), (1, &*third));
    let told = s.a(&["status"]).ok();
    assert!(told.contains("pruned     1 value, operations up to checkpoint 1\n"), "{told}");
    assert_eq!(s.a(&["status", "--json"]).json()["pruned_to"], 1);
    assert_eq!(s.a(&["checkpoint", "verify"]).ok(), "1 checkpoint with 3 events: 0 faults\n");
    assert_eq!(s.run(&["clone", "a", "c"]).code, 4);
    s.a(&["export", "later.car", "--since", "checkpoint:1"]).ok();
    assert_eq!(s.a(&["get", "k", "--at", "checkpoint:1"]).ok(), "second");
    assert!(s.a(&["show", &first]).ok().contains("operations pruned"));
    let log = s.a(&["log", "--json"]).lines();
    assert_eq!((&log[2]["pruned"], &log[2]["ops"]), (&json!(true), &json!([])));
    assert_eq!((text(&log[0], "event"), &log[0]["pruned"]), (&*third, &json!(null)));
    assert_eq!(s.a(&["verify", "--json"]).json()["findings"], json!([]));
    let merged = s.a(&["merge", "b", "--refill", "--json"]).json();
    assert_eq!((&merged["refilled_bodies"], &merged["new_values"]), (&json!(1), &json!(1)));
    assert_eq!(s.a(&["get", "k", "--at", &first]).ok(), "first");
    assert_eq!(s.a(&["status", "--json"]).json()["pruned_to"], json!(null));
    s.a(&["verify"]).ok();
}

#[test]
fn states_that_need_what_is_gone_are_not_said_to_be_checked() {
    let s = Scratch::certified();
    for value in ["first", "second", "third"] {
        s.a(&["put", "k", value]).ok();
        s.certify("a");
    }
    s.a(&["prune", "--before", "checkpoint:2"]).ok();
    let verify = |args: &[&str]| s.a(&[&["checkpoint", "verify"], args].concat());
    let gone = "derived: operations up to checkpoint 2 are pruned here\n";
    assert_eq!(
        verify(&[]).ok(),
        format!("3 checkpoints with 4 events: 0 faults\nearlier states were not {gone}")
    );
    assert_eq!(
        verify(&["1"]).ok(),
        format!("1 checkpoint with 2 events: 0 faults\nno state was {gone}")
    );
    let checked = verify(&["--json"]).json();
    assert_eq!((&checked["first"], &checked["first_state"]), (&json!(1), &json!(2)));
}
