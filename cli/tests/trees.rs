//! Trees of files, stored and restored.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Scratch, fields, ran};

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
enum Node {
    File { content: Vec<u8>, executable: bool },
    Symlink(PathBuf),
}

/// All that is in a directory; empty directories count for nothing.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Node> {
    let (mut nodes, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let node = if metadata.is_dir() {
                open.push(path);
                continue;
            } else if metadata.is_symlink() {
                Node::Symlink(fs::read_link(&path).unwrap())
            } else {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                Node::File { content: fs::read(&path).unwrap(), executable }
            };
            nodes.insert(path.strip_prefix(dir).unwrap().to_owned(), node);
        }
    }
    nodes
}

fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A store `a`, and a tree of all kinds of files in `in`.
fn with_tree() -> Scratch {
    let s = Scratch::with_store();
    fs::create_dir_all(s.path("in/sub/deep/er")).unwrap();
    s.write("in/empty", b"");
    s.write("in/short", b"short");
    s.write("in/limit", &noise(4096, 1));
    s.write("in/beyond", &noise(4097, 2));
    s.write("in/sub/long", &noise(3_000_000, 3));
    s.write("in/sub/deep/er/\u{fc} [1] \n*", b"odd name");
    s.write("in/sub/.hidden", b"dot");
    s.write("in/sub/tool", b"#!/bin/sh\n");
    set_mode(&s.path("in/sub/tool"), 0o755);
    symlink("sub/long", s.path("in/link")).unwrap();
    symlink("../..", s.path("in/sub/up")).unwrap();
    symlink("/nowhere/at/all", s.path("in/dangling")).unwrap();
    s
}

fn put(s: &Scratch) -> String {
    let ran = s.a(&["put", "--dir", "in", "t/"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stderr
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let s = with_tree();
    assert!(put(&s).contains("11 files stored, 0 unchanged, 0 deleted, in 1 event"));
    let restored = s.a(&["get", "--dir", "t/", "out/new", "--json"]).json();
    assert_eq!(tree(&s.path("out/new")), tree(&s.path("in")));
    let expected = ["bytes", "conflicts", "dir", "files", "symlinks", "unavailable"];
    assert_eq!(fields(&restored), expected);
    assert_eq!((&restored["files"], &restored["symlinks"]), (&8.into(), &3.into()));
    let members = s.a(&["get", "t/"]).ok();
    assert_eq!(members, "l:dangling\nl:link\nl:sub/up\nx:sub/tool\n");
    assert_eq!(s.a(&["get", "t/link"]).ok(), "sub/long");
    assert_eq!(s.a(&["get", "t/sub/tool"]).ok(), "#!/bin/sh\n");
    // Into a directory that is there and empty, too.
    fs::create_dir(s.path("empty")).unwrap();
    let ran = s.a(&["get", "--dir", "t/", "empty"]);
    assert!(ran.stderr.contains("8 files and 3 symlinks"), "{}", ran.stderr);
    ran.ok();
    assert_eq!(tree(&s.path("empty")), tree(&s.path("in")));
}

#[test]
fn permissions_follow_the_umask() {
    let s = with_tree();
    put(&s);
    let quipu = env!("CARGO_BIN_EXE_quipu");
    let script = format!("umask 022; exec '{quipu}' --store a get --dir t/ out");
    let output = Command::new("sh").args(["-c", &script]).current_dir(s.path("")).output().unwrap();
    ran(output).ok();
    let mode = |path: &str| s.path(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("out/short"), mode("out/sub/tool")), (0o644, 0o755));
}

#[test]
fn only_what_has_changed_is_written_again() {
    let s = with_tree();
    put(&s);
    let before = s.state("a");
    assert!(put(&s).contains("0 files stored, 11 unchanged, 0 deleted, in 0 events"));
    assert_eq!(s.state("a"), before);
    let old = tree(&s.path("in"));
    let cut = s.a(&["clock"]).ok().trim().to_owned();

    // Other content of the same length, short and long; a file for a symlink, and the reverse;
    // permissions and nothing else.
    s.write("in/short", b"shorn");
    s.write("in/sub/long", &noise(3_000_000, 4));
    fs::remove_file(s.path("in/link")).unwrap();
    s.write("in/link", b"sub/long");
    fs::remove_file(s.path("in/limit")).unwrap();
    symlink("short", s.path("in/limit")).unwrap();
    set_mode(&s.path("in/sub/tool"), 0o644);
    set_mode(&s.path("in/beyond"), 0o755);
    s.write("in/fresh", b"");
    fs::remove_file(s.path("in/dangling")).unwrap();
    fs::remove_dir_all(s.path("in/sub/deep")).unwrap();
    let event = s.a(&["put", "--dir", "in", "t/", "--json"]).json();
    let mut ops: Vec<_> = event["ops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|op| {
            let name = |field: &str| op[field].as_str().unwrap_or_default();
            format!("{} {} {}", name("op"), name("key"), name("member"))
        })
        .collect();
    ops.sort_unstable();
    let expected = [
        "add t/ l:limit",
        "add t/ x:beyond",
        "del t/dangling ",
        "del t/sub/deep/er/\u{fc} [1] \n* ",
        "put t/fresh ",
        "put t/limit ",
        "put t/short ",
        "put t/sub/long ",
        "rem t/ l:dangling",
        "rem t/ l:link",
        "rem t/ x:sub/tool",
    ];
    assert_eq!(ops, expected);

    s.a(&["get", "--dir", "t/", "new"]).ok();
    assert_eq!(tree(&s.path("new")), tree(&s.path("in")));
    s.a(&["get", "--dir", "t/", "old", "--at", &cut]).ok();
    assert_eq!(tree(&s.path("old")), old);
}

#[test]
fn other_keys_stay_as_they_are() {
    let s = with_tree();
    for args in [
        &["put", "t", "1"][..],
        &["put", "t/", "2"],
        &["put", "tt/x", "3"],
        &["inc", "t/count"],
        &["append", "t/list", "4"],
        &["add", "t/set", "5"],
        &["add", "t/", "mine", "x:gone"],
    ] {
        s.event(args);
    }
    put(&s);
    assert_eq!(s.a(&["get", "t"]).ok(), "1");
    assert_eq!(s.a(&["get", "t/", "--type", "register"]).ok(), "2");
    assert_eq!(s.a(&["get", "tt/x"]).ok(), "3");
    assert_eq!(s.a(&["get", "t/count"]).ok(), "1\n");
    assert_eq!(s.a(&["get", "t/set"]).ok(), "5\n");
    let members = s.a(&["get", "t/", "--type", "set"]).ok();
    assert_eq!(members, "l:dangling\nl:link\nl:sub/up\nmine\nx:sub/tool\n");
    s.a(&["get", "--dir", "t/", "out"]).ok();
    assert_eq!(tree(&s.path("out")), tree(&s.path("in")));
    // An empty directory leaves no file, and nothing else is touched.
    fs::create_dir(s.path("none")).unwrap();
    let ran = s.a(&["put", "--dir", "none", "t/"]);
    assert!(ran.stderr.contains("0 files stored, 0 unchanged, 11 deleted"), "{}", ran.stderr);
    assert_eq!(s.a(&["keys", "t", "--type", "register"]).ok(), "t\nt/\ntt/x\n");
    assert_eq!(s.a(&["get", "t/", "--type", "set"]).ok(), "mine\n");
}

#[test]
fn many_files_are_several_events() {
    let s = Scratch::with_store();
    fs::create_dir(s.path("in")).unwrap();
    for number in 0..2500 {
        s.write(&format!("in/{number}"), number.to_string().as_bytes());
    }
    let events = s.a(&["put", "--dir", "in", "t/", "--json"]).lines();
    let lens: Vec<_> = events.iter().map(|event| event["ops"].as_array().unwrap().len()).collect();
    assert_eq!((lens.len(), lens.iter().sum::<usize>()), (3, 2500));
    assert!(lens.iter().all(|len| *len <= 1000), "{lens:?}");
    s.a(&["get", "--dir", "t/", "out"]).ok();
    assert_eq!(tree(&s.path("out")), tree(&s.path("in")));
}

#[test]
fn the_store_itself_is_left_out() {
    let s = Scratch::new();
    fs::create_dir(s.path("work")).unwrap();
    s.write("work/file", b"content");
    let run = |args: &[&str]| ran(support::command_in(&s.path("work"), args).output().unwrap());
    run(&["init", "--name", "n"]).ok();
    // Another store has a key in it, too.
    run(&["init", "other", "--name", "n"]).ok();
    let ran = run(&["put", "--dir", ".", "t/"]);
    assert!(ran.stderr.contains("1 file stored"), "{}", ran.stderr);
    assert_eq!(run(&["keys"]).ok(), "t/file\n");
    assert_eq!(run(&["put", "--dir", "other", "t/"]).code, 2);
}

#[test]
fn special_files_are_left_out_with_a_warning() {
    let s = Scratch::with_store();
    fs::create_dir(s.path("in")).unwrap();
    s.write("in/file", b"content");
    let socket = std::os::unix::net::UnixListener::bind(s.path("in/socket")).unwrap();
    let told = put(&s);
    assert!(told.contains("in/socket: left out"), "{told}");
    assert_eq!(s.a(&["keys"]).ok(), "t/file\n");
    drop(socket);
}

#[test]
fn put_refuses() {
    let s = with_tree();
    s.refused(2, &["put", "--dir", "in", "t"]);
    s.refused(2, &["put", "--dir", "in", ""]);
    s.refused(2, &["put", "--dir", "in"]);
    s.refused(2, &["put", "--dir", "in", "t/", "value"]);
    s.refused(2, &["put", "--dir", "in", "t/", "--if-absent"]);
    s.refused(2, &["put", "--dir", "in", "--batch", "f"]);
    s.refused(1, &["put", "--dir", "nowhere", "t/"]);
    s.refused(1, &["put", "--dir", "in/short", "t/"]);
    let long = format!("{}/", "x".repeat(1020));
    let told = s.refused(2, &["put", "--dir", "in", &long]).stderr;
    assert!(told.contains("bytes, not 1 to 1,024") && told.contains("in/"), "{told}");
    let odd = s.path("in").join(OsStr::from_bytes(b"bad\xff"));
    fs::write(odd, b"").unwrap();
    let told = s.refused(2, &["put", "--dir", "in", "t/"]).stderr;
    assert!(told.contains("in/bad") && told.contains("not UTF-8"), "{told}");
}

#[test]
fn get_refuses() {
    let s = with_tree();
    put(&s);
    s.refused(2, &["get", "--dir", "t", "out"]);
    s.refused(2, &["get", "--dir", "t/"]);
    s.refused(2, &["get", "--dir", "t/", "out", "--all"]);
    s.refused(2, &["get", "--dir", "t/", "out", "--range", "0..1"]);
    s.refused(2, &["get", "key", "--dir", "t/", "out"]);
    s.refused(3, &["get", "--dir", "u/", "out"]);
    assert!(!s.path("out").exists());
    let before = tree(&s.path("in"));
    let told = s.refused(1, &["get", "--dir", "t/", "in"]).stderr;
    assert!(told.contains("not empty"), "{told}");
    s.refused(1, &["get", "--dir", "t/", "in/short"]);
    s.refused(1, &["get", "--dir", "t/", "in/link"]);
    assert_eq!(tree(&s.path("in")), before);
}

#[test]
fn no_key_leads_out_of_the_directory() {
    for path in
        ["../escaped", "sub/../../escaped", "/escaped", "sub//file", ".", "sub/.", "..", "dir/"]
    {
        let s = Scratch::with_store();
        let key = format!("t/{path}");
        s.event(&["put", "t/fine", "1"]);
        s.event(&["put", &key, "2"]);
        let told = s.refused(1, &["get", "--dir", "t/", "new/out"]).stderr;
        assert!(told.contains(&key), "{told}");
        assert!(!s.path("new").exists() && !s.path("escaped").exists());
        // Storing a tree there makes it whole again.
        fs::create_dir(s.path("in")).unwrap();
        s.write("in/fine", b"1");
        assert!(put(&s).contains("0 files stored, 1 unchanged, 1 deleted"));
        s.a(&["get", "--dir", "t/", "new/out"]).ok();
    }
    let s = Scratch::with_store();
    s.write("batch", b"{\"op\":\"put\",\"key\":\"t/a\\u0000b\",\"value\":\"\"}\n");
    s.a(&["put", "--batch", "batch"]).ok();
    s.refused(1, &["get", "--dir", "t/", "out"]);
    assert!(!s.path("out").exists());
}

#[test]
fn no_file_is_written_through_another() {
    let s = Scratch::with_store();
    fs::create_dir(s.path("outside")).unwrap();
    s.event(&["put", "t/way", s.path("outside").to_str().unwrap()]);
    s.event(&["add", "t/", "l:way"]);
    s.a(&["get", "--dir", "t/", "harmless"]).ok();
    s.event(&["put", "t/way/in/deep", "planted"]);
    let told = s.refused(1, &["get", "--dir", "t/", "out"]).stderr;
    assert!(told.contains("t/way/in/deep") && told.contains("another file"), "{told}");
    assert!(!s.path("out").exists());
    assert!(tree(&s.path("outside")).is_empty());
}

#[test]
fn what_is_gone_is_named_and_the_rest_restored() {
    let s = with_tree();
    put(&s);
    s.write("in/short", b"secret");
    let event = s.a(&["put", "--dir", "in", "t/", "--json"]).json();
    s.a(&["redact", event["event"].as_str().unwrap()]).ok();
    let ran = s.a(&["get", "--dir", "t/", "out"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("\"t/short\" is erased"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 of 11 files: erased"), "{}", ran.stderr);
    let mut expected = tree(&s.path("in"));
    expected.remove(Path::new("short"));
    assert_eq!(tree(&s.path("out")), expected);
    let ran = s.a(&["get", "--dir", "t/", "again", "--json"]);
    assert_eq!(ran.code, 4);
    assert!(ran.text().contains(r#""unavailable":[{"key":"t/short","why":"erased"}]"#));
    // What the ledger does not show is stored again.
    assert!(put(&s).contains("1 file stored, 10 unchanged"));
    s.a(&["get", "--dir", "t/", "whole"]).ok();
}

#[test]
fn of_a_conflict_the_first_value_is_restored() {
    let s = Scratch::with_store();
    s.ok(&["clone", "a", "b", "--grant", "writer"]);
    s.event(&["put", "t/file", "left"]);
    s.on("b", &["put", "t/file", "right"]).ok();
    s.a(&["merge", "b"]).ok();
    let ran = s.a(&["get", "--dir", "t/", "out"]);
    assert!(ran.stderr.contains("\"t/file\" has several values"), "{}", ran.stderr);
    ran.ok();
    let shown = s.a(&["get", "t/file"]).ok();
    assert_eq!(fs::read_to_string(s.path("out/file")).unwrap(), shown);
    // Storing the tree settles it, though the content is the one that is shown.
    let ran = s.a(&["put", "--dir", "out", "t/"]);
    assert!(ran.stderr.contains("1 file stored"), "{}", ran.stderr);
    assert_eq!(s.a(&["conflicts"]).ok(), "");
}

#[test]
fn du_counts_each_block_once() {
    let s = Scratch::with_store();
    s.write("long", &noise(1_000_000, 5));
    s.event(&["put", "a/1", "--file", "long"]);
    s.event(&["put", "a/2", "short"]);
    let before = s.a(&["du", "a/", "--json"]).json();
    let expected =
        ["blocks", "logical", "prefix", "pruned", "saved", "stored", "unavailable", "values"];
    assert_eq!(fields(&before), expected);
    assert_eq!((&before["values"], &before["logical"]), (&2.into(), &1_000_005.into()));
    assert_eq!((&before["saved"], &before["unavailable"]), (&0.into(), &0.into()));
    let stored = before["stored"].as_u64().unwrap();
    assert!((1_000_005..1_010_000).contains(&stored), "{before}");
    assert!(before["blocks"].as_u64().unwrap() > 1);

    s.event(&["put", "a/3", "--file", "long"]);
    s.event(&["append", "b/list", "--file", "long"]);
    let after = s.a(&["du", "a/", "b/", "", "--json"]).lines();
    assert_eq!(after[0]["logical"], 2_000_005);
    assert_eq!((&after[0]["stored"], &after[0]["saved"]), (&before["stored"], &1_000_000.into()));
    assert_eq!((&after[1]["values"], &after[1]["saved"]), (&1.into(), &0.into()));
    assert_eq!((&after[2]["stored"], &after[2]["saved"]), (&before["stored"], &2_000_000.into()));
    let told = s.a(&["du"]).ok();
    assert!(told.starts_with("2.86 MiB in 4 values, "), "{told}");

    assert_eq!(s.a(&["du", "nothing", "--json"]).json()["values"], 0);
    s.refused(3, &["du", "--at", "zzzzzzzzzz:1"]);
    s.refused(2, &["du", "--range", "0..1"]);
    s.refused(2, &["du", "--at", ""]);
}
