//! A daemon whose store has started from a checkpoint: when its whole history has come, that takes its place
//! while the daemon runs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quipu_store::{Below, Ledger, Options, StartOptions};
use serde_json::Value;
use support::Scratch;
use support::daemon::free_place;

/// Longer than any command waits, on a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store `b` that starts from what `a` has certified up to a height, and that has been told what its key may
/// do: what it writes counts before it meets anybody.
fn start_from_a(s: &Scratch, height: u64) {
    let mut file = Vec::new();
    Ledger::open(s.path("a")).unwrap().write_start(&mut file).unwrap();
    let start = StartOptions { below: Below::Hashes, ledger: None };
    let made = Options::new().start_from(s.path("b"), &mut &file[..], &start, &mut |_, _| {});
    let key = made.unwrap().0.author().to_string();
    s.a(&["member", "grant", &key, "writer"]).ok();
    s.a(&["export", "grant.car", "--since", &format!("checkpoint:{height}")]).ok();
    s.on("b", &["import", "grant.car"]).ok();
}

/// An address of 127.0.0.1 that is free now, and the certificate and the key of a server there.
fn tls(s: &Scratch) -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(s.path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(s.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Connects again and again until it is told to stop, and tells the first failure.
fn connects_to(place: SocketAddr, stop: Arc<AtomicBool>) -> JoinHandle<Option<std::io::Error>> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = TcpStream::connect(place) {
                return Some(error);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    })
}

#[test]
fn the_whole_history_takes_its_place_while_commands_come() {
    let s = Scratch::certified();
    for round in 0..3 {
        for at in 0..20 {
            s.a(&["put", &format!("k/{at}"), &round.to_string()]).ok();
        }
        s.certify("a");
    }
    start_from_a(&s, 3);
    let shallow = || s.on("b", &["status", "--json"]).json()["shallow"].clone();
    assert_eq!(shallow(), 3);
    let place = free_place();
    let key = s.a(&["identity", "show", "--json"]).json()["key"].as_str().unwrap().to_owned();
    let _a = s.serve_with(&["--store", "a", "serve", "--listen", &place], s.path("a.log"));

    let api = tls(&s);
    let args = ["--api", &api.to_string(), "--api-cert", "cert.pem", "--api-key", "key.pem"];
    let b = s.serve_with(&[&["--store", "b", "serve"][..], &args].concat(), s.path("b.log"));
    let stop = Arc::new(AtomicBool::new(false));
    let connecting = connects_to(api, stop.clone());
    let mut watching = s
        .command(&["--store", "b", "watch", "--json", "--from-checkpoint", "3"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun once it shows the grant.
    let mut shown = BufReader::new(watching.stdout.take().unwrap());
    shown.read_line(&mut String::new()).unwrap();
    std::thread::spawn(move || std::io::copy(&mut shown, &mut std::io::sink()));
    s.on("b", &["peer", "add", &format!("quic://{key}@{place}")]).ok();
    let (begun, mut number) = (Instant::now(), 0);
    loop {
        let status = s.on("b", &["status", "--json"]);
        assert_eq!(status.code, 0, "{}{}", status.stderr, b.log());
        if status.json()["shallow"] == Value::Null {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", b.log());
        let put = s.on("b", &["put", &format!("own/{number}"), "v"]);
        assert_eq!(put.code, 0, "{}{}", put.stderr, b.log());
        number += 1;
    }
    assert!(b.log().contains("has been opened anew"), "{}", b.log());
    stop.store(true, Ordering::Relaxed);
    assert!(connecting.join().unwrap().is_none(), "the API is not there for a while");
    // Who watches is told how to go on, and misses nothing.
    let mut told = String::new();
    watching.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(watching.wait().unwrap().success(), "{told}");
    let cursor = told.split("--after ").nth(1).unwrap().split('`').next().unwrap();
    s.on("b", &["put", "own/last", "v"]).ok();
    let seen = s.on("b", &["watch", "--after", cursor, "--once", "--json"]).lines();
    assert_eq!(seen.last().unwrap()["ops"][0]["key"], "own/last");

    // What was written meanwhile is there, at the node that answers as before, and at the other.
    let last = || s.a(&["get", "own/last"]).code == 0;
    while !last() {
        assert!(begun.elapsed() < 2 * PATIENCE, "{}", b.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(s.state("a"), s.state("b"));
    assert_eq!(s.on("b", &["get", "k/1", "--at", "checkpoint:1"]).text(), "0");
    drop(b);
    s.on("b", &["verify"]).ok();
}

/// The daemon has what comes below open, whether a peer gives it or not.
#[test]
fn who_is_served_merges_a_store_all_the_same() {
    let s = Scratch::certified();
    s.a(&["put", "k", "1"]).ok();
    s.certify("a");
    start_from_a(&s, 1);
    s.a(&["put", "k", "2"]).ok();
    let _b = s.serve("b");
    s.on("b", &["merge", "a"]).ok();
    assert_eq!(s.on("b", &["get", "k"]).ok(), "2");
    assert_eq!(s.on("b", &["status", "--json"]).json()["shallow"], 1);
}
