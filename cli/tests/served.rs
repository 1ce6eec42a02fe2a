//! Commands do and say the same whether a daemon serves the store or not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use support::{Ran, Scratch, ran};

/// What a command has ended with, told to a failing test.
type Outcome = (String, i32, Vec<u8>, String);

fn outcome(args: &[&str], ran: Ran) -> Outcome {
    (args.join(" "), ran.code, ran.stdout, ran.stderr)
}

/// A store with some of everything in it.
fn full() -> Scratch {
    let s = Scratch::without_validators();
    s.a(&["put", "sign/colour", "green"]).ok();
    s.a(&["put", "sign/colour", "red"]).ok();
    s.a(&["put", "sign/size", "tall\u{1b}[31m"]).ok();
    let bytes: Vec<u8> = (0..=255).cycle().take(5 << 20).collect();
    s.write("long", &bytes);
    s.a(&["put", "long", "--file", "long"]).ok();
    s.a(&["inc", "count", "7"]).ok();
    s.a(&["add", "tags", "x", "y"]).ok();
    s.a(&["append", "list", "one"]).ok();
    s.a(&["append", "list", "two"]).ok();
    s.a(&["put", "secret", "gone"]).ok();
    let secret = s.a(&["log", "-n", "1", "--json"]).lines().remove(0);
    s.a(&["redact", secret["event"].as_str().unwrap()]).ok();
    std::fs::create_dir(s.path("tree")).unwrap();
    s.write("tree/file", b"content");
    std::os::unix::fs::symlink("file", s.path("tree/link")).unwrap();
    s.a(&["put", "--dir", "tree", "t/"]).ok();
    s.ok(&["clone", "a", "b", "--grant", "writer"]);
    s.a(&["put", "fought", "here"]).ok();
    s.on("b", &["put", "fought", "there"]).ok();
    s.a(&["merge", "b"]).ok();
    let key = s.on("b", &["identity", "show", "--json"]).json()["key"].as_str().unwrap().to_owned();
    s.a(&["author", "name", &key, "bob"]).ok();
    s.ok(&["--store", "b", "export", "b.car"]);
    s.write("bad.car", b"no car file");
    s.write("bad.ndjson", b"{\"op\":\"put\"}\n");
    std::fs::create_dir(s.path("below")).unwrap();
    s
}

/// Commands that leave the store as it is.
const READING: &[&[&str]] = &[
    &["get", "sign/colour"],
    &["get", "sign/colour", "--all"],
    &["get", "sign/colour", "--json"],
    &["get", "sign/size"],
    &["get", "long"],
    &["get", "long", "--range", "1000000..3000000"],
    &["get", "long", "--range", "1..2", "--json"],
    &["get", "count"],
    &["get", "tags"],
    &["get", "list", "--json"],
    &["get", "secret"],
    &["get", "nothing"],
    &["get", "tags", "--type", "counter"],
    &["get", "sign/colour", "--at", "nobody:3"],
    &["get", "--dir", "none/", "out"],
    &["get", "--dir", "t/", "tree"],
    &["keys"],
    &["keys", "sign/", "--json"],
    &["log"],
    &["log", "--json"],
    &["log", "--graph"],
    &["log", "-n", "2"],
    &["log", "--key", "nothing"],
    &["log", "--author", "bob"],
    &["log", "--author", "carol"],
    &["conflicts"],
    &["conflicts", "--json"],
    &["resolve", "sign/colour", "x"],
    &["resolve", "fought"],
    &["resolve", "fought", "--file", "none"],
    &["show", "zzzz"],
    &["show", "ba"],
    &["clock"],
    &["clock", "--json"],
    &["diff", "bob:0"],
    &["diff", "bob:0", "--json"],
    &["blame", "fought"],
    &["blame", "nothing"],
    &["merge", "b", "--dry-run"],
    &["merge", "b", "--dry-run", "--json"],
    &["merge", "a"],
    &["merge", "nowhere"],
    &["merge", "below"],
    &["merge", "bad.car"],
    &["export", "-"],
    &["export", "-", "--json"],
    &["export", "below/out.car", "--json"],
    &["export", "below"],
    &["import", "b.car", "--dry-run"],
    &["import", "bad.car", "--json"],
    &["import", "nothing.car"],
    &["backup", "a/inside"],
    &["backup", "below/x", "--list"],
    &["backup", "--check", "nowhere"],
    &["member", "list"],
    &["member", "grant", "nobody", "writer"],
    &["redact", "zzzz"],
    &["author", "list"],
    &["author", "name", "bob", "a b"],
    &["du"],
    &["du", "sign/", "t/", "--json"],
    &["dump"],
    &["dump", "--json"],
    &["verify"],
    &["verify", "--json"],
    &["gc", "--dry-run"],
    &["gc", "--dry-run", "--grace", "soon"],
    &["prune", "--before", "bob:1", "--dry-run"],
    &["prune", "--before", "bob:1", "--dry-run", "--json"],
    &["pin", "list"],
    &["pin", "rm", "zzzz"],
    &["identity", "show"],
    &["identity", "show", "--json"],
    &["identity", "passphrase"],
    &["identity", "passphrase", "--new-passphrase-file", "none"],
    &["identity", "passphrase", "--new-passphrase-file", "tree"],
    &["put", "k"],
    &["put", "k", "--file", "none"],
    &["put", "k", "v", "--if", "zzzz"],
    &["put", "sign/colour", "v", "--if-absent"],
    &["put", "k", "v", "--passphrase-file", "none"],
    &["put", "--batch", "bad.ndjson"],
    &["put", "--batch", "bad.ndjson", "--json"],
    &["put", "--dir", "none", "t/"],
    &["put", "--dir", "tree", "t"],
    &["put", "--dir", "a", "t/"],
    &["put", "--dir", "tree", "t/"],
    &["del", "nothing"],
    &["inc", "count", "0"],
    &["rem", "tags", "z"],
    &["append", "list"],
    &["get"],
    &["no-such-command"],
    &["help", "serve"],
    &["--version"],
    &["init", "a"],
    &["validators"],
    &["validators", "--json"],
    &["checkpoint", "list"],
    &["checkpoint", "show", "1"],
    &["checkpoint", "verify"],
    &["get", "k", "--final"],
    &["prove", "key", "k"],
    &["prove", "event", "zzzz", "-o", "proof"],
    &["check", "nowhere", "--genesis", "bafy"],
    &["restore", "nowhere", "new"],
    &["completions", "bash"],
    &["man"],
];

fn read_all(s: &Scratch) -> Vec<Outcome> {
    let mut all: Vec<_> = READING.iter().map(|args| outcome(args, s.a(args))).collect();
    // From elsewhere, by the environment, with colours.
    let from = |dir: &str, args: &[&str], set: &[(&str, &str)]| {
        let mut command = s.command(args);
        command.current_dir(s.path(dir)).envs(set.iter().copied());
        outcome(args, ran(command.output().unwrap()))
    };
    let colours = ("CLICOLOR_FORCE", "1");
    all.push(from("a", &["log", "-n", "1"], &[colours]));
    all.push(from("a/db", &["show", "zzzz"], &[colours]));
    all.push(from("a", &["log"], &[colours, ("NO_COLOR", "1")]));
    all.push(from("below", &["put", "k", "--file", "../none"], &[("QUIPU_STORE", "../a")]));
    all.push(from("below", &["merge", "../a"], &[("QUIPU_STORE", "../a")]));
    all.push(from("below", &["keys"], &[]));
    all.push(from("below", &["clone", "../a", "new"], &[("QUIPU_PASSPHRASE", "")]));
    std::fs::remove_dir_all(s.path("below")).unwrap();
    std::fs::create_dir(s.path("below")).unwrap();
    all
}

#[test]
fn reading_is_the_same_to_the_byte() {
    let s = full();
    let before = read_all(&s);
    let daemon = s.serve("a");
    let after = read_all(&s);
    for (before, after) in before.into_iter().zip(after) {
        // A clone has a key of its own.
        if before.0.starts_with("clone") {
            assert_eq!((before.1, after.1), (0, 0), "{}", after.3);
            continue;
        }
        assert!(before.2 == after.2, "{}: stdout differs", before.0);
        assert_eq!((before.1, before.3), (after.1, after.3), "{}", before.0);
    }
    let log = daemon.log();
    assert!(log.matches("a command is done").count() > 80, "{log}");
}

/// A text without what is another each time: ids, keys and times.
fn plain(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut words: Vec<String> = vec![String::new()];
    for letter in text.chars() {
        // The marks that stand in times belong to words.
        if letter.is_ascii_alphanumeric() || ":.-".contains(letter) {
            words.last_mut().unwrap().push(letter);
        } else {
            words.push(letter.to_string());
            words.push(String::new());
        }
    }
    // Ids of ten letters, and keys of eight, need not have a digit in them.
    let changes = |word: &str| {
        word.len() == 10
            || word.len() >= 8 && word.contains(|letter: char| letter.is_ascii_digit())
            || word.len() == 8 && word.bytes().all(|letter| letter.is_ascii_hexdigit())
    };
    words.into_iter().map(|word| if changes(&word) { "*".to_owned() } else { word }).collect()
}

/// Writes of all kinds, and what they have said.
fn write_all(s: &Scratch) -> Vec<Outcome> {
    let long: Vec<u8> = (0..=255).rev().cycle().take(4 << 20).collect();
    s.write("long", &long);
    s.write("batch", b"{\"op\":\"inc\",\"key\":\"n\",\"by\":2}\n\n{\"op\":\"add\",\"key\":\"s\",\"member\":\"m\"}\n");
    std::fs::create_dir(s.path("tree")).unwrap();
    s.write("tree/file", &long);
    s.write("pass", b"secret\n");
    let mut all = Vec::new();
    let mut feed = |args: &[&str], input: &[u8]| {
        let ran = s.feed(&[&["--store", "a"], args].concat(), input);
        all.push(outcome(args, ran));
    };
    feed(&["put", "k", "v"], b"");
    feed(&["put", "k", "-"], &long);
    feed(&["get", "k"], b"");
    feed(&["put", "k", "-", "--json"], b"\0\xff\n");
    feed(&["get", "k", "--json"], b"");
    feed(&["put", "f", "--file", "long"], b"");
    feed(
        &["put", "--batch", "-", "--group", "1", "--json"],
        b"{\"op\":\"put\",\"key\":\"x\",\"value\":\"y\"}\nbad\n",
    );
    feed(&["put", "--batch", "batch"], b"");
    feed(&["put", "--dir", "tree", "t/"], b"");
    feed(&["put", "--dir", "tree", "t/", "--json"], b"");
    feed(&["get", "--dir", "t/", "restored", "--json"], b"");
    feed(&["append", "l", "-"], &long);
    feed(&["append", "l", "--file", "batch"], b"");
    feed(&["inc", "n"], b"");
    feed(&["add", "s", "a", "b"], b"");
    feed(&["rem", "s", "a"], b"");
    feed(&["del", "x"], b"");
    feed(&["author", "name", "me", "nobody"], b"");
    feed(&["export", "out.car"], b"");
    feed(&["export", "tree/../out2.car", "--json"], b"");
    feed(&["backup", "backups"], b"");
    feed(&["backup", "backups", "--keep", "1", "--json"], b"");
    feed(&["backup", "backups", "--list"], b"");
    feed(&["clone", "a", "c", "--grant", "writer"], b"");
    feed(&["clone", "a", "c"], b"");
    feed(&["clone", "out.car", "d"], b"");
    for store in ["c", "d"] {
        let ran = s.on(store, &["put", "k", "other"]);
        all.push(outcome(&["put", "in", store], ran));
    }
    let mut feed = |args: &[&str], input: &[u8]| {
        let ran = s.feed(&[&["--store", "a"], args].concat(), input);
        all.push(outcome(args, ran));
    };
    feed(&["put", "k", "mine"], b"");
    feed(&["merge", "c"], b"");
    feed(&["merge", "c", "--refill", "--json"], b"");
    feed(&["conflicts"], b"");
    feed(&["resolve", "k", "-"], b"settled");
    feed(&["import", "out.car"], b"");
    feed(&["import", "-", "--json"], &std::fs::read(s.path("out.car")).unwrap());
    feed(&["import", "-"], b"no car file");
    feed(&["gc", "--grace", "0s"], b"");
    feed(&["pin", "add", "zzzz"], b"");
    feed(&["identity", "passphrase", "--new-passphrase-file", "pass"], b"");
    feed(&["identity", "rotate", "--force", "--passphrase-file", "pass"], b"");
    feed(&["put", "k", "rotated", "--passphrase-file", "pass"], b"");
    feed(&["identity", "keep"], b"");
    feed(&["get", "k"], b"");
    feed(&["keys", "--json"], b"");
    feed(&["verify"], b"");
    all
}

#[test]
fn writing_says_the_same() {
    let (without, with) = (Scratch::without_validators(), Scratch::without_validators());
    let before = write_all(&without);
    let daemon = with.serve("a");
    let after = write_all(&with);
    for ((args, code, stdout, stderr), after) in before.into_iter().zip(after) {
        let told = format!("{args}: {stderr}, not {}", after.3);
        assert_eq!(code, after.1, "{told}");
        if args == "get k" {
            assert!(stdout == after.2, "{told}");
        }
        // What is on the disk depends on when it is looked at.
        if args.starts_with("gc") || args.starts_with("backup") {
            continue;
        }
        assert_eq!(plain(&stdout), plain(&after.2), "{told}");
        assert_eq!(plain(stderr.as_bytes()), plain(after.3.as_bytes()), "{told}");
    }
    assert!(daemon.log().matches("a command is done").count() > 30);
    drop(daemon);
    let (without_state, with_state) = (without.state("a"), with.state("a"));
    for part in ["events", "registers", "counters", "sets", "lists"] {
        let text = |state: &Value| plain(state[part].to_string().as_bytes());
        assert_eq!(text(&without_state), text(&with_state));
    }
    assert_eq!(
        std::fs::read(without.path("restored/file")).unwrap(),
        std::fs::read(with.path("restored/file")).unwrap()
    );
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let s = full();
    let _daemon = s.serve("a");
    let mut child =
        s.command(&["--store", "a", "get", "long"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(ran(child.wait_with_output().unwrap()).code, 0);
}

#[test]
fn whoever_ends_the_waiting_knows_what_is_written() {
    let s = Scratch::certified();
    let _daemon = s.serve("a");
    let args = ["--store", "a", "put", "a", "3", "--wait", "final"];
    let mut waiting = s.command(&args).spawn().unwrap();
    let mut event = String::new();
    BufReader::new(waiting.stdout.take().unwrap()).read_line(&mut event).unwrap();
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert!(s.a(&["show", event.trim()]).ok().contains("put a = 3"));
    // JSON has one object, which comes last.
    let args = [&args[..], &["--timeout", "100ms", "--json"]].concat();
    let late = s.run(&args);
    assert_eq!(late.code, 5);
    let event: Value = serde_json::from_str(&late.text()).unwrap();
    let written = format!("event {} is written\n", event["event"].as_str().unwrap());
    assert!(late.stderr.starts_with(&written), "{}", late.stderr);
}
