//! Four daemons that are validators: one is killed, two are stopped, all are restarted in turn, and
//! others write all the while. And one whose directory is replaced by an older copy of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::daemon::{Daemon, free_place};
use support::{Scratch, text};

const STORES: [&str; 4] = ["a", "b", "c", "d"];
/// Nobody waits longer than this.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two writes of a writer.
const PAUSE: Duration = Duration::from_millis(50);

/// The stores, and the daemons that serve them.
struct Validators {
    scratch: Arc<Scratch>,
    /// Where each is dialled: its key, and a place.
    places: Vec<(String, String)>,
    daemons: Vec<Option<Daemon>>,
}

impl Validators {
    /// A ledger that the first certifies from the beginning, and the others once that holds.
    fn start() -> Self {
        let scratch = Arc::new(Scratch::with_store());
        let key = |store: &str| {
            text(&scratch.on(store, &["identity", "show", "--json"]).json(), "key").to_owned()
        };
        for store in &STORES[1..] {
            scratch.ok(&["clone", "a", store, "--grant", "validator"]);
            scratch.a(&["member", "grant", &key(store), "writer"]).ok();
        }
        let places = STORES.iter().map(|store| (key(store), free_place())).collect();
        for store in STORES {
            let config = format!("{store}/config.toml");
            scratch.write(&config, b"[certify]\ninterval = \"200ms\"\n");
        }
        let daemons = STORES.iter().map(|_| None).collect();
        let mut validators = Self { scratch, places, daemons };
        (0..STORES.len()).for_each(|at| validators.serve(at));
        until("there are four validators", || {
            (0..STORES.len())
                .all(|at| validators.certification(at)["validators"].as_array().unwrap().len() == 4)
        });
        validators
    }

    fn serve(&mut self, at: usize) {
        let mut args =
            vec!["--store", STORES[at], "serve", "--listen", &self.places[at].1, "--join"];
        let others = self.places.iter().enumerate().filter(|(other, _)| *other != at);
        let others: Vec<_> =
            others.map(|(_, (key, place))| format!("quic://{key}@{place}")).collect();
        args.extend(others.iter().map(String::as_str));
        let log = self.scratch.path(&format!("{}.log", STORES[at]));
        self.daemons[at] = Some(self.scratch.serve_with(&args, log));
    }

    fn stop(&mut self, at: usize) {
        let status = self.daemons[at].take().unwrap().stop();
        assert!(status.success(), "{status}");
    }

    fn kill(&mut self, at: usize) {
        let mut daemon = self.daemons[at].take().unwrap();
        daemon.signal(Signal::KILL);
        daemon.wait();
    }

    fn on(&self, at: usize, args: &[&str]) -> support::Ran {
        self.scratch.on(STORES[at], args)
    }

    fn certification(&self, at: usize) -> Value {
        self.on(at, &["status", "--json"]).json()["certification"].clone()
    }

    fn height(&self, at: usize) -> u64 {
        self.certification(at)["height"].as_u64().unwrap()
    }

    /// What is written at one of them becomes final.
    fn certifies(&self, at: usize) {
        let ran =
            self.on(at, &["put", "final", "yes", "--wait", "final", "--timeout", "30s", "--json"]);
        let log = || self.daemons[at].as_ref().unwrap().log();
        assert_eq!(
            ran.code,
            0,
            "{}: {}\n{}\n{}",
            STORES[at],
            ran.stderr,
            self.certification(at),
            log()
        );
        assert_eq!(self.certification(at)["diverged"], json!([]));
    }
}

/// Two who write at some stores in turn.
struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Writers {
    fn start(scratch: &Arc<Scratch>, stores: &'static [&'static str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..2).map(|writer| {
            let (scratch, stop) = (scratch.clone(), stop.clone());
            thread::spawn(move || write(writer, &scratch, stores, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    /// Ends them, and tells which events were acknowledged.
    fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    }
}

fn write(writer: usize, scratch: &Scratch, stores: &[&str], stop: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (key, value) = (format!("w{writer}/{}", number % 20), number.to_string());
        // Where no daemon runs, the command writes to the store itself; a killed one leaves it without an answer.
        let ran = scratch.on(stores[(writer + number) % stores.len()], &["put", &key, &value]);
        if ran.code == 0 {
            acknowledged.push(ran.text().trim().to_owned());
        }
        thread::sleep(PAUSE);
    }
    acknowledged
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn daemons_certify_through_kills_stops_and_restarts() {
    let mut validators = Validators::start();
    let writers = Writers::start(&validators.scratch, &STORES);
    (0..STORES.len()).for_each(|at| validators.certifies(at));
    one_is_killed(&mut validators);
    two_are_stopped(&mut validators);
    // A rolling restart: three of four go on.
    for at in 0..STORES.len() {
        validators.stop(at);
        validators.certifies((at + 1) % STORES.len());
        validators.serve(at);
        validators.certifies(at);
    }
    let acknowledged = writers.stop();
    assert!(acknowledged.len() > 20, "{} writes", acknowledged.len());
    all_hold_the_same(&validators, &acknowledged);
}

fn one_is_killed(validators: &mut Validators) {
    validators.kill(1);
    validators.certifies(0);
    validators.serve(1);
    validators.certifies(1);
}

fn two_are_stopped(validators: &mut Validators) {
    validators.stop(2);
    validators.stop(3);
    let stuck =
        |validators: &Validators, at| validators.certification(at)["node"]["state"] == "no-quorum";
    until("two tell that they are too few", || (0..2).all(|at| stuck(validators, at)));
    until("both hold the same", || validators.height(0) == validators.height(1));
    let node = &validators.certification(0)["node"];
    assert_eq!(node["quorum"], 3);
    assert!(text(node, "advice").starts_with("2 of 4 validators can be reached"), "{node}");
    let height = validators.height(0);
    let late = validators.on(0, &["put", "alone", "yes", "--wait", "final", "--timeout", "1s"]);
    assert_eq!(late.code, 5, "{}", late.stderr);
    until("writes go on", || validators.on(1, &["get", "alone"]).text() == "yes");
    assert!((0..2).all(|at| validators.height(at) == height));
    // With a third, all that are there are needed: also the one that was killed votes.
    validators.serve(2);
    validators.certifies(0);
    assert_eq!(validators.on(0, &["get", "alone", "--final"]).ok(), "yes");
    // Nothing could be certified without its key: the fourth is not there, and a moment later the daemon
    // knows of the third that it is.
    until("a key is not changed where it is needed", || {
        let ran = validators.on(0, &["identity", "rotate"]);
        assert_eq!(ran.code, 5, "{}", ran.stderr);
        ran.stderr.contains("2 of the 3 validators")
    });
    validators.serve(3);
    validators.certifies(3);
}

fn all_hold_the_same(validators: &Validators, acknowledged: &BTreeSet<String>) {
    let all = 0..STORES.len();
    let certified = |at| {
        let status = validators.on(at, &["status", "--json"]).json();
        let certification = &status["certification"];
        (certification["events"] == status["events"]).then(|| certification["height"].clone())
    };
    until("all is certified everywhere", || {
        let first = certified(0);
        first.is_some() && all.clone().all(|at| certified(at) == first)
    });
    let list = |at| validators.on(at, &["checkpoint", "list", "-n", "100000", "--json"]).lines();
    let first = list(0);
    for at in all {
        assert_eq!(list(at), first, "{}", STORES[at]);
        let checked = validators.on(at, &["checkpoint", "verify", "--json"]).json();
        assert_eq!((&checked["height"], &checked["findings"]), (&first[0]["height"], &json!([])));
        validators.on(at, &["verify"]).ok();
        let certification = validators.certification(at);
        assert_eq!(
            (&certification["pending"], &certification["diverged"]),
            (&json!(0), &json!([]))
        );
        let node = &certification["node"];
        assert_eq!(
            (&node["validator"], &node["evidence"], &node["advice"]),
            (&json!(true), &json!(0), &json!(null))
        );
        let told = validators.on(at, &["validators", "--json"]).lines();
        assert_eq!(told.len(), STORES.len());
        assert!(told.iter().all(|told| told["certifies"] == true && told["evidence"] == json!([])));
        let held = validators.on(at, &["log", "--final", "--json"]).lines();
        let held: BTreeSet<_> = held.iter().map(|event| text(event, "event").to_owned()).collect();
        assert!(acknowledged.is_subset(&held), "{}", STORES[at]);
    }
}

/// The files of a validator are put back as they were some checkpoints before it was killed, in the place
/// of those that are there: nothing in its directory tells that it has signed more, but the others do.
#[test]
fn an_old_copy_of_a_validator_abstains_and_votes_again() {
    const OLD: usize = 2;
    const AWAY: usize = 3;
    let mut validators = Validators::start();
    // Nobody writes to what is replaced.
    let writers = Writers::start(&validators.scratch, &STORES[..2]);
    let (store, copy) = (validators.scratch.path(STORES[OLD]), validators.scratch.path("copy"));
    validators.stop(OLD);
    copy_over(&store, &copy);
    validators.serve(OLD);
    validators.certifies(OLD);
    let height = validators.height(OLD);
    until("two more are certified", || validators.height(OLD) >= height + 2);
    // Three certify with the votes of each, and two nothing: what they know of it is its last.
    validators.stop(AWAY);
    validators.certifies(OLD);
    validators.kill(OLD);
    fs::remove_dir_all(store.join("db")).unwrap();
    copy_over(&copy, &store);
    validators.serve(OLD);

    // Without its vote there are two of the three that are needed.
    let node = |validators: &Validators| validators.certification(OLD)["node"].clone();
    until("it says that it abstains", || node(&validators)["state"] == "abstains");
    let advice = node(&validators)["advice"].clone();
    assert!(advice.as_str().unwrap().contains("does not know all that was signed"), "{advice}");
    let height = validators.height(0);
    let late = validators.on(0, &["put", "late", "yes", "--wait", "final", "--timeout", "2s"]);
    assert_eq!((late.code, validators.height(0)), (5, height), "{}", late.stderr);
    assert_eq!(node(&validators)["state"], "abstains");
    validators.serve(AWAY);
    until("it signs again", || node(&validators)["state"] != "abstains");
    validators.certifies(OLD);
    // Now its vote is needed.
    validators.stop(AWAY);
    validators.certifies(OLD);
    validators.serve(AWAY);
    all_hold_the_same(&validators, &writers.stop());
}

/// Copies a directory, files into the place of those that are there.
fn copy_over(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let copied = Command::new("cp").arg("-a").args([&from.join("."), to]).status().unwrap();
    assert!(copied.success(), "{copied}");
}
