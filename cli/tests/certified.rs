//! Certified checkpoints: reading as of them, files with them, and what never becomes final.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use quipu_merge::{BlockId, CarReader, CarWriter, Certificate, Checkpoint, Codec, Height};
use quipu_store::{Acceptance, CertifiedCheckpoint};
use serde_json::{Value, json};
use support::certify::{KEYS, certificate, validators};
use support::{Scratch, fields, text};

/// A store with two checkpoints and an event after them; the ids of the checkpoints and events.
fn history() -> (Scratch, [String; 2], Vec<String>) {
    let s = Scratch::certified();
    let mut events = vec![s.event(&["put", "a", "1"])];
    let first = s.certify("a");
    events.push(s.event(&["put", "a", "2"]));
    events.push(s.event(&["inc", "n", "5"]));
    let second = s.certify("a");
    events.push(s.event(&["put", "a", "3"]));
    (s, [first, second], events)
}

#[test]
fn what_is_final_is_read() {
    let (s, ids, events) = history();
    assert_eq!(s.a(&["get", "a"]).ok(), "3");
    assert_eq!(s.a(&["get", "a", "--final"]).ok(), "2");
    assert_eq!(s.a(&["get", "a", "--at", "checkpoint:1"]).ok(), "1");
    assert_eq!(s.a(&["keys", "--final"]).ok(), "a\nn\n");
    assert_eq!(s.a(&["keys", "--at", "checkpoint:1"]).ok(), "a\n");
    let log = s.a(&["log", "--final", "--json"]).lines();
    let logged: Vec<_> = log.iter().map(|event| text(event, "event")).collect();
    assert_eq!(logged[..3], [&*events[2], &*events[1], &*events[0]]);
    assert_eq!(log.len(), 4);
    let certified: Vec<_> = s.a(&["log", "--json"]).lines();
    let certified: Vec<_> = certified.iter().map(|event| event["certified"].clone()).collect();
    assert_eq!(certified, [json!(null), json!(2), json!(2), json!(1), json!(1)]);
    assert!(s.a(&["show", &events[1]]).ok().contains("final   since checkpoint 2\n"));
    assert!(s.a(&["show", &events[3]]).ok().contains("final   not yet\n"));
    let dump = s.a(&["dump", "--final", "--json"]).json();
    let shown = s.a(&["checkpoint", "show", "2", "--json"]).json();
    assert_eq!((&dump["state_root"], &dump["events"]), (&shown["state"], &shown["size"]));
    assert_eq!(shown["checkpoint"], ids[1]);
    // With other certified cuts, it is another question.
    let cut = format!("{}+{}", events[0], events[2]);
    let other = s.a(&["dump", "--json", "--final", "--certified", &cut]).json();
    assert_eq!(other["state_root"], dump["state_root"]);
    let roles = s.a(&["member", "list", "--final", "--json"]).lines();
    assert_eq!(roles.len(), 5);
    s.refused(2, &["get", "a", "--final", "--at", "checkpoint:1"]);
    s.refused(3, &["get", "a", "--at", "checkpoint:3"]);
    s.refused(2, &["get", "a", "--at", "checkpoint:"]);
}

#[test]
fn nothing_is_final_yet() {
    let s = Scratch::certified();
    let event = s.event(&["put", "a", "1"]);
    for args in [
        &["get", "a", "--final"][..],
        &["log", "--final"],
        &["dump", "--final", "--json"],
        &["checkpoint", "verify"],
        &["prove", "key", "a"],
        &["prove", "event", &event],
    ] {
        let ran = s.refused(5, args);
        assert!(ran.stderr.contains("nothing is certified here yet"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: more than two thirds"), "{}", ran.stderr);
    }
    assert_eq!(s.a(&["checkpoint", "list"]).ok(), "");
    s.ok(&["init", "none", "--no-validators"]);
    for args in [&["get", "a", "--final"][..], &["prove", "key", "a"]] {
        let ran = s.on("none", args);
        assert_eq!(ran.code, 5, "{}", ran.stderr);
        assert!(ran.stderr.contains("the ledger has no validators"), "{}", ran.stderr);
    }
    let status = s.on("none", &["status", "--json"]).json();
    assert_eq!(status["certification"]["validators"], json!([]));
    assert!(s.on("none", &["status"]).ok().contains("certified  never"));
}

#[test]
fn checkpoints_are_listed_shown_and_checked() {
    let (s, ids, events) = history();
    let list = s.a(&["checkpoint", "list", "--json"]).lines();
    let heights: Vec<_> = list.iter().map(|c| (&c["height"], text(c, "checkpoint"))).collect();
    assert_eq!(heights, [(&json!(2), &*ids[1]), (&json!(1), &*ids[0])]);
    let names = [
        "checkpoint",
        "cut",
        "height",
        "micros",
        "prev",
        "root",
        "size",
        "start",
        "state",
        "time",
        "validators",
    ];
    assert_eq!(fields(&list[0]), names);
    assert_eq!((&list[0]["prev"], &list[1]["prev"]), (&json!(ids[0]), &json!(null)));
    assert_eq!(s.a(&["checkpoint", "list", "-n", "1", "--json"]).lines(), list[..1]);
    assert_eq!(s.a(&["checkpoint", "list"]).ok().lines().count(), 2);
    let shown = s.a(&["checkpoint", "show", "2", "--json"]).json();
    assert_eq!(shown["heads"], json!([events[2]]));
    let mut keys = validators()[..4].to_vec();
    keys.sort_unstable();
    assert_eq!((&shown["signed"], &shown["unsigned"]), (&json!(keys), &json!([])));
    assert_eq!(shown["next_validators"], json!(keys));
    let people = s.a(&["checkpoint", "show", "1"]).ok();
    assert!(people.starts_with(&format!("checkpoint  1 {}\n", ids[0])), "{people}");
    let checked = s.a(&["checkpoint", "verify", "--json"]).json();
    assert_eq!(
        checked,
        json!({"height": 2, "checkpoint": ids[1], "first": 1, "first_state": 1, "checkpoints": 2,
            "events": 4, "findings": [], "unlisted": 0})
    );
    assert_eq!(s.a(&["checkpoint", "verify", "1", "--json"]).json()["events"], 2);
    assert_eq!(s.a(&["checkpoint", "verify"]).ok(), "2 checkpoints with 4 events: 0 faults\n");
    s.refused(3, &["checkpoint", "show", "3"]);
    s.refused(2, &["checkpoint", "show", "0"]);
    assert_eq!(s.a(&["checkpoint", "show", "checkpoint:1"]).ok(), people);
    s.a(&["checkpoint", "verify", "checkpoint:1"]).ok();
    for other in ["checkpoint:+1", "checkpoint:01"] {
        s.refused(2, &["checkpoint", "show", other]);
        s.refused(2, &["get", "a", "--at", other]);
    }
    s.refused(2, &["checkpoint", "show", "last"]);
    s.refused(2, &["checkpoint", "show"]);
    s.refused(2, &["checkpoint", "list", "-n", "many"]);
    s.refused(2, &["checkpoint", "list", "2"]);
    s.refused(2, &["checkpoint", "list", "-n", "-1"]);
    s.refused(3, &["checkpoint", "verify", "7"]);
    s.refused(2, &["checkpoint", "verify", "one"]);
    s.refused(2, &["checkpoint", "verify", "1", "2"]);
}

#[test]
fn validators_follow_their_roles_a_checkpoint_later() {
    let (s, ..) = history();
    let keys = validators();
    let certifying = |args: &[&str]| {
        let lines = s.a(&[&["validators", "--json"], args].concat()).lines();
        let of = |field: &str| {
            let wanted = lines.iter().filter(|line| line[field] == true);
            wanted.map(|line| text(line, "author").to_owned()).collect::<Vec<_>>()
        };
        (of("certifies"), of("holds"))
    };
    let sorted = |keys: &[String]| {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys
    };
    assert_eq!(certifying(&[]), (sorted(&keys[..4]), sorted(&keys[..4])));
    s.event(&["member", "grant", &keys[4], "validator"]);
    s.event(&["member", "revoke", &keys[0]]);
    assert_eq!(certifying(&[]), (sorted(&keys[..4]), sorted(&keys[1..5])));
    let people = s.a(&["validators"]).ok();
    assert!(people.contains(&format!("{} will certify", keys[4])), "{people}");
    assert!(people.contains(&format!("{} certifies, and no longer", keys[0])), "{people}");
    s.certify("a");
    assert_eq!(certifying(&[]), (sorted(&keys[1..5]), sorted(&keys[1..5])));
    assert_eq!(certifying(&["--final"]), certifying(&[]));
    assert_eq!(certifying(&["--at", "checkpoint:1"]), (sorted(&keys[..4]), sorted(&keys[..4])));
    let line = &s.a(&["validators", "--json"]).lines()[0];
    let names = [
        "author",
        "certifies",
        "cosigner_vkey",
        "evidence",
        "evidence_full",
        "holds",
        "name",
        "own",
        "vkey",
    ];
    assert_eq!(fields(line), names);
    assert!(text(line, "vkey").starts_with("quipu/ledger/bafyr4i"), "{line}");
    s.refused(3, &["validators", "--at", "checkpoint:9"]);
    s.refused(2, &["validators", "--at", "b:"]);
    s.refused(2, &["validators", "one"]);
    assert!(keys.len() == usize::from(KEYS));
}

#[test]
fn status_tells_how_far_certification_has_come() {
    let (s, ..) = history();
    let status = s.a(&["status", "--json"]).json();
    let certification = &status["certification"];
    assert_eq!((&certification["height"], &certification["events"]), (&json!(2), &json!(4)));
    assert_eq!((&certification["pending"], &certification["diverged"]), (&json!(0), &json!([])));
    assert_eq!(certification["validators"].as_array().unwrap().len(), 4);
    assert!(s.a(&["status"]).ok().contains("certified  4 of 5 events, checkpoint 2\n"));
}

#[test]
fn checkpoints_travel_with_events() {
    let (s, ids, events) = history();
    let exported = s.a(&["export", "all.car", "--json"]).json();
    assert_eq!((&exported["events"], &exported["checkpoints"]), (&json!(5), &json!(2)));
    assert_eq!(exported["left_out_checkpoints"], 0);
    let last = |store: &str| {
        let list = s.on(store, &["checkpoint", "list", "-n", "1", "--json"]).lines();
        list.first().map(|last| text(last, "checkpoint").to_owned())
    };
    s.ok(&["clone", "all.car", "file"]);
    s.ok(&["clone", "a", "store"]);
    s.ok(&["clone", "all.car", "part", "--at", "checkpoint:1"]);
    s.ok(&["clone", "a", "first", "--at", &events[0]]);
    for store in ["file", "store"] {
        assert_eq!(last(store), Some(ids[1].clone()), "{store}");
        assert_eq!(s.on(store, &["get", "a", "--final"]).ok(), "2");
        s.on(store, &["verify"]).ok();
        assert_eq!(s.state(store), s.state("a"));
    }
    assert_eq!((last("part"), last("first")), (Some(ids[0].clone()), Some(ids[0].clone())));
    let preview = s.on("part", &["import", "all.car", "--dry-run", "--json"]).json();
    assert_eq!((&preview["new_events"], &preview["new_checkpoints"]), (&json!(3), &json!(1)));
    let preview = s.on("part", &["merge", "a", "--dry-run", "--json"]).json();
    assert_eq!((&preview["new_events"], &preview["new_checkpoints"]), (&json!(3), &json!(1)));
    let news = s.a(&["export", "news.car", "--since", "checkpoint:1", "--json"]).json();
    assert_eq!((&news["events"], &news["checkpoints"]), (&json!(3), &json!(1)));
    let imported = s.on("part", &["import", "news.car", "--json"]).json();
    assert_eq!((&imported["new_events"], &imported["new_checkpoints"]), (&json!(3), &json!(1)));
    let merged = s.on("first", &["merge", "a", "--json"]).json();
    assert_eq!((&merged["new_checkpoints"], &merged["diverged"]), (&json!(1), &json!(false)));
    assert_eq!((last("part"), last("first")), (Some(ids[1].clone()), Some(ids[1].clone())));
    let again = s.on("part", &["import", "all.car", "--json"]).json();
    assert_eq!((&again["new_events"], &again["new_checkpoints"]), (&json!(0), &json!(0)));
    assert_eq!(again["passed_over_checkpoints"], 0);
}

/// The same file with another block in the place of one.
fn exchanged(file: &[u8], change: impl Fn(BlockId, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let reader = CarReader::new(file).unwrap();
    let mut roots = reader.roots().to_vec();
    let mut blocks: Vec<_> = reader.map(|b| b.map(|b| (b.id, b.bytes)).unwrap()).collect();
    for (id, bytes) in &mut blocks {
        if let Some(other) = change(*id, bytes) {
            let new = BlockId::of(Codec::DagCbor, &other);
            roots.iter_mut().filter(|root| *root == id).for_each(|root| *root = new);
            (*id, *bytes) = (new, other);
        }
    }
    let mut out = CarWriter::new(Vec::new(), &roots).unwrap();
    blocks.iter().for_each(|(id, bytes)| out.block(*id, bytes).unwrap());
    out.finish().unwrap()
}

#[test]
fn a_file_with_a_bad_certificate_changes_nothing() {
    let (s, ..) = history();
    s.a(&["export", "all.car"]).ok();
    s.ok(&["clone", "a", "other", "--at", "checkpoint:1"]);
    let file = fs::read(s.path("all.car")).unwrap();
    let of = |height: u64, bytes: &[u8]| {
        let certificate = Certificate::decode(bytes).ok()?;
        (certificate.height.0 == height).then_some(certificate)
    };
    let second = |bytes: &[u8]| of(2, bytes);
    let too_few = exchanged(&file, |_, bytes| {
        let mut certificate = second(bytes)?;
        certificate.signatures.truncate(2);
        certificate.encode().ok()
    });
    // Of a checkpoint that is new, or of the one that is held.
    let [held, forged] = [1, 2].map(|height| {
        exchanged(&file, |_, bytes| {
            let mut certificate = of(height, bytes)?;
            certificate.signatures[0].1[5] ^= 1;
            certificate.encode().ok()
        })
    });
    let malformed = exchanged(&file, |_, bytes| {
        let mut bytes = second(bytes).map(|_| bytes.to_vec())?;
        bytes[3] = 2;
        Some(bytes)
    });
    let before = s.state("other");
    for (name, car, reason) in [
        ("few.car", too_few, "certificate"),
        ("forged.car", forged, "certificate"),
        ("held.car", held, "certificate"),
        ("malformed.car", malformed, "corrupt"),
    ] {
        s.write(name, &car);
        for args in [&["import", name, "--json"][..], &["import", name, "--dry-run", "--json"]] {
            let ran = s.on("other", args);
            assert_eq!(ran.code, 20, "{name}: {}", ran.stderr);
            let printed: Value = serde_json::from_slice(&ran.stdout).unwrap();
            assert_eq!((&printed["reason"], &printed["event"]), (&json!(reason), &json!(null)));
        }
        assert_eq!(s.state("other"), before, "{name}");
        assert_eq!(s.run(&["clone", name, "new"]).code, 20, "{name}");
        assert!(!s.path("new").exists(), "{name}");
    }
    assert_eq!(s.on("other", &["status", "--json"]).json()["certification"]["height"], 1);
}

#[test]
fn two_certificates_of_one_height_are_shown() {
    let (s, ids, _) = history();
    let shown = || s.a(&["checkpoint", "show", "2", "--json"]).json();
    assert_eq!(shown()["other"], Value::Null);
    let other = {
        let ledger = quipu_store::Ledger::open(s.path("a")).unwrap();
        let snapshot = ledger.snapshot().unwrap();
        let kept = snapshot.checkpoint(Height(2)).unwrap().unwrap();
        let by = snapshot.validators_of(Height(2)).unwrap().unwrap();
        let checkpoint = Checkpoint { state: [9; 32], ..kept.checkpoint };
        let certificate = certificate(&checkpoint, &by, usize::MAX);
        let other = CertifiedCheckpoint { checkpoint, certificate, ..kept };
        assert_eq!(ledger.accept(other.clone()).unwrap(), Acceptance::Diverged);
        other.id().to_string()
    };
    let shown = shown();
    assert_eq!(
        (&shown["checkpoint"], &shown["other"]["checkpoint"]),
        (&json!(ids[1]), &json!(other))
    );
    assert_eq!(shown["other"]["signed"], shown["signed"]);
    let text = s.a(&["checkpoint", "show", "2"]).ok();
    assert!(text.contains(&other) && text.contains("also by"), "{text}");
    assert_eq!(s.a(&["checkpoint", "show", "1", "--json"]).json()["other"], Value::Null);
    // What is written could never become final.
    assert_eq!(s.a(&["put", "k", "v", "--wait", "final"]).code, 5);
}

#[test]
fn who_waits_for_finality_is_told_when_the_daemon_ends() {
    let s = Scratch::certified();
    let mut daemon = s.serve("a");
    let mut waiting = s.command(&["--store", "a", "put", "k", "v", "--wait", "final"]);
    let waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
    while s.a(&["get", "k"]).code != 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let since = Instant::now();
    assert!(daemon.stop().success(), "{}", daemon.log());
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    let ended = waiting.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(5), "{told}");
    assert!(told.contains("is written, and is not certified yet"), "{told}");
}

#[test]
fn a_checkpoint_that_is_not_derived_is_told_of_and_does_not_count() {
    let s = Scratch::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../merge/tests/vectors/checkpoints.car");
    let cloned = s.run(&["clone", file, "a"]);
    assert_eq!(cloned.code, 0, "{}", cloned.stderr);
    let status = s.a(&["status", "--json"]).json();
    let certification = &status["certification"];
    assert_eq!((&certification["height"], &status["events"]), (&json!(1), &json!(8)));
    let diverged = &certification["diverged"][0];
    assert_eq!(
        (&diverged["height"], &diverged["what"], &diverged["kept"]),
        (&json!(2), &json!("derived"), &json!(null))
    );
    assert!(s.a(&["status"]).ok().contains("diverged: checkpoint 2 is certified as bafyr4i"));
    s.a(&["verify"]).ok();
    s.a(&["checkpoint", "verify"]).ok();
    s.refused(3, &["checkpoint", "show", "2"]);
    let wait = s.a(&["put", "k", "v", "--wait", "final"]);
    assert_eq!(wait.code, 5, "{}", wait.stderr);
}

#[test]
fn waiting_fails_at_once_where_nothing_can_become_final() {
    let s = Scratch::certified();
    for args in [
        &["put", "a", "1", "--wait", "final"][..],
        &["inc", "n", "--wait", "final"],
        &["add", "s", "m", "--wait", "final"],
        &["append", "l", "v", "--wait", "final"],
        &["put", "--batch", "in", "--wait", "final"],
        &["put", "--dir", "tree", "t/", "--wait", "final"],
        &["member", "grant", &validators()[5], "writer", "--wait", "final"],
        &["member", "revoke", &validators()[5], "--wait", "final"],
    ] {
        s.write("in", b"{\"op\":\"put\",\"key\":\"k\",\"value\":\"v\"}\n");
        fs::create_dir_all(s.path("tree")).unwrap();
        fs::write(s.path("tree/f"), "x").unwrap();
        let ran = s.refused(5, args);
        assert!(ran.stderr.contains("without a daemon"), "{args:?}: {}", ran.stderr);
    }
    s.refused(2, &["put", "a", "1", "--wait", "soon"]);
    s.refused(2, &["put", "a", "1", "--timeout", "1s"]);
    s.refused(2, &["put", "a", "1", "--wait", "final", "--timeout", "long"]);
    s.ok(&["init", "none", "--no-validators"]);
    let ran = s.on("none", &["put", "a", "1", "--wait", "final"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("no validators"), "{}", ran.stderr);
    assert_eq!(s.on("none", &["keys"]).ok(), "");
}

#[test]
fn waiting_ends_when_a_certificate_comes() {
    let s = Scratch::certified();
    s.ok(&["clone", "a", "b"]);
    let _daemon = s.serve("a");
    let late = s.a(&["put", "a", "1", "--wait", "final", "--timeout", "300ms"]);
    assert_eq!(late.code, 5, "{}", late.stderr);
    let event = late.text().trim().to_owned();
    assert!(late.stderr.contains(&format!("{event} is written")), "{}", late.stderr);
    assert_eq!(s.a(&["get", "a"]).ok(), "1");
    let args = ["--store", "a", "put", "a", "2", "--wait", "final", "--timeout", "60s", "--json"];
    let waiting = s.command(&args).spawn().unwrap();
    while s.a(&["get", "a"]).ok() != "2" {
        std::thread::sleep(Duration::from_millis(20));
    }
    s.on("b", &["merge", "a"]).ok();
    s.certify("b");
    s.a(&["merge", "b"]).ok();
    let ran = support::ran(waiting.wait_with_output().unwrap()).json();
    assert_eq!(ran["certified"], 1);
    assert_eq!(s.a(&["get", "a", "--final"]).ok(), "2");
}

#[test]
fn a_replica_starts_from_what_is_certified() {
    let s = Scratch::certified();
    let ran = s.run(&["clone", "--from-checkpoint", "a", "b"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing is certified yet"), "{}", ran.stderr);
    assert!(!s.path("b").exists());
    s.refuses(2, &["clone", "--shallow", "a", "b"]);

    let (s, _, _) = history();
    s.ok(&["clone", "--from-checkpoint", "a", "b", "--grant", "writer"]);
    assert_eq!(s.on("b", &["get", "a"]).ok(), "3");
    assert_eq!(s.on("b", &["get", "a", "--final"]).ok(), "2");
    let below = s.on("b", &["get", "a", "--at", "checkpoint:1"]);
    assert_eq!((below.code, below.stderr.contains("pruned")), (4, true), "{}", below.stderr);
    s.on("b", &["put", "a", "4"]).ok();
    assert_eq!(s.on("b", &["verify"]).code, 0);
    let status = |store| s.on(store, &["status", "--json"]).json();
    assert_eq!(status("b")["shallow"], 2);
    // The next command finds everything.
    s.on("b", &["merge", "a"]).ok();
    assert_eq!(status("b")["shallow"], json!(null));
    assert_eq!(s.on("b", &["get", "a", "--at", "checkpoint:1"]).ok(), "1");
    s.on("a", &["merge", "b"]).ok();
    let dump = |store| s.on(store, &["dump", "--json"]).json();
    assert_eq!(dump("a"), dump("b"));

    // Without what is below: its events come all the same.
    s.ok(&["clone", "--from-checkpoint", "--shallow", "a", "c"]);
    assert_eq!(status("c")["shallow"], 2);
    s.on("c", &["merge", "a"]).ok();
    assert_eq!(status("c")["shallow"], json!(null));
    assert_eq!(status("c")["events"], status("a")["events"]);
    let below = s.on("c", &["get", "a", "--at", "checkpoint:1"]);
    assert_eq!((below.code, below.stderr.contains("pruned")), (4, true), "{}", below.stderr);
    assert_eq!(s.on("c", &["get", "a", "--at", "checkpoint:2"]).ok(), "2");
    assert_eq!(s.on("c", &["verify"]).code, 0);
    assert_eq!(dump("a"), dump("c"));
}
