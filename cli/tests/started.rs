//! A store that starts from a checkpoint says what it does not have, and nothing is answered from part.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use serde_json::{Value, json};
use support::{Ran, Scratch, text};

/// A store `a` with two checkpoints and an event after them, and `b`, which starts from the second. The
/// event.
fn started() -> (Scratch, String) {
    let s = Scratch::certified();
    for value in ["1", "2"] {
        s.a(&["put", "a", value]).ok();
        s.a(&["put", "b", value]).ok();
        s.certify("a");
    }
    let last = s.event(&["put", "a", "3"]);
    s.ok(&["clone", "--from-checkpoint", "a", "b"]);
    (s, last)
}

fn is_refused(ran: &Ran) {
    assert_eq!((ran.code, &*ran.text()), (4, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("pruned: this replica starts from checkpoint 2"), "{}", ran.stderr);
}

#[test]
fn it_is_followed_from_its_checkpoint_on() {
    let (s, last) = started();
    let watch = |store: &str, args: &[&str]| s.on(store, &[&["watch", "--once"], args].concat());
    let cursor = |checkpoint| {
        let seen = watch("a", &["--from-checkpoint", checkpoint, "--json"]).lines();
        text(&seen[0], "cursor").to_owned()
    };
    for args in [
        &["--from-start"][..],
        &["--from-start", "--json"],
        &["--from-start", "--key", "a"],
        &["--from-checkpoint", "1"],
        &["--after", &cursor("1")],
    ] {
        let ran = watch("b", args);
        is_refused(&ran);
        assert!(ran.stderr.contains("`quipu watch --from-checkpoint N`"), "{}", ran.stderr);
    }
    let events = |ran: Ran| -> Vec<Value> {
        ran.lines().into_iter().map(|seen| seen["event"].clone()).collect()
    };
    for store in ["a", "b"] {
        for key in [&[][..], &["--key", "a"]] {
            for height in ["2", "checkpoint:2"] {
                let args = [&["--from-checkpoint", height, "--json"], key].concat();
                assert_eq!(events(watch(store, &args)), [json!(last)]);
            }
        }
        assert_eq!(events(watch(store, &["--after", &cursor("2"), "--json"])), [] as [Value; 0]);
        assert_eq!(watch(store, &[]).ok(), "");
        assert_eq!(watch(store, &["--from-checkpoint", "9"]).code, 3);
        assert_eq!(watch(store, &["--from-checkpoint", "0"]).code, 2);
    }
    assert_eq!(events(watch("a", &["--from-checkpoint", "1", "--json"])).len(), 3);
    assert_eq!(watch("a", &["--from-checkpoint", "1", "--from-start"]).code, 2);
    // One hint, for this case.
    let below = s.on("b", &["get", "a", "--at", "checkpoint:1"]);
    is_refused(&below);
    assert!(below.stderr.contains("quipu serve") && !below.stderr.contains("--refill"));
}

#[test]
fn its_log_ends_where_it_starts() {
    let (s, last) = started();
    let log = |store: &str, args: &[&str]| s.on(store, &[&["log", "--json"], args].concat());
    let said = |ran: &Ran| {
        let lines = ran.text().lines().count();
        (ran.code, lines, ran.stderr.contains("pruned: this replica starts from checkpoint 2"))
    };
    assert_eq!(said(&log("b", &[])), (4, 1, true));
    assert_eq!(said(&log("b", &["-n", "1"])), (0, 1, false));
    assert_eq!(said(&log("b", &["--since", "checkpoint:1"])).0, 4);
    for key in [&[][..], &["--key", "a"], &["--key", "b"]] {
        for since in ["checkpoint:2", &last] {
            let args = [&["--since", since], key].concat();
            let ran = log("b", &args);
            assert_eq!(said(&ran).0, 0, "{}", ran.stderr);
            assert_eq!(ran.text(), log("a", &args).text());
        }
        assert_eq!(log("b", key).code, 4);
    }
}

#[test]
fn its_checkpoints_are_listed_and_checked_from_there_on() {
    let (s, _) = started();
    let note = "this store starts from checkpoint 2: those before are not here";
    let list = |args: &[&str]| s.on("b", &[&["checkpoint", "list"], args].concat());
    for args in [&[][..], &["--json"], &["-n", "5"]] {
        let ran = list(args);
        assert!(ran.stderr.contains(note), "{}", ran.stderr);
        assert_eq!(ran.ok().lines().count(), 1);
    }
    let starts = |lines: Vec<Value>| -> Vec<Value> {
        lines.into_iter().map(|line| line["start"].clone()).collect()
    };
    assert_eq!(starts(list(&["--json"]).lines()), [json!(true)]);
    assert_eq!(
        starts(s.a(&["checkpoint", "list", "--json"]).lines()),
        [json!(false), json!(false)]
    );

    let verify = |args: &[&str]| s.on("b", &[&["checkpoint", "verify"], args].concat());
    let not_derived = "those up to 2, from which this store starts, were not derived\n";
    assert_eq!(verify(&[]).ok(), format!("0 checkpoints with 0 events: 0 faults\n{not_derived}"));
    is_refused(&verify(&["1"]));
    s.certify("a");
    let merged = s.on("b", &["import", s.exported(&[]), "--json"]).json();
    assert_eq!(merged["new_checkpoints"], 1);
    assert_eq!(verify(&[]).ok(), format!("1 checkpoint with 1 event: 0 faults\n{not_derived}"));
    let checked = verify(&["--json"]).json();
    let field = |name: &str| checked[name].as_u64().unwrap();
    assert_eq!([field("height"), field("first"), field("first_state")], [3, 3, 2]);
    assert_eq!([field("checkpoints"), field("events")], [1, 1]);
    assert_eq!(list(&["-n", "1"]).stderr, "");
    assert_eq!(starts(list(&["--json"]).lines()), [json!(false), json!(true)]);
}

impl Scratch {
    /// An export of `a`.
    fn exported(&self, args: &[&str]) -> &'static str {
        self.a(&[&["export", "export.car"], args].concat()).ok();
        "export.car"
    }
}

#[test]
fn a_merge_says_what_became_of_the_history_below() {
    let (s, _) = started();
    let file = s.exported(&[]);
    let history = |args: &[&str]| {
        let ran = s.on("b", &[args, &["--json"]].concat()).json();
        ran["history"].clone()
    };
    for args in [["merge", file], ["import", file]] {
        let ran = s.on("b", &args);
        assert!(ran.stderr.contains("a file does not bring it"), "{}", ran.stderr);
        let history = history(&args);
        assert_eq!(history["filled"], false);
        assert!(text(&history, "why").contains("a file does not bring it"), "{history}");
    }
    assert_eq!(history(&["merge", "a", "--dry-run"]), json!(null));
    {
        let _a = s.serve("a");
        let ran = s.on("b", &["merge", "a"]);
        assert!(ran.stderr.contains("it comes as an export"), "{}", ran.stderr);
        ran.ok();
    }
    s.ok(&["clone", "--from-checkpoint", "a", "c"]);
    let ran = s.on("b", &["merge", "c", "--json"]).json();
    assert!(text(&ran["history"], "why").contains("checkpoint 2"), "{ran}");
    assert_eq!(s.on("b", &["status", "--json"]).json()["shallow"], 2);

    let ran = s.on("b", &["merge", "a"]);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    assert!(ran.ok().contains("all that precedes the checkpoint of the start has come\n"));
    assert_eq!(s.on("b", &["status", "--json"]).json()["shallow"], json!(null));
    assert_eq!(history(&["merge", "a"]), json!(null));
}

#[test]
fn nothing_starts_where_nothing_is_ever_certified() {
    let s = Scratch::without_validators();
    let ran = s.run(&["clone", "--from-checkpoint", "a", "b"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("the ledger has no validators"), "{}", ran.stderr);
    assert!(!s.path("b").exists());
}
