//! Proofs: made by a store, checked by a command that has nothing but an id.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::certify::validators;
use support::{Ran, Scratch, text};

/// A store with two checkpoints, its ledger's id, and the ids of its events.
fn history() -> (Scratch, String, Vec<String>) {
    let s = Scratch::certified();
    let ledger = text(&s.state("a"), "ledger").to_owned();
    let writes: [&[&str]; 5] = [
        &["put", "a", "one"],
        &["inc", "a", "5"],
        &["add", "tags", "x"],
        &["append", "list", "e"],
        &["put", "gone", "secret"],
    ];
    let mut events: Vec<_> = writes.iter().map(|args| s.event(args)).collect();
    s.certify("a");
    events.push(s.event(&["put", "a", "two"]));
    s.certify("a");
    (s, ledger, events)
}

impl Scratch {
    /// Makes a proof, and gives its file.
    fn prove(&self, args: &[&str]) -> String {
        let out = ["-o", "proof"];
        self.a(&[&["prove"], args, &out].concat()).ok();
        "proof".to_owned()
    }

    /// Checks a proof in an empty directory, where no store is.
    fn check(&self, file: &str, trust: &[&str]) -> Ran {
        let empty = self.path("empty");
        fs::create_dir_all(&empty).unwrap();
        let proof = self.path(file);
        let args = [&["check", proof.to_str().unwrap(), "--json"], trust].concat();
        support::ran(support::command_in(&empty, &args).output().unwrap())
    }
}

#[test]
fn keys_are_proved_and_their_absence() {
    let (s, ledger, events) = history();
    let trust = ["--genesis", &*ledger];
    let prove = |args: &[&str]| -> Value { s.check(&s.prove(args), &trust).json() };
    let shown = prove(&["key", "a"]);
    assert_eq!((&shown["present"], &shown["key"]), (&json!(true), &json!("a")));
    assert_eq!((&shown["value"], &shown["written_by"]), (&json!("two"), &json!(events[5])));
    assert_eq!((&shown["counter"], &shown["height"]), (&json!("5"), &json!(2)));
    assert_eq!(shown["kinds"], json!(["register", "counter", "set", "list"]));
    assert_eq!(shown["exists"], json!(["register", "counter"]));
    let past = prove(&["key", "a", "--at", "checkpoint:1"]);
    assert_eq!((&past["value"], &past["height"]), (&json!("one"), &json!(1)));
    assert_eq!(prove(&["key", "tags"])["set"], json!(["x"]));
    assert_eq!(prove(&["key", "list"])["list"]["count"], 1);
    let absent = prove(&["key", "nothing"]);
    assert_eq!((&absent["present"], &absent["exists"]), (&json!(false), &json!([])));
    let key = s.a(&["identity", "show", "--json"]).json();
    let member = prove(&["member", text(&key, "key")]);
    assert_eq!(member["roles"], json!(["admin"]));
    assert_eq!(prove(&["member", &validators()[5]])["present"], false);
    s.event(&["redact", &events[4]]);
    let erased = prove(&["key", "gone"]);
    assert_eq!((&erased["present"], &erased["value"]), (&json!(true), &json!(null)));
    let people = s.run(&["check", "proof", "--genesis", &ledger]).ok();
    assert!(people.contains("register    <not shown>, by event bafyr4i"), "{people}");
    s.refused(2, &["prove", "key", ""]);
    s.refused(3, &["prove", "key", "a", "--at", "9"]);
    s.refused(2, &["prove", "key", "a", "--at", "2026-05-01T12:00:00Z"]);
    s.refused(2, &["prove", "key", "a", "--json"]);
    s.refused(3, &["prove", "member", "nobody"]);
    s.refused(3, &["prove", "member", "alice", "--at", "1"]);
    s.refused(2, &["prove", "member"]);
}

/// What a ledger holds cannot be taken for what the program says of it.
#[test]
fn what_is_proved_is_shown_between_quotes() {
    let s = Scratch::certified();
    let ledger = text(&s.state("a"), "ledger").to_owned();
    s.event(&["put", "k", "x, by event bafyr4i"]);
    for member in ["<not shown>", "a\nb", "a\\nb", "\"", "\u{1b}[2J"] {
        s.event(&["add", "s", member]);
    }
    let own = text(&s.a(&["identity", "show", "--json"]).json(), "key").to_owned();
    s.certify("a");
    let shown = |args: &[&str]| {
        s.prove(args);
        s.run(&["check", "proof", "--genesis", &ledger]).ok()
    };
    let register = shown(&["key", "k"]);
    assert!(register.starts_with("key         \"k\"\n"), "{register}");
    assert!(register.contains("\"x, by event bafyr4i\", by event bafyr4i"), "{register}");
    let set = shown(&["key", "s"]);
    for member in [r#""<not shown>""#, r#""a\nb""#, r#""a\\nb""#, r#""\"""#, r#""\u{1b}[2J""#] {
        assert!(set.contains(&format!("member      {member}\n")), "{member}: {set}");
    }
    let member = shown(&["member", &own]);
    assert!(member.starts_with(&format!("author      {own}\n")), "{member}");
}

#[test]
fn events_are_proved_erased_or_not() {
    let (s, ledger, events) = history();
    s.event(&["redact", &events[4]]);
    for event in [&events[0], &events[4], &ledger] {
        let shown = s.check(&s.prove(&["event", event]), &["--genesis", &ledger]).json();
        assert_eq!((&shown["present"], &shown["event"]), (&json!(true), &json!(event)));
        assert_eq!(shown["ledger"], json!(ledger));
    }
    let people = s.run(&["check", "proof", "--genesis", &ledger]).ok();
    assert!(people.starts_with(&format!("event       {ledger}\n")), "{people}");
    let late = s.event(&["put", "a", "three"]);
    let ran = s.refused(5, &["prove", "event", &late]);
    assert!(ran.stderr.contains("is not certified yet"), "{}", ran.stderr);
    s.refused(3, &["prove", "event", "zzzzzzzzzz"]);
    s.refused(2, &["prove", "event"]);
    s.refused(1, &["prove", "event", &events[0], "-o", "no/such/dir"]);
}

#[test]
fn logs_are_proved_to_grow() {
    let (s, ledger, _) = history();
    let keys = validators();
    // Validators change: the proof shows it.
    s.event(&["member", "grant", &keys[4], "validator"]);
    s.certify("a");
    s.event(&["put", "b", "1"]);
    let last = s.certify("a");
    let shown = s.check(&s.prove(&["extends", "1", "4"]), &["--genesis", &ledger]).json();
    assert_eq!((&shown["from"]["height"], &shown["height"]), (&json!(1), &json!(4)));
    assert_eq!(shown["checkpoint"], last);
    s.check(&s.prove(&["extends", "checkpoint:3", "4"]), &["--genesis", &ledger]).ok();
    s.refused(2, &["prove", "extends", "4", "1"]);
    s.refused(2, &["prove", "extends", "2", "2"]);
    s.refused(3, &["prove", "extends", "1", "9"]);
    s.refused(2, &["prove", "extends", "0", "1"]);
    s.refused(2, &["prove", "extends", "1"]);
}

#[test]
fn a_trusted_checkpoint_stands_for_all_before_it() {
    let (s, ledger, events) = history();
    let list = s.a(&["checkpoint", "list", "--json"]).lines();
    let [second, first] = [&list[0], &list[1]].map(|c| text(c, "checkpoint").to_owned());
    let proof = s.prove(&["key", "a", "--since", "1"]);
    assert_eq!(s.check(&proof, &["--trusted", &first]).json()["value"], "two");
    assert_eq!(s.check(&proof, &["--trusted", &second]).code, 21);
    let ran = s.check(&proof, &["--genesis", &ledger]);
    assert_eq!(ran.code, 21);
    assert!(ran.stderr.contains("hint: `--trusted`"), "{}", ran.stderr);
    // What the trusted one says itself needs no certificate.
    let proof = s.prove(&["event", &events[5], "--since", "checkpoint:2"]);
    assert_eq!(s.check(&proof, &["--trusted", &second]).json()["height"], 2);
    s.check(&s.prove(&["extends", "1", "2", "--since", "1"]), &["--trusted", &first]).ok();
    s.refused(2, &["prove", "key", "a", "--at", "1", "--since", "2"]);
    s.refused(3, &["prove", "key", "a", "--since", "9"]);
    s.refused(2, &["prove", "key", "a", "--since", "first"]);
}

#[test]
fn what_is_no_proof_is_refused() {
    let (s, ledger, _) = history();
    let proof = fs::read(s.path(&s.prove(&["key", "a"]))).unwrap();
    let ran = s.feed(&["check", "-", "--genesis", &ledger, "--json"], &proof);
    assert_eq!(ran.json()["value"], "two");
    for place in (0..proof.len()).step_by(proof.len() / 24) {
        let mut changed = proof.clone();
        changed[place] ^= 1;
        let ran = s.feed(&["check", "-", "--genesis", &ledger, "--json"], &changed);
        assert_eq!((ran.code, ran.stdout.len()), (21, 0), "byte {place}");
        assert!(ran.stderr.contains("the proof is refused: "), "{}", ran.stderr);
    }
    s.ok(&["init", "other"]);
    let other = text(&s.state("other"), "ledger").to_owned();
    s.write("empty.proof", b"");
    s.write("short.proof", &proof[..proof.len() - 1]);
    s.write("text.proof", b"trust me");
    for (file, genesis) in [
        ("proof", &other),
        ("empty.proof", &ledger),
        ("short.proof", &ledger),
        ("text.proof", &ledger),
    ] {
        let ran = s.check(file, &["--genesis", genesis]);
        assert_eq!((ran.code, ran.stdout.len()), (21, 0), "{file}: {}", ran.stderr);
    }
    assert_eq!(s.check("no.proof", &["--genesis", &ledger]).code, 1);
    assert_eq!(s.check("proof", &[]).code, 2);
    let said = s.check("proof", &["--genesis", "bafy"]);
    assert_eq!((said.code, said.stderr.matches("bafy").count()), (2, 1), "{}", said.stderr);
    assert!(
        s.check("text.proof", &["--genesis", &ledger]).stderr.contains("not what belongs there")
    );
    assert_eq!(s.check("proof", &["--genesis", &ledger, "--trusted", &ledger]).code, 2);
    assert_eq!(s.run(&["check"]).code, 2);
}

#[test]
fn a_proof_goes_to_stdout_or_a_file_as_a_whole() {
    let (s, ..) = history();
    let printed = s.a(&["prove", "key", "a"]);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let written = s.a(&["prove", "key", "a", "-o", "proof", "--json"]).json();
    let file = fs::read(s.path("proof")).unwrap();
    assert_eq!(file, printed.stdout);
    assert_eq!(written, json!({"file": "proof", "bytes": file.len()}));
    assert!(file.len() < 6 * 1024, "{}", file.len());
}
