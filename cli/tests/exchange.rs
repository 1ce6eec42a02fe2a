//! Replicas that diverge, merge, and exchange files.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use serde_json::json;
use support::{Scratch, fields, text};

/// Two replicas, `a` and `b`, that have written the same register without knowing of each other.
fn diverged() -> Scratch {
    let s = Scratch::with_store();
    s.event(&["put", "k", "old"]);
    s.ok(&["clone", "a", "b", "--grant", "writer"]);
    s.event(&["put", "k", "from a"]);
    s.on("b", &["put", "k", "from b"]).ok();
    s.on("b", &["inc", "n"]).ok();
    s
}

#[test]
fn a_merge_brings_both_to_one_state() {
    let s = diverged();
    let preview = s.a(&["merge", "b", "--dry-run", "--json"]).json();
    assert_eq!((&preview["dry_run"], &preview["new_events"]), (&json!(true), &json!(2)));
    let before = s.state("a");
    assert_eq!(before["events"], 4);
    let report = s.a(&["merge", "b", "--json"]).json();
    let all = [
        "adopted",
        "diverged",
        "dropped",
        "dry_run",
        "history",
        "known_events",
        "new_checkpoints",
        "new_conflicts",
        "new_events",
        "new_forks",
        "new_values",
        "new_void",
        "passed_over_checkpoints",
        "pending_checkpoints",
        "refilled_bodies",
        "refused",
        "waiting",
    ];
    assert_eq!(fields(&report), all);
    assert_eq!((&report["new_events"], &report["new_conflicts"]), (&json!(2), &json!(["k"])));
    s.on("b", &["merge", "a"]).ok();
    assert_eq!(s.state("a"), s.state("b"));
    assert_eq!(s.a(&["merge", "b", "--json"]).json()["new_events"], 0);
}

#[test]
fn merge_refuses() {
    let s = diverged();
    s.ok(&["init", "other"]);
    s.write("garbage", b"this is no CAR file");
    s.refused(20, &["merge", "other"]);
    s.refused(20, &["merge", "garbage"]);
    s.refused(2, &["merge", "a"]);
    s.refused(2, &["merge"]);
    s.refused(1, &["merge", "nowhere"]);
    std::fs::create_dir(s.path("empty")).unwrap();
    s.refused(10, &["merge", "empty"]);
    let ran = s.a(&["merge", "other", "--json"]);
    let refused: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((text(&refused, "error"), text(&refused, "reason")), ("refused", "genesis"));
}

#[test]
fn conflicts_are_listed_and_resolved() {
    let s = diverged();
    s.refused(5, &["resolve", "k", "too early"]);
    s.a(&["merge", "b"]).ok();
    let conflict = s.a(&["conflicts", "--json"]).json();
    assert_eq!(conflict["key"], "k");
    assert_eq!(fields(&conflict["values"][0]), ["author", "event", "time", "value"]);
    assert_eq!(s.a(&["get", "k", "--all", "--json"]).lines().len(), 2);
    assert_eq!(s.a(&["get", "k", "--json"]).json()["conflicts"], 1);
    assert!(s.a(&["conflicts", "k"]).ok().contains("from a"));
    assert_eq!(s.a(&["conflicts", "other"]).ok(), "");
    s.refused(2, &["resolve", "k"]);
    s.refused(3, &["resolve", "nothing", "v"]);
    s.refused(3, &["resolve", "k", "--take", "zzzzzzzzzz"]);
    let old = text(&s.a(&["blame", "k", "--json"]).lines()[2], "event").to_owned();
    s.refused(3, &["resolve", "k", "--take", &old]);
    s.refused(2, &["conflicts", "--at", "b:"]);
    s.refused(3, &["conflicts", "--at", "zzzzzzzzzz"]);
    let last = text(&conflict["values"][1], "event");
    s.event(&["resolve", "k", "--take", last]);
    assert_eq!(s.a(&["get", "k"]).ok(), "from a");
    assert_eq!(s.a(&["conflicts"]).ok(), "");
    s.refused(5, &["resolve", "k", "again"]);
}

#[test]
fn resolve_takes_long_values() {
    let s = diverged();
    let long = vec![7; 100_000];
    s.write("long", &long);
    let event = s.event(&["put", "k", "--file", "long"]);
    s.a(&["merge", "b"]).ok();
    s.event(&["resolve", "k", "--take", &event]);
    assert_eq!(s.a(&["get", "k"]).stdout, long);
}

#[test]
fn files_carry_everything() {
    let s = diverged();
    let report = s.on("b", &["export", "b.car", "--json"]).json();
    let all = ["blocks", "bytes", "checkpoints", "events", "file", "left_out_checkpoints"];
    assert_eq!(fields(&report), all);
    assert_eq!(report["events"], 5);
    assert_eq!(report["bytes"], std::fs::metadata(s.path("b.car")).unwrap().len());
    assert_eq!(s.a(&["import", "b.car", "--dry-run", "--json"]).json()["new_events"], 2);
    assert_eq!(s.a(&["import", "b.car", "--json"]).json()["new_events"], 2);
    s.ok(&["clone", "b.car", "c"]);
    assert_eq!(s.state("b"), s.state("c"));
    let clock = s.on("c", &["clock"]).ok();
    s.a(&["export", "news.car", "--since", clock.trim()]).ok();
    s.on("c", &["merge", "news.car"]).ok();
    assert_eq!(s.state("a"), s.state("c"));
    let piped = s.a(&["export", "-"]).stdout;
    assert_eq!(s.feed(&["--store", "b", "import", "-"], &piped).code, 0);
    assert_eq!(s.state("a"), s.state("b"));
}

#[test]
fn export_refuses() {
    let s = diverged();
    s.refused(2, &["export"]);
    s.refused(3, &["export", "x.car", "--at", "zzzzzzzzzz"]);
    s.refused(2, &["export", "x.car", "--since", "b:"]);
    s.refused(1, &["export", "nowhere/x.car"]);
    s.refused(2, &["export", "-", "--json"]);
    assert!(!s.path("x.car").exists());
}

#[test]
fn import_refuses_and_keeps_the_store() {
    let s = diverged();
    s.on("b", &["export", "b.car"]).ok();
    let mut car = std::fs::read(s.path("b.car")).unwrap();
    s.write("short.car", &car[..car.len() - 10]);
    let middle = car.len() / 2;
    car[middle] ^= 1;
    s.write("flipped.car", &car);
    s.write("empty.car", b"");
    for file in ["short.car", "flipped.car", "empty.car"] {
        let ran = s.refused(20, &["import", file]);
        assert!(!ran.stderr.is_empty());
        assert_eq!(s.run(&["clone", file, "new"]).code, 20, "{file}");
        assert!(!s.path("new").exists(), "{file} leaves half a store");
    }
    s.refused(1, &["import", "nowhere.car"]);
    s.refused(2, &["import"]);
}

#[test]
fn a_clone_has_a_key_of_its_own_and_writes_nothing() {
    let s = diverged();
    let clone = s.run(&["clone", "a", "c", "--json"]).json();
    assert_eq!(fields(&clone), ["dir", "key", "ledger", "name"]);
    let own = s.a(&["identity", "show", "--json"]).json();
    assert_ne!(clone["key"], own["key"]);
    assert_eq!(s.state("a"), s.state("c"));
    assert_eq!(s.on("c", &["put", "k", "v"]).code, 20);
    let first = text(&s.a(&["log", "--key", "k", "--json"]).lines()[1], "event").to_owned();
    s.ok(&["clone", "a", "then", "--at", &first]);
    assert_eq!(s.on("then", &["get", "k"]).ok(), "old");
    s.a(&["export", "a.car"]).ok();
    s.ok(&["clone", "a.car", "then2", "--at", &first]);
    assert_eq!(s.state("then"), s.state("then2"));
}

#[test]
fn clone_refuses() {
    let s = diverged();
    s.a(&["export", "a.car"]).ok();
    let cases: [(i32, &[&str]); 9] = [
        (1, &["clone", "nowhere", "c"]),
        (1, &["clone", "a", "b"]),
        (1, &["clone", "a", "b", "--grant", "writer"]),
        (2, &["clone"]),
        (2, &["clone", "a.car", "c", "--grant", "writer"]),
        (2, &["clone", "a", "c", "--grant", "king"]),
        (20, &["clone", "b", "c", "--grant", "writer"]),
        (3, &["clone", "a", "c", "--at", "zzzzzzzzzz"]),
        (3, &["clone", "a.car", "c", "--at", "zzzzzzzzzz"]),
    ];
    let before = s.state("a");
    for (code, args) in cases {
        let ran = s.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty() && !s.path("c").exists(), "{args:?}");
    }
    let refused = s.run(&["clone", "b", "c", "--grant", "writer", "--json"]);
    let refused: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(text(&refused, "reason"), "unauthorised");
    assert_eq!(s.state("a"), before);
}

#[test]
fn a_copied_source_warns_before_it_grants() {
    let s = Scratch::with_store();
    // Another file with the same key, as in a copy.
    let (key, copy) = (s.path("a/identity.pem"), s.path("a/copy"));
    std::fs::copy(&key, &copy).unwrap();
    std::fs::rename(copy, key).unwrap();
    assert!(!s.run(&["clone", "a", "b"]).stderr.contains("looks like a copy"));
    let granted = s.run(&["clone", "a", "c", "--grant", "writer"]);
    assert!(granted.stderr.contains("looks like a copy"), "{}", granted.stderr);
    s.on("c", &["put", "k", "v"]).ok();
}

#[test]
fn checkpoints_after_a_gap_are_told_of() {
    let s = Scratch::certified();
    for value in ["1", "2"] {
        s.a(&["put", "a", value]).ok();
        s.certify("a");
    }
    s.a(&["export", "news.car", "--since", "checkpoint:1"]).ok();
    let ledger = s.a(&["status", "--json"]).json()["ledger"].clone();
    s.ok(&["clone", "a", "first", "--at", ledger.as_str().unwrap()]);
    for args in [&["import", "news.car", "--dry-run"][..], &["import", "news.car"]] {
        let told = s.on("first", &[args, &["--json"]].concat()).json();
        assert_eq!(
            (&told["new_checkpoints"], &told["passed_over_checkpoints"]),
            (&json!(0), &json!(1))
        );
    }
    let told = s.on("first", &["import", "news.car"]).ok();
    assert!(told.contains("1 checkpoint passed over: those before are neither here"), "{told}");
}

/// A FIFO is no file to be replaced: whoever reads from it gets what is written.
#[test]
fn what_is_no_file_is_written_to() {
    let s = diverged();
    let made = std::process::Command::new("mkfifo").arg(s.path("pipe")).status().unwrap();
    assert!(made.success());
    let mut daemon = None;
    for _ in 0..2 {
        let pipe = s.path("pipe");
        let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap());
        // Nobody may read yet: it is waited for.
        let export = s.a(&["export", "pipe", "--json"]).json();
        let came = reader.join().unwrap();
        assert_eq!(export["bytes"], came.len());
        s.write("piped.car", &came);
        assert_eq!(s.on("b", &["import", "piped.car"]).code, 0);
        assert!(std::fs::metadata(s.path("pipe")).unwrap().file_type().is_fifo());
        // The same through a daemon.
        daemon = daemon.or_else(|| Some(s.serve("a")));
    }
    let shown = s.a(&["export", "/dev/stdout"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    s.write("shown.car", &shown.stdout);
    s.on("b", &["import", "shown.car"]).ok();
}

#[test]
fn links_lead_to_the_file_that_is_written() {
    let s = diverged();
    std::fs::create_dir(s.path("dir")).unwrap();
    s.write("dir/old.car", b"old");
    for (to, link) in [("dir/old.car", "old"), ("old", "twice"), ("dir/new.car", "new")] {
        symlink(to, s.path(link)).unwrap();
    }
    for (link, file) in [("old", "dir/old.car"), ("twice", "dir/old.car"), ("new", "dir/new.car")] {
        s.a(&["export", link]).ok();
        assert!(s.path(link).is_symlink(), "{link}");
        assert_eq!(s.on("b", &["import", file]).code, 0, "{file}");
        s.write("dir/old.car", b"old");
    }
    symlink("round", s.path("round")).unwrap();
    s.refused(1, &["export", "round"]);
    assert_eq!(std::fs::read_dir(s.path("dir")).unwrap().count(), 2, "nothing is left over");
}

#[test]
fn exports_are_for_those_that_the_mask_lets() {
    let s = diverged();
    let mode = |file: &str| std::fs::metadata(s.path(file)).unwrap().permissions().mode() & 0o777;
    let export = |mask: &str, file: &str| {
        let line = format!("umask {mask}; exec \"$0\" --store a export {file}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_quipu")]).current_dir(s.path("."));
        assert!(shell.output().unwrap().status.success());
    };
    export("022", "a.car");
    assert_eq!(mode("a.car"), 0o644);
    export("077", "b.car");
    assert_eq!(mode("b.car"), 0o600);
    // What somebody has closed stays closed, and what is open stays open.
    export("022", "b.car");
    export("077", "a.car");
    assert_eq!((mode("a.car"), mode("b.car")), (0o644, 0o600));
    let _daemon = s.serve("a");
    export("027", "c.car");
    assert_eq!(mode("c.car") & 0o027, 0);
}

#[test]
fn what_is_wrong_is_named() {
    let s = diverged();
    s.write("file", b"");
    let cases: [(i32, &[&str], &str); 9] = [
        (1, &["import", "."], "error: .: it is a directory"),
        (1, &["put", "k", "--file", "a"], "error: a: it is a directory"),
        (1, &["put", "--batch", "a"], "error: a: it is a directory"),
        (2, &["get", "k", "--at", "2026-13-01T00:00:00Z"], "there is no such time"),
        (3, &["peer", "rm", "zz"], "no peer is called \"zz\""),
        (2, &["token", "add", "", "--role", "read"], "it is empty"),
        (2, &["token", "add", "x", "--role", "read", "--days", "0"], "at least 1"),
        (2, &["log", "-n", "x"], "not a whole number"),
        (2, &["show", ""], "an empty text names nothing"),
    ];
    for (code, args, words) in cases {
        let ran = s.refused(code, args);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
    let nowhere = s.refuses(10, &["clone", "--from-checkpoint", "nowhere", "c"]);
    assert!(nowhere.stderr.contains("no ledger at nowhere"), "{}", nowhere.stderr);
    let exists = s.refuses(1, &["clone", "a", "file"]);
    assert!(exists.stderr.contains("file exists already"), "{}", exists.stderr);
    s.refused(2, &["put", "k", "v", "--if", ""]);
    s.refused(2, &["redact", ""]);
}

#[test]
fn a_bad_line_is_named_once() {
    let s = Scratch::with_store();
    for (line, words) in [
        ("{\"op\":\"xx\"}", "line 2: no operation, at byte 10: unknown variant `xx`"),
        ("{\"op\":", "line 2: not a whole object of JSON, at byte 6"),
    ] {
        let batch = format!("{{\"op\":\"del\",\"key\":\"k\"}}\n{line}\n");
        let ran = s.feed(&["--store", "a", "put", "--batch", "-"], batch.as_bytes());
        assert_eq!(ran.code, 20);
        assert!(ran.stderr.contains(words) && !ran.stderr.contains("line 1"), "{}", ran.stderr);
    }
}
