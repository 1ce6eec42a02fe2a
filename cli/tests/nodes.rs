//! Nodes from the command line: replicas of replicas that only nodes have, peers, tokens, watching.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Scratch;
use support::daemon::{Daemon, free_place};

fn key(s: &Scratch, store: &str) -> String {
    s.on(store, &["identity", "show", "--json"]).json()["key"].as_str().unwrap().to_owned()
}

/// Serves a store where others can dial it. Tells its address.
fn listen(s: &Scratch, store: &str, more: &[&str]) -> (Daemon, String) {
    let place = free_place();
    let address = format!("quic://{}@{place}", key(s, store));
    let args = [&["--store", store, "serve", "--listen", &place][..], more].concat();
    (s.serve_with(&args, s.path(&format!("{store}.log"))), address)
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn refused(ran: &support::Ran, code: i32, words: &str) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
}

#[test]
fn a_replica_is_made_from_a_node_that_knows_its_key() {
    let s = Scratch::with_store();
    s.a(&["put", "k", "v"]).ok();
    let (_daemon, address) = listen(&s, "a", &[]);
    let turned_away = s.run(&["clone", &address, "b"]);
    refused(&turned_away, 1, "does not admit this replica's key");
    assert!(turned_away.stderr.contains("quipu member grant"), "{}", turned_away.stderr);
    let told = s.run(&["clone", &address, "b", "--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["error"], "not_admitted");
    let new = told["key"].as_str().unwrap();
    assert!(turned_away.stderr.contains(new), "{}", turned_away.stderr);
    assert_eq!(s.on("b", &["status"]).code, 10, "it is no store yet");
    s.a(&["member", "grant", new, "writer"]).ok();
    until("the node lets the new key in", || s.run(&["clone", &address, "b"]).code == 0);
    assert_eq!(key(&s, "b"), new);
    assert_eq!(s.on("b", &["get", "k"]).text(), "v");
    // It remembers where it came from.
    let peers = s.on("b", &["peers", "--json"]).lines();
    assert_eq!(
        (peers.len(), &peers[0]["kept"], &peers[0]["state"]),
        (1, &json!(true), &json!("unserved"))
    );
    // Later writes come by merging, whether a daemon serves the store or not.
    s.a(&["put", "k", "w"]).ok();
    let merged = s.on("b", &["merge", &address, "--json"]).json();
    assert_eq!((&merged["new_events"], &merged["dry_run"]), (&json!(1), &json!(false)));
    s.a(&["put", "k", "x"]).ok();
    let _served = s.serve("b");
    until("b has it all", || s.on("b", &["get", "k"]).text() == "x");
    assert_eq!(s.on("b", &["merge", &address, "--json"]).json()["new_events"], 0);
}

#[test]
fn checkpoints_come_with_a_clone_and_with_a_merge() {
    let s = Scratch::certified();
    let last = |store| s.on(store, &["checkpoint", "list", "--json"]).lines().remove(0);
    s.a(&["put", "k", "v"]).ok();
    s.certify("a");
    s.ok(&["clone", "a", "writer", "--grant", "writer"]);
    s.certify("a");
    {
        let (_daemon, address) = listen(&s, "a", &[]);
        let merged = s.on("writer", &["merge", &address, "--json"]).json();
        assert_eq!(merged["new_checkpoints"], 1);
        assert_eq!(last("writer"), last("a"));
        let told = s.run(&["clone", &address, "b", "--json"]);
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        s.a(&["member", "grant", told["key"].as_str().unwrap(), "writer"]).ok();
        until("the node lets the new key in", || {
            let cloned = s.run(&["clone", &address, "b"]);
            cloned.code == 0 && cloned.stderr.contains(" events and 2 checkpoints")
        });
        assert_eq!(last("b"), last("a"));
    }
    s.certify("a");
    let (_daemon, address) = listen(&s, "a", &[]);
    let merged = s.on("b", &["merge", &address, "--json"]).json();
    assert_eq!((&merged["new_events"], &merged["new_checkpoints"]), (&json!(0), &json!(1)));
    assert_eq!(last("b")["height"], 3);
}

#[test]
fn wrong_nodes_are_told_apart() {
    let s = Scratch::with_store();
    s.ok(&["init", "other"]);
    let (_daemon, address) = listen(&s, "a", &[]);
    let nobody = address.rsplit_once(':').unwrap().0.to_owned() + ":1";
    refused(&s.run(&["clone", &nobody, "b"]), 1, "no answer in time");
    assert!(!s.path("b").exists());
    let stranger = format!("quic://{}@{}", key(&s, "other"), address.split_once('@').unwrap().1);
    refused(&s.run(&["clone", &stranger, "c"]), 1, "another node answers");
    assert!(!s.path("c").exists());
    for wrong in ["quic://x@127.0.0.1:1", "quic://127.0.0.1:1", "quic://"] {
        refused(&s.run(&["clone", wrong, "d"]), 2, ": not quic://KEY@HOST:PORT: ");
    }
    refused(&s.run(&["clone", &address, "d", "--grant", "writer"]), 2, "--grant");
    refused(&s.a(&["merge", &address, "--dry-run"]), 2, "--dry-run");
    // Another ledger's replica is a stranger until it is listed, and has nothing to merge then.
    refused(&s.on("other", &["merge", &address]), 1, "does not admit");
    s.a(&["peer", "add", &key(&s, "other")]).ok();
    refused(&s.on("other", &["merge", &address, "--json"]), 20, "another ledger");
}

/// A key stays where somebody may have been told of it, and nothing else.
#[test]
fn a_clone_that_fails_leaves_nothing_that_nobody_needs() {
    let s = Scratch::with_store();
    s.ok(&["init", "open", "--policy", "open", "--no-validators"]);
    let (_open, address) = listen(&s, "open", &[]);
    refused(&s.run(&["clone", "--from-checkpoint", &address, "b"]), 1, "no checkpoint");
    assert!(!s.path("b").exists());
    std::fs::create_dir(s.path("mine")).unwrap();
    refused(&s.run(&["clone", "--from-checkpoint", &address, "mine"]), 1, "no checkpoint");
    assert_eq!(std::fs::read_dir(s.path("mine")).unwrap().count(), 0);
    let (_daemon, members) = listen(&s, "a", &[]);
    refused(&s.run(&["clone", &members, "b"]), 1, "is kept in b for another attempt");
    let file = std::fs::read(s.path("b/identity.pem")).unwrap();
    // Whatever the next attempt comes to: an admin may give that key its role meanwhile.
    let stranger = members.replace(&key(&s, "a"), &key(&s, "open"));
    refused(&s.run(&["clone", &stranger, "b"]), 1, "is kept in b for another attempt");
    assert_eq!(std::fs::read(s.path("b/identity.pem")).unwrap(), file);
    // Nor does a start from a store leave anything.
    refused(&s.run(&["clone", "--from-checkpoint", "open", "c"]), 5, "");
    assert!(!s.path("c").exists());
}

#[test]
fn peers_are_added_listed_and_removed() {
    let s = Scratch::with_store();
    s.ok(&["clone", "a", "b", "--grant", "writer"]);
    let (_a, address) = listen(&s, "a", &[]);
    s.on("b", &["peer", "add", &address]).ok();
    let _b = s.serve("b");
    let state = || s.on("b", &["peers", "--json"]).lines()[0]["state"].clone();
    until("b is connected", || state() == json!("connected"));
    let peer = &s.on("b", &["peers", "--json"]).lines()[0];
    assert_eq!((&peer["kept"], &peer["inbound"]), (&json!(true), &json!(false)));
    assert!(peer["round_trip_seconds"].as_f64().unwrap() < 1.0);
    let line = s.on("b", &["peers"]).text();
    assert!(line.contains("connected 127.0.0.1:") && line.contains("round trip"), "{line}");
    s.on("b", &["peer", "rm", &key(&s, "a")]).ok();
    refused(&s.on("b", &["peer", "rm", &key(&s, "a")]), 3, "no peer");
    for wrong in ["x", "quic://x"] {
        refused(&s.on("b", &["peer", "add", wrong]), 2, "neither a key");
    }
    refused(&s.on("b", &["peer", "add", &key(&s, "b")]), 2, "own key");
}

#[test]
fn a_member_that_is_revoked_is_sent_away() {
    let s = Scratch::with_store();
    s.ok(&["clone", "a", "b", "--grant", "writer"]);
    let (_a, address) = listen(&s, "a", &[]);
    s.on("b", &["peer", "add", &address]).ok();
    let _b = s.serve("b");
    let connected = || {
        let peers = s.a(&["peers", "--json"]).lines();
        peers.iter().any(|peer| peer["state"] == "connected")
    };
    until("b is connected", connected);
    s.a(&["member", "revoke", &key(&s, "b")]).ok();
    until("b is sent away", || !connected());
    s.a(&["put", "secret", "from now on"]).ok();
    std::thread::sleep(Duration::from_secs(2));
    assert!(!connected());
    assert_eq!(s.on("b", &["get", "secret"]).code, 3);
}

#[test]
fn what_comes_in_is_watched_and_nothing_is_left_out() {
    let s = Scratch::with_store();
    refused(&s.a(&["watch"]), 2, "--once");
    let all = s.a(&["watch", "--from-start", "--once", "--json"]).lines();
    let genesis = all[0]["cursor"].as_str().unwrap().to_owned();
    let mut daemon = s.serve("a");
    let mut watching =
        s.command(&["--store", "a", "watch", "--key", "a/", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    // It begins when it begins: what is seen first tells.
    let mut number = 0;
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| lines.next().unwrap().unwrap());
        while !first.is_finished() {
            s.a(&["put", "b/other", "x"]).ok();
            s.a(&["put", &format!("a/{number}"), "x"]).ok();
            number += 1;
        }
        first.join().unwrap()
    });
    let first: Value = serde_json::from_str(&first).unwrap();
    assert!(first["ops"][0]["key"].as_str().unwrap().starts_with("a/"));
    s.a(&["put", "a/last", "x"]).ok();
    let last = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let last = last.into_iter().find(|event| event["ops"][0]["key"] == "a/last").unwrap();
    watching.kill().unwrap();
    watching.wait().unwrap();
    daemon.stop();
    // A cursor is good across restarts.
    s.a(&["put", "a/offline", "x"]).ok();
    let cursor = last["cursor"].as_str().unwrap();
    let missed = s.a(&["watch", "--after", cursor, "--once", "--json"]).lines();
    let keys: Vec<_> =
        missed.iter().map(|event| event["ops"][0]["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a/offline"]);
    let since = s.a(&["watch", "--after", &genesis, "--once"]).text();
    assert_eq!(since.lines().count(), 2 * number + 2);
    for wrong in ["", "x", &genesis[..20]] {
        refused(&s.a(&["watch", "--after", wrong, "--once"]), 2, "cursor");
    }
}

#[test]
fn the_api_answers_on_its_socket_and_tokens_are_managed() {
    let s = Scratch::with_store();
    s.a(&["put", "k", "v"]).ok();
    let new = s.a(&["token", "add", "ci", "--role", "read", "--days", "1", "--json"]).json();
    assert!(new["token"].as_str().unwrap().starts_with("quipu_"));
    let _daemon = s.serve("a");
    let listed = s.a(&["token", "list", "--json"]).lines();
    assert_eq!((listed.len(), &listed[0]["id"], listed[0].get("token")), (1, &new["id"], None));
    let mut stream = UnixStream::connect(s.path("a/api.socket")).unwrap();
    stream
        .write_all(b"GET /v1/registers/k/value HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nv"), "{answer}");
    s.a(&["token", "revoke", new["id"].as_str().unwrap()]).ok();
    refused(&s.a(&["token", "revoke", "x"]), 3, "no token");
    assert_eq!(s.a(&["token", "list"]).text(), "");
}

#[test]
fn a_daemon_that_is_told_nonsense_does_not_start() {
    let s = Scratch::with_store();
    let serve = |args: &[&str]| s.run(&[&["--store", "a", "serve"][..], args].concat());
    refused(&serve(&["--listen", "nowhere"]), 2, "not an address and a port");
    refused(&serve(&["--announce", "zz"]), 2, "not HOST:PORT: the port is missing");
    refused(&serve(&["--log", "loud"]), 2, "not one of off, error");
    refused(&serve(&["--listen", "192.0.2.1:7420"]), 1, "cannot listen on 192.0.2.1:7420");
    refused(&serve(&["--join", "x"]), 2, ": not quic://KEY@HOST:PORT: ");
    refused(&serve(&["--api", "127.0.0.1:0"]), 2, "--api-cert");
    let missing = ["--api", "127.0.0.1:0", "--api-cert", "no.pem", "--api-key", "no.pem"];
    refused(&serve(&missing), 1, "no.pem");
    refused(&serve(&["--config", "no.toml"]), 1, "no.toml");
    s.write("bad.toml", b"listn = 1");
    refused(&serve(&["--config", "bad.toml"]), 1, "listn");
    // None of them left anything that is in the way.
    let _daemon = s.serve("a");
}
