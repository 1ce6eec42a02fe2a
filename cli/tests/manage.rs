//! Stores, members, names, keys, and what all commands have in common.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use support::{Scratch, command_in, fields, ran, text};

#[test]
fn init_makes_what_is_asked_for() {
    let s = Scratch::new();
    let new = s
        .run(&["init", "a", "--name", "shop", "--policy", "open", "--forks", "exclude", "--json"])
        .json();
    assert_eq!(fields(&new), ["dir", "key", "ledger", "name"]);
    let genesis = s.a(&["show", text(&new, "ledger"), "--json"]).json();
    let own = json!([new["key"]]);
    let expected = json!([{"op": "genesis", "name": "shop", "policy": "open", "forks": "exclude", "admins": [], "validators": own}]);
    assert_eq!(genesis["ops"], expected);
    s.ok(&["init", "b", "--no-validators"]);
    assert_eq!(s.on("b", &["log", "--json"]).json()["ops"][0]["validators"], json!([]));
    s.ok(&["init", "c", "--validator", text(&new, "key"), "--admin", text(&new, "key")]);
    let genesis = s.on("c", &["log", "--json"]).json();
    assert_eq!((&genesis["ops"][0]["validators"], &genesis["ops"][0]["admins"]), (&own, &own));
    let mode = std::fs::metadata(s.path("a/identity.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn init_refuses() {
    let s = Scratch::with_store();
    s.refuses(1, &["init", "a"]);
    for (code, args) in [
        (2, &["init", "b", "--policy", "nobody"][..]),
        (2, &["init", "b", "--forks", "maybe"]),
        (2, &["init", "b", "--validator", "me"]),
        (2, &["init", "b", "--name", &"x".repeat(257)]),
        (2, &["init", "b", "--no-validators", "--validator", &"01".repeat(32)]),
        (2, &["init", "b", "--validator", &"f".repeat(64)]),
        (2, &["init", "b", "--validator", &"0".repeat(64)]),
        (2, &["init", "b", "--admin", &"02".repeat(32)]),
    ] {
        assert_eq!(s.run(args).code, code, "{args:?}");
        assert!(!s.path("b").exists(), "{args:?} leaves something");
    }
}

#[test]
fn the_store_is_found_upwards() {
    let s = Scratch::new();
    assert_eq!(s.run(&["keys"]).code, 10);
    assert_eq!(s.run(&["--store", "nowhere", "keys"]).code, 10);
    s.ok(&["init"]);
    assert!(s.path(".quipu").is_dir());
    s.ok(&["put", "k", "v"]);
    let inner = s.path("x/y");
    std::fs::create_dir_all(&inner).unwrap();
    assert_eq!(ran(command_in(&inner, &["get", "k"]).output().unwrap()).ok(), "v");
    assert_eq!(ran(command_in(&s.path(".quipu/db"), &["get", "k"]).output().unwrap()).ok(), "v");
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = command_in(elsewhere.path(), &["get", "k"]);
    assert_eq!(ran(command.env("QUIPU_STORE", s.path(".")).output().unwrap()).ok(), "v");
}

#[test]
fn a_store_in_use_is_locked() {
    let s = Scratch::with_store();
    let mut child = s.command(&["--store", "a", "put", "--batch", "-", "--group", "1", "--json"]);
    let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"{\"op\":\"inc\",\"key\":\"c\",\"by\":1}\n").unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    for args in [&["get", "c"][..], &["put", "k", "v"], &["verify"]] {
        assert_eq!(s.a(args).code, 11, "{args:?}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(s.a(&["get", "c"]).ok(), "1\n");
}

#[test]
fn members_come_and_go() {
    let s = Scratch::with_store();
    s.ok(&["clone", "a", "b"]);
    let key = text(&s.on("b", &["identity", "show", "--json"]).json(), "key").to_owned();
    s.a(&["author", "name", &key, "bob"]).ok();
    let event = s.a(&["member", "grant", "bob", "writer", "--json"]).json();
    assert_eq!(event["ops"], json!([{"op": "grant", "author": key, "role": "writer"}]));
    let members = s.a(&["member", "list", "--json"]).lines();
    assert!(
        members.contains(&json!({"author": key, "name": "bob", "roles": ["writer"]})),
        "{members:?}"
    );
    s.event(&["member", "revoke", &key[..12]]);
    assert!(s.a(&["member", "list"]).ok().contains("bob revoked"));
    s.on("b", &["merge", "a"]).ok();
    assert_eq!(s.on("b", &["member", "grant", "bob", "writer"]).code, 3);
    assert_eq!(s.on("b", &["put", "k", "v"]).code, 20);
    s.refused(3, &["member", "grant", "nobody", "writer"]);
    s.refused(2, &["member", "grant", "bob", "king"]);
    s.refused(2, &["member", "grant", "bob"]);
    s.refused(3, &["member", "revoke", "nobody"]);
    s.refused(2, &["member", "revoke"]);
    s.refused(2, &["member"]);
}

/// A validator that cannot sign would count, and be missing for ever.
#[test]
fn roles_are_for_keys_that_can_sign() {
    let s = Scratch::with_store();
    // Of order 4, no point, and another encoding of a point.
    for key in ["0".repeat(64), "02".repeat(32), "f".repeat(64)] {
        for role in ["writer", "admin", "validator"] {
            let ran = s.refused(2, &["member", "grant", &key, role]);
            assert!(ran.stderr.contains(&key), "{}", ran.stderr);
        }
    }
    let granted = s.a(&["member", "grant", &"01".repeat(32), "validator"]);
    assert!(granted.stderr.contains("2 validators") && granted.stderr.contains(": 2 of them"));
    granted.ok();
    assert_eq!(s.a(&["member", "grant", &"03".repeat(32), "writer"]).stderr, "");
    let granted = s.a(&["member", "grant", &"03".repeat(32), "validator", "--json"]);
    assert!(granted.stderr.contains("3 validators") && granted.stderr.contains(": 3 of them"));
    assert_eq!(granted.json()["ops"][0]["role"], "validator");
}

#[test]
fn authors_have_names() {
    let s = Scratch::with_store();
    let own = text(&s.a(&["identity", "show", "--json"]).json(), "key").to_owned();
    assert_eq!(
        s.a(&["author", "name", &own[..8], "alice", "--json"]).json(),
        json!({"author": own, "name": "alice"})
    );
    assert_eq!(s.a(&["author", "list", "--json"]).json(), json!({"author": own, "name": "alice"}));
    assert_eq!(s.a(&["clock"]).ok(), "alice:1\n");
    assert_eq!(s.a(&["log", "--at", "alice:1"]).ok().lines().count(), 1);
    s.refused(2, &["author", "name", "alice", "checkpoint"]);
    s.refused(2, &["author", "name", "alice", "a:b"]);
    s.refused(2, &["author", "name", "alice", ""]);
    s.refused(2, &["author", "name", &"0".repeat(64), "alice"]);
    s.refused(3, &["author", "name", "nobody", "bob"]);
    s.a(&["author", "name", "alice", "--remove"]).ok();
    assert_eq!(s.a(&["author", "list"]).ok(), "");
}

#[test]
fn keys_rotate() {
    let s = Scratch::with_store();
    let kept = s.refused(5, &["identity", "rotate"]);
    assert!(kept.stderr.contains("0 of the 1 validators"), "{}", kept.stderr);
    let rotation = s.a(&["identity", "rotate", "--force", "--json"]).json();
    assert_eq!(fields(&rotation), ["event", "granted", "new", "old"]);
    assert_eq!(rotation["granted"], json!(["admin", "validator"]));
    let shown = s.a(&["identity", "show", "--json"]).json();
    assert_eq!(fields(&shown), ["copied", "key", "ledger", "name", "roles"]);
    assert_eq!(shown["key"], rotation["new"]);
    s.event(&["put", "k", "v"]);
    s.event(&["member", "revoke", text(&rotation, "old")]);
    s.refused(2, &["identity"]);
    s.refused(2, &["identity", "show", "more"]);
    s.refused(1, &["identity", "passphrase", "--new-passphrase-file", "nowhere"]);
    s.a(&["identity", "keep"]).ok();
    s.a(&["upgrade"]).ok();
    s.refused(2, &["upgrade", "more"]);
}

#[test]
fn a_passphrase_locks_the_key() {
    let s = Scratch::with_store();
    s.write("pass", b"correct horse\n");
    s.write("wrong", b"incorrect horse\n");
    s.write("none", b"\n");
    s.refused(1, &["identity", "passphrase", "--new-passphrase-file", "none"]);
    s.a(&["identity", "passphrase", "--new-passphrase-file", "pass"]).ok();
    let locked = s.refused(1, &["put", "k", "v"]);
    assert!(locked.stderr.contains("QUIPU_PASSPHRASE"), "{}", locked.stderr);
    s.refused(1, &["--passphrase-file", "wrong", "put", "k", "v"]);
    s.a(&["--passphrase-file", "pass", "put", "k", "v"]).ok();
    let mut command = s.command(&["--store", "a", "get", "k"]);
    assert_eq!(ran(command.env("QUIPU_PASSPHRASE", "correct horse").output().unwrap()).ok(), "v");
    let rotated = s.a(&["--passphrase-file", "pass", "identity", "rotate", "--force"]);
    assert_eq!(rotated.code, 0, "{}", rotated.stderr);
    s.refused(1, &["del", "k"]);
    s.refused(1, &["identity", "rotate", "--force"]);
    s.refused(1, &["identity", "passphrase", "--remove"]);
    s.a(&["--passphrase-file", "pass", "identity", "passphrase", "--remove"]).ok();
    assert_eq!(s.a(&["get", "k"]).ok(), "v");
    s.ok(&["--passphrase-file", "pass", "init", "b"]);
    assert_eq!(s.on("b", &["inc", "n"]).code, 1);
}

#[test]
fn only_writing_needs_the_key() {
    let s = Scratch::with_store();
    s.write("pass", b"correct horse\n");
    s.ok(&["clone", "a", "b", "--grant", "writer", "--passphrase-file", "pass"]);
    s.a(&["identity", "passphrase", "--new-passphrase-file", "pass"]).ok();
    let event = s.event(&["--passphrase-file", "pass", "put", "k", "v"]);
    s.write("in", b"{\"op\":\"inc\",\"key\":\"n\",\"by\":1}\n");
    s.ok(&["--store", "a", "export", "a.car"]);
    for args in [
        &["merge", "a"][..],
        &["import", "a.car"],
        &["get", "k"],
        &["keys"],
        &["log", "--graph"],
        &["show", &event],
        &["clock"],
        &["conflicts"],
        &["diff", &event],
        &["blame", "k"],
        &["dump"],
        &["status"],
        &["verify"],
        &["member", "list"],
        &["author", "list"],
        &["identity", "show"],
        &["identity", "keep"],
        &["export", "b.car"],
        &["upgrade"],
        // Not even a file that is not there matters.
        &["--passphrase-file", "nowhere", "get", "k"],
    ] {
        let ran = s.on("b", args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    }
    s.ok(&["clone", "a", "c"]);
    for args in [
        &["put", "k", "v"][..],
        &["put", "--batch", "in"],
        &["del", "k"],
        &["inc", "n"],
        &["add", "s", "m"],
        &["rem", "s", "m"],
        &["append", "l", "v"],
        &["resolve", "k", "v"],
        &["redact", &event],
        &["member", "grant", &"0".repeat(64), "writer"],
        &["member", "revoke", &"0".repeat(64)],
        &["identity", "rotate", "--force"],
        &["identity", "passphrase", "--remove"],
    ] {
        let ran = s.refused(1, args);
        assert!(ran.stderr.contains("a passphrase is needed"), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(s.run(&["clone", "a", "d", "--grant", "writer"]).code, 1);
    assert!(!s.path("d").exists());
}

#[test]
fn a_store_without_its_key_can_be_read() {
    let s = Scratch::with_store();
    s.event(&["put", "k", "v"]);
    s.ok(&["init", "other"]);
    let own = std::fs::read(s.path("a/identity.pem")).unwrap();
    let foreign = std::fs::read(s.path("other/identity.pem")).unwrap();
    let other = text(&s.on("other", &["identity", "show", "--json"]).json(), "key").to_owned();
    for (pem, says) in [
        (&foreign[..], other.as_str()),
        (b"rotten", "not an Ed25519 private key"),
        (&[], "No such"),
    ] {
        if pem.is_empty() {
            std::fs::remove_file(s.path("a/identity.pem")).unwrap();
        } else {
            s.write("a/identity.pem", pem);
        }
        assert_eq!(s.a(&["get", "k"]).ok(), "v");
        s.a(&["verify"]).ok();
        let refused = s.refused(1, &["put", "k", "w"]);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
        assert!(refused.stderr.contains("quipu clone"), "{}", refused.stderr);
    }
    s.ok(&["clone", "a", "b"]);
    assert_eq!(s.on("b", &["get", "k"]).ok(), "v");
    s.write("a/identity.pem", &own);
    let exposed = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(s.path("a/identity.pem"), exposed).unwrap();
    assert_eq!(s.a(&["get", "k"]).ok(), "v");
    assert!(s.refused(1, &["put", "k", "w"]).stderr.contains("may be read by others"));
}

#[test]
fn a_copied_store_warns_before_it_writes() {
    let s = Scratch::with_store();
    let copied = std::process::Command::new("cp")
        .args(["-r", "a", "b"])
        .current_dir(s.path("."))
        .status()
        .unwrap();
    assert!(copied.success());
    assert!(s.on("b", &["put", "k", "v"]).stderr.contains("looks like a copy"));
    assert_eq!(s.on("b", &["status", "--json"]).json()["copied"], true);
    s.on("b", &["identity", "keep"]).ok();
    assert_eq!(s.on("b", &["put", "k", "w"]).stderr, "");
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let s = Scratch::with_store();
    let lines: String = (0..2000)
        .map(|i| format!("{{\"op\":\"put\",\"key\":\"{i}\",\"value\":\"v\"}}\n"))
        .collect();
    s.write("in", lines.as_bytes());
    s.a(&["put", "--batch", "in", "--group", "1"]).ok();
    for args in [
        &["--store", "a", "log", "--json"][..],
        &["--store", "a", "keys"],
        &["--store", "a", "dump"],
    ] {
        let mut child = s.command(args).spawn().unwrap();
        let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        drop(stdout);
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn help_has_examples_and_pages_for_every_command() {
    let s = Scratch::new();
    let help = s.ok(&["--help"]);
    let commands: Vec<_> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .collect();
    assert!(commands.len() >= 32, "{commands:?}");
    let pages = s.path("man");
    s.ok(&["man", "man"]);
    for command in commands {
        assert!(s.ok(&[command, "--help"]).contains("Examples:"), "{command}");
        assert!(pages.join(format!("quipu-{command}.1")).exists(), "{command}");
    }
    assert!(s.ok(&["man"]).contains(".TH"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(s.ok(&["completions", shell]).contains("quipu"));
    }
    assert_eq!(s.run(&["completions", "tcl"]).code, 2);
    assert_eq!(s.run(&["completions"]).code, 2);
    assert_eq!(s.run(&["man", "a", "b"]).code, 2);
    assert_eq!(s.run(&["nonsense"]).code, 2);
    assert_eq!(s.run(&[]).code, 2);
}

#[test]
fn colours_are_for_terminals_only() {
    let s = Scratch::with_store();
    assert!(!s.a(&["log"]).ok().contains('\u{1b}'));
    let colour = |name: &str, value: &str| {
        let mut command = s.command(&["--store", "a", "log"]);
        ran(command.env(name, value).output().unwrap()).ok().contains('\u{1b}')
    };
    assert!(colour("CLICOLOR_FORCE", "1"));
    assert!(!colour("NO_COLOR", "1"));
}

/// The end of the database's log is cut off: each command says so, and the own chain does not go on
/// in the place of what is gone.
#[test]
fn acknowledged_writes_that_are_gone_are_reported() {
    let s = Scratch::with_store();
    let event = s.event(&["put", "k", "v"]);
    let logs = std::fs::read_dir(s.path("a/db")).unwrap().map(|entry| entry.unwrap().path());
    for log in logs.filter(|path| path.extension().is_some_and(|end| end == "log")) {
        std::fs::write(log, b"").unwrap();
    }
    let status = s.a(&["status"]);
    assert_eq!(status.code, 0);
    assert!(status.stderr.contains(&event) && status.stderr.contains("quipu merge"));
    assert_eq!(s.a(&["verify"]).code, 21);
    let put = s.refused(1, &["put", "k", "other"]);
    assert!(put.stderr.contains("use its numbers twice"), "{}", put.stderr);
    s.a(&["identity", "keep"]).ok();
    s.a(&["verify"]).ok();
    assert!(s.a(&["put", "k", "other"]).stderr.is_empty());
}
