//! Backups and what is restored from them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use serde_json::{Value, json};
use support::{Scratch, command_in, fields, text};

/// A store with a value and one backup.
fn backed_up() -> Scratch {
    let s = Scratch::with_store();
    s.event(&["put", "k", "v"]);
    s.a(&["backup", "backups"]).ok();
    s
}

fn numbers(list: &[Value]) -> Vec<u64> {
    list.iter().map(|backup| backup["backup"].as_u64().unwrap()).collect()
}

#[test]
fn backups_are_made_listed_and_kept() {
    let s = Scratch::with_store();
    s.event(&["put", "k", "v"]);
    let made = s.a(&["backup", "backups", "--json"]).json();
    let all = ["backup", "bytes", "events", "files", "key", "ledger", "time"];
    let mut more = [&all[..], &["added_bytes", "removed"]].concat();
    more.sort_unstable();
    assert_eq!(fields(&made), more);
    let shown = s.a(&["identity", "show", "--json"]).json();
    assert_eq!((&made["key"], &made["ledger"]), (&shown["key"], &shown["ledger"]));
    assert_eq!((&made["backup"], &made["events"]), (&json!(1), &json!(2)));
    s.event(&["put", "k", "w"]);
    let plain = s.a(&["backup", "backups"]);
    assert!(plain.stderr.contains(" added to "), "{}", plain.stderr);
    assert!(plain.ok().starts_with("backup 2  "));
    // Listing needs no store.
    let list = s.run(&["backup", "--list", "backups", "--json"]).lines();
    assert_eq!((fields(&list[0]), numbers(&list)), (all.to_vec(), vec![1, 2]));
    assert_eq!(s.ok(&["backup", "--list", "backups"]).lines().count(), 2);
    let third = s.a(&["backup", "backups", "--keep", "2", "--json"]).json();
    assert_eq!(third["removed"], json!([1]));
    assert_eq!(numbers(&s.run(&["backup", "--check", "backups", "--json"]).lines()), [2, 3]);
}

#[test]
fn a_backup_is_restored_with_a_new_key() {
    let s = backed_up();
    let event = s.event(&["put", "k", "later"]);
    let restored = s.run(&["restore", "backups", "b", "--json"]).json();
    assert_eq!(fields(&restored), ["backup", "dir", "events", "key", "ledger", "name", "time"]);
    let old = s.a(&["identity", "show", "--json"]).json();
    assert_eq!((&restored["ledger"], &restored["dir"]), (&old["ledger"], &json!("b")));
    assert_eq!((&restored["backup"], &restored["events"]), (&json!(1), &json!(2)));
    assert_ne!(restored["key"], old["key"]);
    assert_eq!(s.on("b", &["get", "k"]).ok(), "v");
    s.on("b", &["verify"]).ok();
    assert_eq!(s.on("b", &["show", &event]).code, 3);
    assert_eq!(s.on("b", &["put", "k", "x"]).code, 20);
    s.event(&["member", "grant", text(&restored, "key"), "writer"]);
    s.on("b", &["merge", "a"]).ok();
    s.on("b", &["put", "k", "x"]).ok();
    s.event(&["put", "k", "y"]);
    s.a(&["merge", "b"]).ok();
    assert_eq!(s.a(&["status", "--json"]).json()["forks"], json!({}));
    let plain = s.run(&["restore", "backups", "c", "--backup", "1"]);
    for says in ["a new key", "may still be written to", "quipu member grant"] {
        assert!(plain.stderr.contains(says), "{}", plain.stderr);
    }
    assert!(plain.ok().starts_with("ledger "));
}

#[test]
fn a_restored_key_can_be_encrypted_or_the_old_one() {
    let s = backed_up();
    s.write("pass", b"correct horse\n");
    s.ok(&["--passphrase-file", "pass", "restore", "backups", "b"]);
    assert!(std::fs::read_to_string(s.path("b/identity.pem")).unwrap().contains("ENCRYPTED"));
    // Without a terminal nobody can be asked.
    assert_eq!(s.run(&["restore", "backups", "c", "--encrypt"]).code, 1);
    assert!(!s.path("c").exists());
    let moved = s.run(&["restore", "backups", "c", "--key", "a/identity.pem", "--json"]);
    assert!(moved.stderr.contains("identity keep"), "{}", moved.stderr);
    assert_eq!(moved.json()["key"], s.a(&["identity", "show", "--json"]).json()["key"]);
    assert!(s.on("c", &["put", "k", "w"]).stderr.contains("looks like a copy"));
    s.on("c", &["identity", "keep"]).ok();
    assert_eq!(s.on("c", &["put", "k", "w"]).stderr, "");
}

#[test]
fn backup_refuses() {
    let s = backed_up();
    std::fs::create_dir(s.path("full")).unwrap();
    s.write("full/mine", b"");
    s.ok(&["init", "other"]);
    s.refused(2, &["backup"]);
    s.refused(2, &["backup", "backups", "--keep", "0"]);
    s.refused(2, &["backup", "backups", "--list", "--keep", "1"]);
    s.refused(1, &["backup", "full"]);
    s.refused(1, &["backup", "a/backups"]);
    s.refused(10, &["backup", "--list", "full"]);
    s.refused(10, &["backup", "--check", "nowhere"]);
    assert_eq!(s.run(&["backup", "new"]).code, 10);
    assert!(!s.path("new").exists());
    let refused = s.on("other", &["backup", "backups", "--json"]);
    assert_eq!(refused.code, 20);
    let refused: Value = serde_json::from_str(&refused.text()).unwrap();
    assert_eq!((&refused["error"], &refused["reason"]), (&json!("refused"), &json!("genesis")));
    let lock = std::fs::File::open(s.path("backups/.quipu-lock")).unwrap();
    lock.lock().unwrap();
    s.refused(11, &["backup", "backups"]);
    s.refused(11, &["backup", "backups", "--list"]);
}

/// What counts is where a path leads, not how it is written.
#[test]
fn a_backup_is_beside_the_store_however_it_is_named() {
    let s = Scratch::with_store();
    std::fs::create_dir(s.path("a/inner")).unwrap();
    std::os::unix::fs::symlink("a/inner", s.path("link")).unwrap();
    let within =
        |dir: &str| support::ran(command_in(&s.path("a"), &["backup", dir]).output().unwrap());
    within("../backups").ok();
    within("../new/../more").ok();
    within("inner/../../third").ok();
    assert_eq!(s.ok(&["backup", "--list", "backups"]).lines().count(), 1);
    for inside in ["link", "link/below", "a/../a/inner", "new/../a/below", "new/../link"] {
        let ran = s.refused(1, &["backup", inside]);
        assert!(ran.stderr.contains("is in the store itself"), "{inside}: {}", ran.stderr);
    }
    assert_eq!(within("../a/below").code, 1);
    assert_eq!(std::fs::read_dir(s.path("a/inner")).unwrap().count(), 0);
    let mut daemon = s.serve("a");
    within("../backups").ok();
    assert_eq!(within("inner").code, 1);
    daemon.stop();
}

#[test]
fn restore_refuses() {
    let s = backed_up();
    std::fs::create_dir(s.path("full")).unwrap();
    s.write("full/mine", b"");
    s.refused(2, &["restore", "backups"]);
    s.refused(2, &["restore", "backups", "b", "--backup", "last"]);
    s.refused(3, &["restore", "backups", "b", "--backup", "7"]);
    s.refused(10, &["restore", "nowhere", "b"]);
    s.refused(10, &["restore", "a", "b"]);
    s.refused(1, &["restore", "backups", "full"]);
    s.refused(1, &["restore", "backups", "a"]);
    s.refused(1, &["restore", "backups", "b", "--key", "nowhere"]);
    assert!(!s.path("b").exists());
}

#[test]
fn damage_is_told() {
    let s = backed_up();
    s.event(&["put", "k", "w"]);
    s.a(&["backup", "backups"]).ok();
    let manifest = std::fs::read_dir(s.path("backups/private/2")).unwrap();
    let mut names = manifest.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.find(|name| name.starts_with("MANIFEST")).unwrap();
    let name = format!("backups/private/2/{name}");
    let mut bytes = std::fs::read(s.path(&name)).unwrap();
    bytes[20] ^= 1;
    s.write(&name, &bytes);
    assert_eq!(s.run(&["backup", "--list", "backups"]).code, 0);
    let checked = s.run(&["backup", "--check", "backups", "--json"]);
    assert_eq!(checked.code, 21, "{}", checked.stderr);
    let lines: Vec<Value> =
        checked.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((numbers(&lines), fields(&lines[1])), (vec![1, 2], vec!["backup", "damaged"]));
    assert!(text(&lines[1], "damaged").contains("MANIFEST"));
    let refused = s.run(&["restore", "backups", "b", "--json"]);
    assert_eq!(refused.code, 20);
    assert!(refused.stderr.contains("MANIFEST"), "{}", refused.stderr);
    let refused: Value = serde_json::from_str(&refused.text()).unwrap();
    assert_eq!(refused, json!({"error": "refused", "reason": "corrupt", "event": null}));
    assert!(!s.path("b").exists());
    s.ok(&["restore", "backups", "b", "--backup", "1"]);
    assert_eq!(s.on("b", &["get", "k"]).ok(), "v");
}
