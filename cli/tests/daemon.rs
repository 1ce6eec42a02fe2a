//! Commands on a store that a daemon serves.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use support::{Scratch, ran};

const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what happens soon.
fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let since = Instant::now();
    while !happens() {
        assert!(since.elapsed() < PATIENCE, "{what} does not happen");
        thread::sleep(Duration::from_millis(10));
    }
}

/// More than a pipe holds: it is written when somebody has begun to read it, and only who has the store
/// open does that.
const BEGUN: &[u8] = &[b'x'; 1 << 17];

/// A command whose stdin is kept open, after it has got this much.
fn begin(s: &Scratch, args: &[&str], input: &[u8]) -> (Child, std::process::ChildStdin) {
    let mut child = s.command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    (child, stdin)
}

#[test]
fn a_daemon_is_the_only_one_and_its_socket_is_the_owners() {
    let s = Scratch::with_store();
    assert_eq!(s.a(&["status", "--json"]).json()["daemon"], json!(false));
    let mut daemon = s.serve("a");
    let socket = s.path("a/socket");
    let metadata = std::fs::symlink_metadata(&socket).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!(s.a(&["status", "--json"]).json()["daemon"], json!(true));
    assert!(s.a(&["status"]).ok().contains("served"));
    for args in [&["serve"][..], &["verify", "--repair"], &["upgrade"]] {
        let refused = s.a(args);
        assert_eq!(refused.code, 11, "{args:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("daemon"), "{}", refused.stderr);
    }
    s.a(&["put", "k", "v"]).ok();
    assert!(daemon.stop().success());
    assert!(!socket.exists());
    assert_eq!(s.a(&["get", "k"]).ok(), "v");
    assert_eq!(s.a(&["verify"]).code, 0);
}

#[test]
fn a_stale_socket_is_in_nobodys_way() {
    let s = Scratch::with_store();
    let mut daemon = s.serve("a");
    s.a(&["put", "k", "1"]).ok();
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(s.path("a/socket").exists());
    assert_eq!(s.a(&["get", "k"]).ok(), "1");
    let daemon = s.serve("a");
    s.a(&["put", "k", "2"]).ok();
    assert_eq!(s.a(&["get", "k"]).ok(), "2");
    drop(daemon);
    assert!(!s.path("a/socket").exists());
}

#[test]
fn a_command_waits_for_a_daemon_that_starts() {
    let s = Scratch::with_store();
    // As a daemon that has the store open, and does not answer yet.
    let (mut holder, stdin) = begin(
        &s,
        &["--store", "a", "put", "--batch", "-", "--group", "1", "--json"],
        b"{\"op\":\"inc\",\"key\":\"c\",\"by\":1}\n",
    );
    holder.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let starts = thread::scope(|scope| {
        let waits = scope.spawn(|| s.feed(&["--store", "a", "import", "-"], b"no car file"));
        let daemon = scope.spawn(|| s.serve("a"));
        thread::sleep(Duration::from_millis(300));
        drop(stdin);
        assert_eq!(waits.join().unwrap().code, 20);
        daemon.join().unwrap()
    });
    assert!(holder.wait().unwrap().success());
    assert_eq!(s.a(&["get", "c"]).ok(), "1\n");
    drop(starts);
}

#[test]
fn writers_at_once_lose_nothing() {
    const WRITERS: usize = 8;
    const PUTS: usize = 25;
    let s = Scratch::with_store();
    let daemon = s.serve("a");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let s = &s;
            scope.spawn(move || {
                for put in 0..PUTS {
                    let key = format!("{writer}/{put}");
                    s.a(&["put", &key, &key]).ok();
                    s.a(&["inc", "all"]).ok();
                }
            });
        }
    });
    assert_eq!(s.a(&["get", "all"]).ok(), format!("{}\n", WRITERS * PUTS));
    drop(daemon);
    for writer in 0..WRITERS {
        for put in 0..PUTS {
            let key = format!("{writer}/{put}");
            assert_eq!(s.a(&["get", &key]).ok(), key);
        }
    }
    assert_eq!(s.a(&["verify"]).code, 0);
}

#[test]
fn no_more_than_so_many_commands_run_at_once() {
    const MAX_COMMANDS: usize = 64;
    let s = Scratch::with_store();
    let daemon = s.serve("a");
    // Each of them has been taken when it has begun.
    let put = |number: usize| begin(&s, &["--store", "a", "put", &number.to_string(), "-"], BEGUN);
    let mut running: Vec<_> = (0..MAX_COMMANDS).map(put).collect();
    let mut waiting = s.command(&["--store", "a", "keys"]).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    assert!(waiting.try_wait().unwrap().is_none(), "there is no bound");
    let (first, stdin) = running.pop().unwrap();
    drop(stdin);
    ran(first.wait_with_output().unwrap()).ok();
    assert!(waiting.wait().unwrap().success());
    for (child, stdin) in running {
        drop(stdin);
        ran(child.wait_with_output().unwrap()).ok();
    }
    assert_eq!(s.a(&["keys"]).ok().lines().count(), MAX_COMMANDS);
    drop(daemon);
}

#[test]
fn a_daemon_restarts_among_commands_and_none_is_refused() {
    let s = Scratch::with_store();
    let mut daemon = s.serve("a");
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..6 {
            let (s, stop, written) = (&s, &stop, &written);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    s.a(&["append", &format!("list/{client}"), "value"]).ok();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(200));
            assert!(daemon.stop().success());
            // Commands go on without it.
            thread::sleep(Duration::from_millis(100));
            daemon = s.serve("a");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let state = s.state("a");
    let lists = state["lists"].as_object().unwrap().values();
    let there: usize = lists.map(|list| list.as_array().unwrap().len()).sum();
    assert_eq!(there, written.load(Ordering::Relaxed));
}

#[test]
fn a_client_that_is_killed_leaves_nothing_half_written() {
    let s = Scratch::with_store();
    let daemon = s.serve("a");
    let (mut child, stdin) = begin(&s, &["--store", "a", "put", "long", "-"], &vec![7; 3 << 20]);
    child.kill().unwrap();
    child.wait().unwrap();
    // The end of the pipe is still open: the daemon has to notice by itself.
    until("the end of the command", || daemon.log().contains("command=\"put\" code=1"));
    drop(stdin);
    assert_eq!(s.a(&["get", "long"]).code, 3);
    assert_eq!(s.a(&["log", "--json"]).lines().len(), 1);
    // One that reads what comes slowly, and goes before it has read all.
    let long = vec![9; 3 << 20];
    assert_eq!(s.feed(&["--store", "a", "put", "long", "-"], &long).code, 0);
    let mut reader = s.command(&["--store", "a", "get", "long"]).spawn().unwrap();
    let mut stdout = reader.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 1000]).unwrap();
    reader.kill().unwrap();
    reader.wait().unwrap();
    until("the end of the command", || daemon.log().contains("command=\"get\" code=1"));
    drop(stdout);
    assert_eq!(s.a(&["verify"]).code, 0);
}

#[test]
fn a_daemon_that_ends_lets_commands_finish() {
    let s = Scratch::with_store();
    let mut daemon = s.serve("a");
    let (child, mut stdin) = begin(&s, &["--store", "a", "put", "k", "-"], BEGUN);
    daemon.signal(Signal::TERM);
    until("the end of the socket", || !s.path("a/socket").exists());
    stdin.write_all(b" and end").unwrap();
    drop(stdin);
    ran(child.wait_with_output().unwrap()).ok();
    assert!(daemon.wait().success());
    assert_eq!(s.a(&["get", "k"]).ok().len(), BEGUN.len() + " and end".len());
}

#[test]
fn a_daemon_that_has_to_end_says_so() {
    for signals in [&[Signal::KILL][..], &[Signal::TERM, Signal::INT], &[Signal::TERM]] {
        let s = Scratch::with_store();
        let mut daemon = s.serve("a");
        let (child, _stdin) = begin(&s, &["--store", "a", "put", "k", "-"], BEGUN);
        for (number, signal) in signals.iter().enumerate() {
            if number > 0 {
                until("the end of the socket", || !s.path("a/socket").exists());
            }
            daemon.signal(*signal);
        }
        let clean = daemon.wait().success();
        assert_eq!(clean, signals == [Signal::TERM], "{signals:?}: {}", daemon.log());
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains("the daemon has ended before the command was done"));
        assert_eq!(s.a(&["get", "k"]).code, 3, "{signals:?}");
        assert_eq!(s.a(&["verify"]).code, 0);
    }
}

#[test]
fn a_log_that_takes_nothing_is_no_hindrance() {
    let s = Scratch::with_store();
    let mut daemon = s.serve_with(&["--store", "a", "serve", "--log", "debug"], "/dev/full".into());
    s.a(&["put", "k", "v"]).ok();
    assert_eq!(s.a(&["status", "--json"]).json()["daemon"], json!(true));
    assert!(daemon.stop().success());
}

#[test]
fn an_encrypted_key_is_unlocked_by_whoever_starts_the_daemon() {
    let s = Scratch::new();
    let secret = s.write("secret", b"open sesame\n");
    let wrong = s.write("wrong", b"guess\n");
    let (secret, wrong) = (secret.to_str().unwrap(), wrong.to_str().unwrap());
    s.ok(&["init", "a", "--passphrase-file", secret]);
    assert_eq!(s.a(&["serve"]).code, 1);
    assert_eq!(s.a(&["serve", "--passphrase-file", wrong]).code, 1);
    let args = ["--store", "a", "serve", "--passphrase-file", "secret", "--log", "trace"];
    let daemon = s.serve_with(&args, s.path("log"));
    s.a(&["put", "k", "v"]).ok();
    let mut command = s.command(&["--store", "a", "identity", "passphrase", "--remove"]);
    ran(command.env("QUIPU_PASSPHRASE", "open sesame").output().unwrap()).ok();
    assert_eq!(s.a(&["identity", "passphrase", "--new-passphrase-file", "none"]).code, 1);
    s.a(&["identity", "passphrase", "--new-passphrase-file", "wrong"]).ok();
    assert!(!daemon.log().contains("sesame") && !daemon.log().contains("guess"));
    drop(daemon);
    assert_eq!(s.a(&["put", "k", "v"]).code, 1);
    s.a(&["put", "k", "v", "--passphrase-file", "wrong"]).ok();
    // A passphrase for the key of a new replica comes from the client's environment.
    let _daemon =
        s.serve_with(&["--store", "a", "serve", "--passphrase-file", "wrong"], s.path("log"));
    let mut command = s.command(&["clone", "a", "b", "--grant", "writer"]);
    ran(command.env("QUIPU_PASSPHRASE", "for b").output().unwrap()).ok();
    assert_eq!(s.on("b", &["put", "k", "w"]).code, 1);
    s.write("b.secret", b"for b\n");
    s.on("b", &["put", "k", "w", "--passphrase-file", "b.secret"]).ok();
    let asks = s.run(&["clone", "a", "c", "--encrypt"]);
    assert_eq!(asks.code, 1);
    assert!(asks.stderr.contains("cannot be asked for here"), "{}", asks.stderr);
    assert!(!s.path("c").exists());
}

#[test]
fn a_path_too_long_for_an_address_is_served() {
    let s = Scratch::new();
    let store = format!("{}/{}", "a".repeat(150), "b".repeat(150));
    std::fs::create_dir(s.path(&"a".repeat(150))).unwrap();
    s.ok(&["init", &store]);
    let daemon = s.serve_with(&["--store", &store, "serve"], s.path("log"));
    s.on(&store, &["put", "k", "v"]).ok();
    assert_eq!(s.on(&store, &["status", "--json"]).json()["daemon"], json!(true));
    drop(daemon);
    assert_eq!(s.on(&store, &["get", "k"]).ok(), "v");
}

#[test]
fn other_versions_and_garbage_are_refused() {
    let s = Scratch::with_store();
    let daemon = s.serve("a");
    let before = s.state("a");
    let version = env!("CARGO_PKG_VERSION");
    let request = |version: &str, body: &[u8]| {
        let mut bytes = b"quipu\n".to_vec();
        bytes.push(u8::try_from(version.len()).unwrap());
        bytes.extend_from_slice(version.as_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    };
    let mut huge = request(version, b"");
    huge.truncate(huge.len() - 4);
    huge.extend_from_slice(&u32::MAX.to_be_bytes());
    let noise: Vec<u8> =
        (0..100_000_u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    for (bytes, told) in [
        (request("9.9.9", b"\x80"), "9.9.9"),
        (request(version, b"\x80"), "streams"),
        (request(version, &noise), "streams"),
        (huge, "longer than"),
        (noise.clone(), "does not begin"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "does not begin"),
        (b"quipu".to_vec(), "cannot be read"),
    ] {
        let mut client = UnixStream::connect(s.path("a/socket")).unwrap();
        // The daemon may have heard enough before all of it is said.
        let _ = client.write_all(&bytes);
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(told), "{answer:?} does not tell of {told:?}");
    }
    assert_eq!(s.state("a"), before);
    drop(daemon);
}

#[test]
fn replicas_that_are_served_merge() {
    let s = Scratch::with_store();
    s.a(&["put", "k", "v"]).ok();
    s.ok(&["clone", "a", "b", "--grant", "writer"]);
    let (a, b) = (s.serve("a"), s.serve("b"));
    s.on("b", &["put", "b", "1"]).ok();
    let would = s.a(&["merge", "b", "--dry-run", "--json"]).json();
    assert_eq!((&would["new_events"], &would["dry_run"]), (&json!(1), &json!(true)));
    assert_eq!(s.a(&["merge", "b", "--json"]).json()["new_events"], 1);
    assert_eq!(s.a(&["merge", "a"]).code, 2);
    assert_eq!(s.on("b", &["merge", "a", "--json"]).json()["new_events"], 0);
    s.on("b", &["put", "b", "2"]).ok();
    drop(a);
    // Into a store that is not served, too.
    assert_eq!(s.a(&["merge", "b", "--json"]).json()["new_events"], 1);
    drop(b);
    assert_eq!(s.state("a"), s.state("b"));
}

#[test]
fn a_clone_of_a_served_store_is_made_by_its_daemon() {
    let s = Scratch::with_store();
    s.a(&["put", "k", "v"]).ok();
    let daemon = s.serve("a");
    let made = s.run(&["clone", "a", "x/b", "--grant", "writer", "--json"]);
    assert!(made.stderr.contains("a new replica in x/b with 2 events"), "{}", made.stderr);
    assert_eq!(made.json()["dir"], json!("x/b"));
    let refused = s.run(&["clone", "a", "x/b"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.starts_with("error: x/b"), "{}", refused.stderr);
    s.on("x/b", &["put", "k", "w"]).ok();
    assert_eq!(s.a(&["merge", "x/b", "--json"]).json()["new_events"], 1);
    assert!(daemon.log().contains("command=\"clone\""));
    // Nothing that the daemon makes for a user is open to more people than the user wants.
    let clone = format!(
        "umask 077; '{}' clone a private && '{0}' --store a put t/f x && '{0}' --store a get --dir t/ t",
        env!("CARGO_BIN_EXE_quipu")
    );
    let done = std::process::Command::new("sh")
        .args(["-c", &clone])
        .current_dir(s.path("."))
        .output()
        .unwrap();
    ran(done).ok();
    for (made, mode) in [("private", 0o700), ("t", 0o700), ("t/f", 0o600)] {
        let found = std::fs::metadata(s.path(made)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{made}");
    }
}
