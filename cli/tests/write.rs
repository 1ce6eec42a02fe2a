//! The commands that write to one store.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Command;

use serde_json::{Value, json};
use support::{Scratch, fields, ran, text};

#[test]
fn put_and_get_give_back_the_same_bytes() {
    let s = Scratch::with_store();
    s.event(&["put", "k", "value"]);
    assert_eq!(s.a(&["get", "k"]).ok(), "value");
    s.event(&["put", "empty", ""]);
    assert_eq!(s.a(&["get", "empty"]).ok(), "");
    let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
    s.write("f", &bytes);
    s.event(&["put", "short", "--file", "f"]);
    assert_eq!(s.a(&["get", "short"]).stdout, bytes);
    let long: Vec<u8> = (0..=255).cycle().take(9_000_000).collect();
    assert_eq!(s.feed(&["--store", "a", "put", "long", "-"], &long).code, 0);
    assert_eq!(s.a(&["get", "long"]).stdout, long);
    let shown = s.a(&["get", "long", "--json"]).json();
    assert_eq!(shown["size"], long.len());
    assert!(shown["value"]["/"].is_string());
}

#[test]
fn put_refuses() {
    let s = Scratch::with_store();
    let first = s.event(&["put", "k", "1"]);
    let second = s.event(&["put", "k", "2"]);
    s.refused(2, &["put"]);
    s.refused(2, &["put", "k"]);
    s.refused(2, &["put", "", "v"]);
    s.refused(2, &["put", &"x".repeat(1025), "v"]);
    s.refused(2, &["put", "k", "v", "--file", "f"]);
    s.refused(1, &["put", "k", "--file", "nowhere"]);
    s.refused(5, &["put", "k", "3", "--if", &first]);
    s.refused(5, &["put", "k", "3", "--if-absent"]);
    s.refused(5, &["put", "new", "3", "--if", &second]);
    s.refused(3, &["put", "k", "3", "--if", "zzzzzzzzzz"]);
    s.refused(2, &["put", "k", "3", "--if", &second, "--if-absent"]);
    s.event(&["put", "k", "3", "--if", &second]);
    s.event(&["put", "new", "1", "--if-absent"]);
    assert_eq!(s.a(&["get", "k"]).ok(), "3");
}

#[test]
fn an_event_prints_in_full_as_json() {
    let s = Scratch::with_store();
    let event = s.a(&["put", "k", "v", "--json"]).json();
    let all =
        ["author", "certified", "event", "micros", "ops", "parents", "prev", "seq", "time", "void"];
    assert_eq!(fields(&event), all);
    assert_eq!(event["ops"], json!([{"op": "put", "key": "k", "value": "v"}]));
    assert_eq!((&event["seq"], &event["parents"]), (&json!(2), &json!([])));
    assert_eq!(text(&event, "time").len(), "2026-01-01T00:00:00.000000Z".len());
    assert_eq!(s.a(&["log", "--json", "-n", "1"]).json(), event);
    assert_eq!(s.a(&["show", text(&event, "event"), "--json"]).json(), event);
}

#[test]
fn a_batch_makes_events_of_n_operations() {
    let s = Scratch::with_store();
    let lines = [
        r#"{"op":"put","key":"r","value":"text"}"#,
        r#"{"op":"put","key":"b","value":{"/":{"bytes":"AP8"}}}"#,
        "",
        r#"{"op":"inc","key":"c","by":-7}"#,
        r#"{"op":"add","key":"s","member":"m"}"#,
        r#"{"op":"add","key":"s","member":{"/":{"bytes":"/w"}}}"#,
        r#"{"op":"rem","key":"s","member":"m"}"#,
        r#"{"op":"append","key":"l","value":"one"}"#,
        r#"{"op":"del","key":"r"}"#,
    ];
    s.write("in", lines.join("\n").as_bytes());
    let acks = s.a(&["put", "--batch", "in", "--group", "3", "--json"]).lines();
    let sizes: Vec<_> = acks.iter().map(|ack| ack["ops"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [3, 3, 2]);
    assert_eq!(acks[0]["ops"][1]["value"], json!({"/": {"bytes": "AP8"}}));
    let state = s.state("a");
    assert_eq!(state["counters"], json!({"c": "-7"}));
    assert_eq!(state["sets"], json!({"s": [{"/": {"bytes": "/w"}}]}));
    assert_eq!(state["lists"], json!({"l": ["one"]}));
    assert_eq!(state["registers"].as_object().unwrap().len(), 1);
    let ran =
        s.feed(&["--store", "a", "put", "--batch", "-"], br#"{"op":"put","key":"x","value":"y"}"#);
    assert_eq!((ran.code, ran.text().as_str()), (0, ""));
}

#[test]
fn a_batch_splits_what_no_body_can_hold() {
    let s = Scratch::with_store();
    let member = "m".repeat(4000);
    let lines: String = (0..600)
        .map(|i| format!("{{\"op\":\"add\",\"key\":\"s\",\"member\":\"{i}{member}\"}}\n"))
        .collect();
    s.write("in", lines.as_bytes());
    let acks = s.a(&["put", "--batch", "in", "--group", "10000", "--json"]).lines();
    assert_eq!(acks.len(), 3);
    assert_eq!(s.a(&["get", "s"]).ok().lines().count(), 600);
}

#[test]
fn a_bad_line_of_a_batch_is_refused_with_its_group() {
    let s = Scratch::with_store();
    let bad = [
        "not json",
        r#"{"op":"put","key":"k"}"#,
        r#"{"op":"put","key":"k","value":"v","more":1}"#,
        r#"{"op":"put","key":"","value":"v"}"#,
        r#"{"op":"inc","key":"k","by":0}"#,
        r#"{"op":"put","key":"k","value":{"/":{"bytes":"!"}}}"#,
        r#"{"op":"grant","author":"k","role":"admin"}"#,
    ];
    for line in bad {
        s.write("in", format!("{{\"op\":\"del\",\"key\":\"k\"}}\n{line}\n").as_bytes());
        s.refused(20, &["put", "--batch", "in"]);
        let ran = s.a(&["put", "--batch", "in", "--json"]);
        let refused: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(
            refused,
            json!({"error": "refused", "reason": "body", "event": null, "line": 2})
        );
    }
    s.refused(1, &["put", "--batch", "nowhere"]);
    s.refused(2, &["put", "--batch", "in", "--group", "0"]);
    s.refused(2, &["put", "--batch", "in", "--group", "10001"]);
    s.refused(2, &["put", "k", "--batch", "in"]);
}

#[test]
fn a_batch_goes_on_when_nobody_listens() {
    let s = Scratch::with_store();
    let lines: String =
        (0..200).map(|i| format!("{{\"op\":\"inc\",\"key\":\"c\",\"by\":{}}}\n", i + 1)).collect();
    s.write("in", lines.as_bytes());
    let args = ["--store", "a", "put", "--batch", "in", "--group", "1", "--json"];
    let mut child = s.command(&args).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    assert!(child.wait().unwrap().success());
    assert_eq!(s.a(&["get", "c"]).ok(), "20100\n");
}

#[test]
fn counters_sets_and_lists() {
    let s = Scratch::with_store();
    s.event(&["inc", "c"]);
    s.event(&["inc", "c", "-5"]);
    assert_eq!(s.a(&["get", "c"]).ok(), "-4\n");
    assert_eq!(
        s.a(&["get", "c", "--json"]).json(),
        json!({"key": "c", "type": "counter", "value": "-4"})
    );
    s.event(&["add", "s", "b", "a"]);
    s.event(&["rem", "s", "b"]);
    s.event(&["add", "s", "c"]);
    assert_eq!(s.a(&["get", "s"]).ok(), "a\nc\n");
    assert_eq!(
        s.a(&["get", "s", "--json"]).lines(),
        [json!({"member": "a"}), json!({"member": "c"})]
    );
    s.event(&["append", "l", "one"]);
    assert_eq!(s.feed(&["--store", "a", "append", "l", "-"], &[b'x'; 5000]).code, 0);
    assert_eq!(s.a(&["get", "l"]).ok(), format!("one\n{}\n", "x".repeat(5000)));
    let elements = s.a(&["get", "l", "--json"]).lines();
    assert_eq!(fields(&elements[0]), ["author", "event", "time", "value"]);
    assert_eq!(elements[1]["size"], 5000);
}

#[test]
fn counters_sets_and_lists_refuse() {
    let s = Scratch::with_store();
    s.event(&["add", "s", "a"]);
    s.refused(2, &["inc", "c", "0"]);
    s.refused(2, &["inc", "c", "many"]);
    s.refused(2, &["inc", "", "1"]);
    s.refused(2, &["add", "s"]);
    s.refused(2, &["add", "s", &"x".repeat(4097)]);
    s.refused(2, &["add", "", "m"]);
    s.refused(3, &["rem", "s", "b"]);
    s.refused(3, &["rem", "nothing", "a"]);
    s.refused(2, &["rem", "s"]);
    s.refused(2, &["append", "l"]);
    s.refused(2, &["append", "", "v"]);
    s.refused(1, &["append", "l", "--file", "nowhere"]);
}

#[test]
fn del_deletes_registers_only() {
    let s = Scratch::with_store();
    s.event(&["put", "k", "v"]);
    s.event(&["inc", "k"]);
    s.event(&["del", "k"]);
    assert_eq!(s.a(&["get", "k"]).ok(), "1\n");
    s.refused(3, &["del", "k"]);
    s.refused(3, &["del", "nothing"]);
    s.refused(2, &["del"]);
    s.refused(2, &["del", ""]);
}

#[test]
fn an_erased_value_prints_nothing() {
    let s = Scratch::with_store();
    let event = s.event(&["put", "k", "secret"]);
    s.event(&["append", "l", "one"]);
    let second = s.event(&["append", "l", "two"]);
    s.event(&["redact", &event]);
    s.event(&["redact", &second]);
    for args in [
        &["get", "k"][..],
        &["get", "k", "--json"],
        &["get", "k", "--all"],
        &["get", "l"],
        &["get", "l", "--json"],
    ] {
        let ran = s.refused(4, args);
        assert!(ran.stderr.contains("erased"), "{}", ran.stderr);
    }
    let shown = s.a(&["show", &event, "--json"]).json();
    assert_eq!(
        shown["ops"],
        json!([{"op": "put", "key": "k", "value": null, "unavailable": "erased"}])
    );
    s.refused(3, &["redact", "zzzzzzzzzz"]);
    s.refused(3, &["redact", &event, "zzzzzzzzzz"]);
    s.refused(2, &["redact"]);
    s.refused(2, &["redact", "bafyr4i"]);
}

#[test]
fn several_events_are_erased_by_one() {
    let s = Scratch::with_store();
    s.ok(&["clone", "a", "b", "--grant", "writer"]);
    let theirs = s.on("b", &["put", "theirs", "secret"]).ok().trim().to_owned();
    let own = s.on("b", &["put", "own", "secret"]).ok().trim().to_owned();
    s.a(&["merge", "b"]).ok();
    let by_a = s.event(&["put", "by-a", "kept"]);
    s.on("b", &["merge", "a"]).ok();
    // A writer erases its own values only: one that is another's spoils it all.
    let before = s.state("b");
    assert_eq!(s.on("b", &["redact", &own, &by_a]).code, 20);
    assert_eq!(s.state("b"), before);
    s.refused(3, &["redact", &own, "zzzzzzzzzz"]);
    let erased = s.a(&["redact", &own, &theirs, &own[..20], "--json"]).json();
    assert_eq!(
        erased["ops"],
        json!([{"op": "redact", "event": own}, {"op": "redact", "event": theirs}])
    );
    for (key, code) in [("own", 4), ("theirs", 4), ("by-a", 0)] {
        assert_eq!(s.a(&["get", key]).code, code, "{key}");
    }
    s.a(&["verify"]).ok();
    s.on("b", &["merge", "a"]).ok();
    assert_eq!(s.state("b"), s.state("a"));
    // One is printed as any other event that is written.
    let line = s.event(&["redact", &by_a]);
    assert_eq!(s.a(&["log", "-n", "1", "--json"]).json()["event"], json!(line));
}

#[test]
fn a_key_that_is_several_things_needs_a_type() {
    let s = Scratch::with_store();
    s.event(&["put", "k", "v"]);
    s.event(&["add", "k", "m"]);
    s.refused(2, &["get", "k"]);
    assert_eq!(s.a(&["get", "k", "--type", "set"]).ok(), "m\n");
    assert_eq!(s.a(&["get", "k", "--type", "register"]).ok(), "v");
    s.refused(3, &["get", "k", "--type", "list"]);
    s.refused(2, &["get", "k", "--type", "tree"]);
    s.refused(2, &["get", "k", "--type", "set", "--all"]);
    s.refused(3, &["get", "nothing"]);
}

#[test]
fn a_disk_that_takes_no_more_loses_nothing_that_was_written() {
    let s = Scratch::with_store();
    let mut batch = String::new();
    for n in 0..4_000 {
        batch +=
            &format!("{{\"op\":\"put\",\"key\":\"k{n}\",\"value\":\"{}\"}}\n", "x".repeat(1_000));
    }
    s.write("batch", batch.as_bytes());
    // No file may grow beyond 2 MiB: writing fails as it does on a full disk, and kills nobody.
    let put = format!(
        "trap '' XFSZ; ulimit -f 2048; exec {} --store a put --batch batch --group 10 --json",
        env!("CARGO_BIN_EXE_quipu")
    );
    let full = Command::new("bash").current_dir(s.path("")).args(["-c", &put]).output().unwrap();
    let full = ran(full);
    assert_eq!(full.code, 1, "{}", full.stderr);
    assert!(full.stderr.contains("File too large"), "{}", full.stderr);
    let written: Vec<Value> =
        full.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!((1..400).contains(&written.len()), "{} events", written.len());
    s.a(&["verify"]).ok();
    let held = s.a(&["log", "--json"]).lines();
    for event in &written {
        assert!(held.iter().any(|other| other["event"] == event["event"]));
    }
    s.event(&["put", "goes", "on"]);
}
