//! The commands that read one store.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use serde_json::{Value, json};
use support::{Scratch, fields, text};

/// A store with a little history, and the ids of its events.
fn history() -> (Scratch, Vec<String>) {
    let s = Scratch::with_store();
    let writes: [&[&str]; 6] = [
        &["put", "a/one", "1"],
        &["put", "b", "x"],
        &["put", "a/one", "2"],
        &["inc", "n", "5"],
        &["add", "s", "m"],
        &["append", "l", "e"],
    ];
    let events = writes.iter().map(|args| s.event(args)).collect();
    (s, events)
}

#[test]
fn the_json_of_an_event_is_the_same_to_the_byte() {
    let s = Scratch::with_store();
    let batch = [
        r#"{"op":"put","key":"k","value":"v"}"#,
        r#"{"op":"inc","key":"n","by":-2}"#,
        r#"{"op":"add","key":"s","member":{"/":{"bytes":"/w"}}}"#,
    ]
    .map(|line| format!("{line}\n"));
    s.feed(&["--store", "a", "put", "--batch", "-"], batch.concat().as_bytes()).ok();
    let printed = s.a(&["log", "-n", "1", "--json"]).ok();
    let json: Value = serde_json::from_str(&printed).unwrap();
    let event = text(&json, "event");
    assert_eq!(s.a(&["show", event, "--json"]).ok(), printed);
    let [author, time, micros, prev] = ["author", "time", "micros", "prev"].map(|name| &json[name]);
    let ops = batch.map(|line| line.trim().to_owned()).join(",");
    let about = format!(
        r#"{{"event":"{event}","author":{author},"seq":2,"time":{time},"micros":{micros},"prev":{prev},"parents":[],"void":false,"certified":null"#
    );
    assert_eq!(printed, format!("{about},\"ops\":[{ops}]}}\n"));
}

#[test]
fn get_prints_a_range() {
    let s = Scratch::with_store();
    s.event(&["put", "short", "0123456789"]);
    let long: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.wrapping_pow(3).to_le_bytes()).collect();
    s.write("f", &long);
    s.event(&["put", "long", "--file", "f"]);
    s.event(&["add", "set", "m"]);
    let get = |key: &str, range: &str| {
        let ran = s.a(&["get", key, "--range", range]);
        assert_eq!(ran.code, 0, "{range}: {}", ran.stderr);
        ran.stdout
    };
    let ranges = [
        ("2..5", &b"234"[..]),
        ("7..", b"789"),
        ("..3", b"012"),
        ("..", b"0123456789"),
        ("4..4", b""),
        ("8..99", b"89"),
        ("10..", b""),
        ("18446744073709551615..", b""),
    ];
    for (range, bytes) in ranges {
        assert_eq!(get("short", range), bytes, "{range}");
    }
    assert_eq!(get("long", "7000000..7000100"), &long[7_000_000..7_000_100]);
    assert_eq!(get("long", "500000.."), &long[500_000..]);
    assert_eq!(get("long", "..300000"), &long[..300_000]);
    assert_eq!(get("long", "11999990..99999999"), &long[11_999_990..]);
    assert_eq!(get("long", "12000000.."), b"");
    for range in ["5..2", "5", "5-7", "..=3", "a..", "+1..2", "-1..2", "", "18446744073709551616.."]
    {
        s.refused(2, &["get", "short", &format!("--range={range}")]);
    }
    s.refused(2, &["get", "short", "--range", "0..1", "--all"]);
    s.refused(2, &["get", "short", "--range", "0..1", "--json"]);
    s.refused(2, &["get", "set", "--range", "0..1"]);
    s.refused(3, &["get", "nothing", "--range", "0..1"]);
}

#[test]
fn keys_lists_what_is_there() {
    let (s, events) = history();
    assert_eq!(s.a(&["keys"]).ok(), "a/one\nb\nl\nn\ns\n");
    assert_eq!(s.a(&["keys", "a/"]).ok(), "a/one\n");
    assert_eq!(s.a(&["keys", "--type", "set"]).ok(), "s\n");
    assert_eq!(
        s.a(&["keys", "--at", &events[0], "--json"]).json(),
        json!({"key": "a/one", "types": ["register"]})
    );
    assert_eq!(s.a(&["keys", "nothing"]).ok(), "");
    s.refused(2, &["keys", "--at", "b:"]);
    s.refused(3, &["keys", "--at", "zzzzzzzzzz"]);
    s.refused(2, &["keys", "--type", "tree"]);
}

#[test]
fn cuts_are_found_in_every_form() {
    let (s, events) = history();
    let shown = s.a(&["show", &events[0], "--json"]).json();
    let key = text(&shown, "author").to_owned();
    let clock = format!("{}:2", &key[..10]);
    let part = &events[0][7..15];
    for cut in [events[0].as_str(), part, &clock, text(&shown, "time")] {
        assert_eq!(s.a(&["get", "a/one", "--at", cut]).ok(), "1", "at {cut}");
    }
    let both = format!("{}+{}", events[0], events[1]);
    assert_eq!(s.a(&["keys", "--at", &both]).ok(), "a/one\nb\n");
    s.refused(3, &["get", "a/one", "--at", "checkpoint:1"]);
    s.refused(3, &["get", "a/one", "--at", "1970-01-01T00:00:00Z"]);
    s.refused(3, &["get", "a/one", "--at", "nobody:3"]);
    s.refused(2, &["get", "a/one", "--at", "checkpoint:x"]);
    s.refused(2, &["get", "a/one", "--at", "b+"]);
}

#[test]
fn log_goes_back_in_time() {
    let (s, events) = history();
    let ids = |lines: Vec<Value>| {
        lines.iter().map(|line| text(line, "event").to_owned()).collect::<Vec<_>>()
    };
    let all = ids(s.a(&["log", "--json"]).lines());
    assert_eq!(all.len(), 7);
    assert_eq!(all[..6].iter().rev().collect::<Vec<_>>(), events.iter().collect::<Vec<_>>());
    assert_eq!(ids(s.a(&["log", "--json", "-n", "2"]).lines()), all[..2]);
    assert_eq!(ids(s.a(&["log", "--json", "--at", &events[1]]).lines()), all[4..]);
    assert_eq!(ids(s.a(&["log", "--json", "--since", &events[1]]).lines()), all[..4]);
    let of_key = ids(s.a(&["log", "--json", "--key", "a/one"]).lines());
    assert_eq!(of_key, [events[2].clone(), events[0].clone()]);
    let key = s.a(&["identity", "show", "--json"]).json();
    assert_eq!(s.a(&["log", "--author", text(&key, "key")]).ok().lines().count(), 7);
    let graph = s.a(&["log", "--graph"]).ok();
    assert_eq!(graph.lines().filter(|line| line.starts_with('o')).count(), 7);
    assert!(s.a(&["log", "--graph", "--since", &events[3]]).ok().contains('~'));
    s.refused(3, &["log", "--key", "nothing"]);
    s.refused(3, &["log", "--author", "nobody"]);
    s.refused(3, &["log", "--since", "zzzzzzzzzz"]);
    s.refused(2, &["log", "--graph", "--json"]);
    s.refused(2, &["log", "-n", "few"]);
}

#[test]
fn show_and_clock() {
    let (s, events) = history();
    let shown = s.a(&["show", &events[1]]).ok();
    assert!(
        shown.contains(&events[1]) && shown.contains(&events[0]) && shown.contains("put b = x"),
        "{shown}"
    );
    let key = s.a(&["identity", "show", "--json"]).json();
    let key = text(&key, "key");
    assert_eq!(
        s.a(&["clock", &events[1], "--json"]).json(),
        json!({"event": events[1], "clock": {key: 3}})
    );
    assert_eq!(s.a(&["clock", "--json"]).json(), json!({"event": null, "clock": {key: 7}}));
    let cut = s.a(&["clock", &events[1]]).ok();
    assert_eq!(s.a(&["keys", "--at", cut.trim()]).ok(), "a/one\nb\n");
    for command in ["show", "clock"] {
        s.refused(3, &[command, "zzzzzzzzzz"]);
        s.refused(2, &[command, "bafyr4i"]);
        s.refused(2, &[command, "b", "c", "d"]);
    }
    s.refused(2, &["show"]);
}

#[test]
fn diff_tells_what_has_changed() {
    let (s, events) = history();
    s.event(&["del", "b"]);
    s.event(&["rem", "s", "m"]);
    let lines = s.a(&["diff", &events[1], "--json"]).lines();
    let brief: Vec<_> = lines.iter().map(|line| (text(line, "key"), text(line, "type"))).collect();
    assert_eq!(brief, [("a/one", "register"), ("l", "list"), ("n", "counter"), ("b", "register")]);
    assert_eq!(lines[0]["before"][0]["value"], "1");
    assert_eq!(lines[0]["after"][0]["value"], "2");
    assert_eq!(lines[1]["added"], json!([{"value": "e"}]));
    assert_eq!((&lines[2]["before"], &lines[2]["after"]), (&Value::Null, &json!("5")));
    assert_eq!(lines[3]["after"], json!([]));
    let gone = s.a(&["diff", &events[5], "--json"]).lines();
    assert_eq!(gone[1], json!({"key": "s", "type": "set", "added": [], "removed": ["m"]}));
    assert_eq!(s.a(&["diff", &events[0], &events[0]]).ok(), "");
    assert_eq!(s.a(&["diff", &events[0], &events[1]]).ok(), "b (register)\n  + x\n");
    s.refused(2, &["diff"]);
    s.refused(3, &["diff", "zzzzzzzzzz"]);
    s.refused(2, &["diff", &events[0], "b:"]);
}

#[test]
fn blame_tells_who_wrote_what() {
    let (s, events) = history();
    let lines = s.a(&["blame", "a/one", "--json"]).lines();
    assert_eq!(
        fields(&lines[0]),
        ["author", "current", "event", "key", "op", "seq", "time", "value", "void"]
    );
    let brief: Vec<_> = lines
        .iter()
        .map(|line| (text(line, "event"), text(line, "value"), &line["current"]))
        .collect();
    assert_eq!(brief, [(events[2].as_str(), "2", &json!(true)), (&events[0], "1", &json!(false))]);
    assert!(s.a(&["blame", "s"]).ok().starts_with('*'));
    assert_eq!(s.a(&["blame", "a/one", "--at", &events[0]]).ok().lines().count(), 1);
    s.refused(3, &["blame", "nothing"]);
    s.refused(3, &["blame", "s", "--type", "list"]);
    s.refused(2, &["blame"]);
}

#[test]
fn dump_has_the_whole_state() {
    let (s, events) = history();
    let dump = s.a(&["dump", "--json"]).json();
    let all = [
        "counters",
        "events",
        "forks",
        "heads",
        "ledger",
        "lists",
        "registers",
        "roles",
        "sets",
        "state_root",
        "version",
        "void",
    ];
    assert_eq!(fields(&dump), all);
    assert_eq!(dump["registers"]["a/one"], json!([{"event": events[2], "value": "2"}]));
    assert_eq!(serde_json::from_str::<Value>(&s.a(&["dump"]).ok()).unwrap(), dump);
    assert_eq!(s.a(&["dump", "--json", "--at", &events[0]]).json()["events"], 2);
    assert_eq!(
        s.a(&["dump", "--json", "--certified", &events[0], "--certified", &events[1]]).json(),
        dump
    );
    let both = format!("{},{}", events[0], events[1]);
    assert_eq!(s.a(&["dump", "--json", "--certified", &both]).json(), dump);
    s.refused(2, &["dump", "--json", "--certified", "2026-01-01T00:00:00Z"]);
    s.refused(3, &["dump", "--json", "--certified", "zzzzzzzzzz"]);
    s.refused(3, &["dump", "--json", "--at", "zzzzzzzzzz"]);
}

#[test]
fn status_is_an_overview() {
    let (s, events) = history();
    let status = s.a(&["status", "--json"]).json();
    let all = [
        "authors",
        "certification",
        "conflicts",
        "copied",
        "daemon",
        "dir",
        "disk_bytes",
        "events",
        "filling",
        "fork_policy",
        "forks",
        "format",
        "heads",
        "key",
        "ledger",
        "left_out_values",
        "missing_values",
        "name",
        "policy",
        "pruned_to",
        "pruned_values",
        "roles",
        "shallow",
        "void",
        "waiting",
        "waiting_bytes",
    ];
    assert_eq!(fields(&status), all);
    assert_eq!((&status["events"], &status["heads"]), (&json!(7), &json!([events[5]])));
    assert!(s.a(&["status"]).ok().contains("7 by 1 author"));
    s.refused(2, &["status", "more"]);
    s.refused(2, &["verify", "more"]);
}

#[test]
fn verify_finds_nothing_wrong() {
    let (s, _) = history();
    let report = s.a(&["verify", "--json"]).json();
    assert_eq!(
        fields(&report),
        ["blocks", "events", "findings", "openings", "unlisted", "versions"]
    );
    assert_eq!((&report["events"], &report["findings"]), (&json!(7), &json!([])));
    assert!(s.a(&["verify"]).ok().ends_with("0 faults\n"));
}

#[test]
fn verify_notices_a_flipped_bit() {
    let (s, _) = history();
    s.write(
        "in",
        "{\"op\":\"put\",\"key\":\"k\",\"value\":\"some text to be damaged\"}\n"
            .repeat(3000)
            .as_bytes(),
    );
    s.a(&["put", "--batch", "in", "--group", "1000"]).ok();
    // Whatever file it is in, a flipped bit is noticed or has no meaning.
    let mut noticed = 0;
    for entry in std::fs::read_dir(s.path("a/db")).unwrap() {
        let path = entry.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        if !path.extension().is_some_and(|kind| kind == "sst" || kind == "log")
            || whole.len() < 100_000
        {
            continue;
        }
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        noticed += usize::from(s.a(&["verify"]).code == 21);
        std::fs::write(&path, whole).unwrap();
    }
    assert!(noticed > 0);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let s = Scratch::with_store();
    s.event(&["put", "k\u{1b}[31m", "v\u{1b}[2J"]);
    for args in [&["log"][..], &["keys"], &["blame", "k\u{1b}[31m"]] {
        assert!(!s.a(args).ok().contains('\u{1b}'), "{args:?}");
    }
    assert_eq!(s.a(&["get", "k\u{1b}[31m"]).ok(), "v\u{1b}[2J");
}
