//! Replicas that have only some of the long values, and daemons that fetch others when they are read.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::json;
use support::Scratch;
use support::daemon::{Daemon, free_place};

/// Bytes that do not repeat.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Serves `a` to others, and tells where.
fn serve(s: &Scratch) -> (Daemon, String) {
    let address = free_place();
    let args = ["--store", "a", "serve", "--listen", &address];
    let daemon = s.serve_with(&args, s.path("a.log"));
    let key = s.a(&["identity", "show", "--json"]).json()["key"].as_str().unwrap().to_owned();
    (daemon, format!("quic://{key}@{address}"))
}

/// Serves `b`, which joins a node.
fn serve_b(s: &Scratch, peer: &str) -> Daemon {
    s.serve_with(&["--store", "b", "serve", "--join", peer], s.path("b.log"))
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(30), "{what} takes too long");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn get(socket: &std::path::Path, path: &str, range: &str) -> (String, Vec<u8>) {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{range}\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(reply[..end].to_vec()).unwrap(), reply[end + 4..].to_vec())
}

#[test]
fn what_was_left_out_comes_when_it_is_read() {
    let s = Scratch::new();
    s.ok(&["init", "a", "--policy", "open"]);
    s.ok(&["clone", "a", "b"]);
    s.write("b/config.toml", b"only = [\"photos/\"]\n");
    let files = ["photos/one", "films/one", "films/two", "films/three", "films/four"];
    let content: Vec<_> = (1..).zip(files).map(|(seed, _)| noise(3 << 20, seed)).collect();
    for (key, content) in files.iter().zip(&content) {
        s.write("file", content);
        s.a(&["put", key, "--file", "file"]).ok();
    }
    s.a(&["put", "short", "text"]).ok();
    let (a, peer) = serve(&s);
    let mut b = serve_b(&s, &peer);
    until("the last event", || s.on("b", &["get", "short"]).stdout == b"text");
    assert!(s.on("b", &["get", "photos/one"]).stdout == content[0]);
    assert!(b.stop().success());
    assert_eq!(s.on("b", &["status", "--json"]).json()["missing_values"], 4);
    let ran = s.on("b", &["get", "films/one"]);
    assert_eq!((ran.code, ran.stdout.len()), (4, 0));
    assert!(
        ran.stderr.contains("not here") && ran.stderr.contains("quipu serve"),
        "{}",
        ran.stderr
    );
    s.on("b", &["verify"]).ok();
    s.on("b", &["gc"]).ok();

    let b = serve_b(&s, &peer);
    assert!(
        s.on("b", &["get", "films/one", "--range", "1000000..1000010"]).stdout
            == content[1][1_000_000..1_000_010]
    );
    let status = s.on("b", &["status", "--json"]).json();
    assert_eq!(status["missing_values"], 4);
    let ran = s.on("b", &["get", "films/one"]);
    assert!(ran.stdout == content[1], "{}", ran.stderr);
    let socket = s.path("b/api.socket");
    let path = "/v1/registers/films%2Ftwo/value";
    let (head, body) = get(&socket, path, "range: bytes=2000000-2000003\r\n");
    assert!(head.starts_with("HTTP/1.1 206") && body == content[2][2_000_000..2_000_004], "{head}");
    let (head, body) = get(&socket, path, "");
    assert!(head.starts_with("HTTP/1.1 200") && body == content[2], "{head}");
    s.on("b", &["get", "--dir", "films/", "out"]).ok();
    for (name, content) in ["one", "two", "three", "four"].iter().zip(&content[1..]) {
        assert!(std::fs::read(s.path("out").join(name)).unwrap() == *content, "{name}");
    }
    assert_eq!(s.on("b", &["status", "--json"]).json()["missing_values"], 0);
    what_nobody_has_is_not_waited_for(&s, a, b);
}

/// Of what was left out and whose only holder `a` has gone.
fn what_nobody_has_is_not_waited_for(s: &Scratch, a: Daemon, mut b: Daemon) {
    let socket = s.path("b/api.socket");
    s.write("file", &noise(1 << 20, 9));
    s.a(&["put", "films/late", "--file", "file"]).ok();
    until("an event", || !s.on("b", &["keys", "films/late"]).ok().is_empty());
    drop(a);
    until("the count", || {
        let status = s.on("b", &["status", "--json"]).json();
        (&status["missing_values"], &status["left_out_values"]) == (&json!(1), &json!(1))
    });
    assert!(s.on("b", &["status"]).ok().contains("1 value, 1 of them left out (--only)"));
    let since = Instant::now();
    let ran = s.on("b", &["get", "films/late"]);
    assert_eq!((ran.code, ran.stdout.len()), (4, 0));
    assert!(ran.stderr.contains("no peer"), "{}", ran.stderr);
    let (head, _) = get(&socket, "/v1/registers/films%2Flate/value", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    // Whoever does not wait any longer keeps nobody from ending the daemon.
    let mut waits = s.command(&["--store", "b", "get", "films/late"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    waits.kill().unwrap();
    waits.wait().unwrap();
    let since = Instant::now();
    assert!(b.stop().success());
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
}

#[test]
fn blocks_and_conflicting_values_that_were_left_out_come_when_they_are_read() {
    let s = Scratch::new();
    s.ok(&["init", "a", "--policy", "open"]);
    s.ok(&["clone", "a", "b"]);
    s.write("b/config.toml", b"only = [\"photos/\"]\n");
    let [short, long] = [(5_000, 1), (3 << 20, 2)].map(|(len, seed)| noise(len, seed));
    for (key, content) in [("films/short", &short), ("films/long", &long)] {
        s.write("file", content);
        s.a(&["put", key, "--file", "file"]).ok();
    }
    let taken = s.event(&["put", "films/both", "--file", "file"]);
    s.on("b", &["put", "films/both", "another"]).ok();
    let (_a, peer) = serve(&s);
    let _b = serve_b(&s, &peer);
    until("a conflict", || !s.on("b", &["conflicts"]).ok().is_empty());

    // What is shown of a long value is known without its blocks.
    let shown = s.on("b", &["show", &taken, "--json"]).json();
    assert_eq!(shown["ops"][0]["size"], 3 << 20);
    assert_eq!(s.on("b", &["status", "--json"]).json()["missing_values"], 3);

    let link =
        |key| s.on("b", &["log", "--key", key, "--json"]).json()["ops"][0]["value"]["/"].clone();
    let block = |store: &str, key, range| {
        let path = format!("/v1/blocks/{}", link(key).as_str().unwrap());
        get(&s.path(store).join("api.socket"), &path, range)
    };
    let (head, body) = block("b", "films/short", "range: bytes=4000-4003\r\n");
    assert!(head.starts_with("HTTP/1.1 206") && body == short[4000..4004], "{head}");
    let (head, body) = block("b", "films/short", "");
    assert!(head.starts_with("HTTP/1.1 200") && body == short, "{head}");
    // Of a value of many blocks, the one that lists them, and nothing else.
    let (head, body) = block("b", "films/long", "");
    assert!(head.starts_with("HTTP/1.1 200") && body.len() < 64 << 10, "{head}");
    assert_eq!(body, block("a", "films/long", "").1);
    assert_eq!(s.on("b", &["status", "--json"]).json()["missing_values"], 2);

    s.on("b", &["resolve", "films/both", "--take", &taken]).ok();
    assert!(s.on("b", &["get", "films/both"]).stdout == long);
    assert_eq!(s.on("b", &["conflicts"]).ok(), "");
}

#[test]
fn a_clone_has_of_a_node_only_what_is_wanted() {
    let s = Scratch::new();
    s.ok(&["init", "a", "--policy", "open"]);
    let content = [1, 2].map(|seed| noise(1 << 20, seed));
    for (key, content) in ["photos/one", "films/one"].iter().zip(&content) {
        s.write("file", content);
        s.a(&["put", key, "--file", "file"]).ok();
    }
    s.a(&["put", "films/name", "one"]).ok();
    let (_a, peer) = serve(&s);
    s.ok(&["clone", &peer, "b", "--only", "photos/"]);
    assert!(s.on("b", &["get", "photos/one"]).stdout == content[0]);
    assert_eq!(s.on("b", &["get", "films/name"]).stdout, b"one");
    let ran = s.on("b", &["get", "films/one"]);
    assert_eq!((ran.code, ran.stdout.len()), (4, 0), "{}", ran.stderr);
    let state = |store| s.on(store, &["status", "--json"]).json();
    assert_eq!(state("b")["missing_values"], 1);
    assert_eq!(state("b")["heads"], state("a")["heads"]);
    // It is remembered, and so is the node: what is read comes from there.
    let _b = s.serve_with(&["--store", "b", "serve"], s.path("b.log"));
    until("the count", || state("b")["left_out_values"] == json!(1));
    let mut ran = s.on("b", &["get", "films/one"]);
    until("a peer", || {
        if ran.code != 0 {
            ran = s.on("b", &["get", "films/one"]);
        }
        ran.code == 0
    });
    assert!(ran.stdout == content[1]);
}

#[test]
fn a_daemon_goes_on_with_the_key_that_is_made_in_it() {
    let s = Scratch::with_store();
    s.ok(&["clone", "a", "b", "--grant", "writer"]);
    let (_a, peer) = serve(&s);
    let _b = serve_b(&s, &peer);
    let is_connected = |key: &str| {
        let peers = s.on("b", &["peers", "--json"]).ok();
        peers.lines().any(|line| line.contains(key) && line.contains("\"connected\""))
    };
    let old = s.a(&["identity", "show", "--json"]).json()["key"].as_str().unwrap().to_owned();
    until("connecting", || is_connected(&old));
    let rotated = s.a(&["identity", "rotate", "--force", "--json"]).json();
    let new = rotated["new"].as_str().unwrap();
    until("connecting with the new key", || is_connected(new));
    assert!(!is_connected(&old));
    s.a(&["put", "k", "v"]).ok();
    until("a write", || s.on("b", &["get", "k"]).stdout == b"v");
}
