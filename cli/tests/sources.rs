//! Real source trees: releases of crates from cargo's registry, stored, replaced, collected and
//! restored.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::Scratch;

/// Packages with more than so many bytes are left out, as it is a small test.
const MAX_PACKAGE_LEN: u64 = 3 << 20;

/// What cargo has unpacked of this workspace's dependencies: the releases of each package, older
/// ones first.
fn releases() -> BTreeMap<String, Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registry = home.unwrap_or_default().join("registry/src");
    let sources: Vec<_> = fs::read_dir(registry).into_iter().flatten().flatten().collect();
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock"));
    let mut found = BTreeMap::<String, Vec<PathBuf>>::new();
    let mut name = String::new();
    for line in lock.unwrap().lines() {
        match line.split_once(" = ") {
            Some(("name", value)) => name = value.trim_matches('"').to_owned(),
            Some(("version", version)) => {
                let package = format!("{name}-{}", version.trim_matches('"'));
                let dirs = sources.iter().map(|source| source.path().join(&package));
                let dirs = dirs.filter(|dir| dir.is_dir() && len(dir) <= MAX_PACKAGE_LEN);
                found.entry(name.clone()).or_default().extend(dirs);
            }
            _ => {}
        }
    }
    found
}

/// The bytes of all files below a directory.
fn len(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let each = entries.map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => len(&entry.path()),
        _ => entry.metadata().unwrap().len(),
    });
    each.sum()
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// Both directories hold the same, byte by byte.
fn assert_same(one: &Path, other: &Path) {
    let diff = Command::new("diff").arg("-r").args([one, other]).output().unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

#[test]
fn a_release_is_replaced_and_the_earlier_one_collected() {
    let mut packages = releases();
    packages.retain(|_, dirs| dirs.len() > 1);
    if packages.is_empty() {
        eprintln!("SKIPPED real source trees: cargo's registry has no package in two releases");
        return;
    }
    let s = Scratch::with_store();
    for side in ["old", "new"] {
        fs::create_dir(s.path(side)).unwrap();
    }
    for (name, dirs) in &packages {
        copy(&dirs[0], &s.path("old").join(name));
        copy(&dirs[dirs.len() - 1], &s.path("new").join(name));
    }
    let events = s.a(&["put", "--dir", "old", "t/", "--json"]).lines();
    let then = s.a(&["clock"]).ok().trim().to_owned();
    s.a(&["put", "--dir", "new", "t/"]).ok();
    s.a(&["get", "--dir", "t/", "now"]).ok();
    assert_same(&s.path("new"), &s.path("now"));
    s.a(&["get", "--dir", "t/", "then", "--at", &then]).ok();
    assert_same(&s.path("old"), &s.path("then"));
    // The past refers to all of it.
    assert_eq!(s.a(&["gc", "--grace", "0s", "--json"]).json()["blocks"], 0);

    for event in &events {
        s.event(&["redact", event["event"].as_str().unwrap()]);
    }
    let told = s.a(&["put", "--dir", "new", "t/"]).stderr;
    assert!(told.contains("stored"), "{told}");
    let report = s.a(&["gc", "--json"]).json();
    assert!(report["blocks"].as_u64().unwrap() > 0, "{report}");
    assert!(report["disk_after"].as_u64() < report["disk_before"].as_u64(), "{report}");
    s.a(&["get", "--dir", "t/", "later"]).ok();
    assert_same(&s.path("new"), &s.path("later"));
    assert_eq!(s.a(&["get", "--dir", "t/", "gone", "--at", &then]).code, 4);
    s.a(&["verify"]).ok();
}
