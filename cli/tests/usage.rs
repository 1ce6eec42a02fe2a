//! What commands take, where new stores go, and what help says of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use support::Scratch;

#[test]
fn a_new_store_is_named_once() {
    let s = Scratch::new();
    let is_store = |name: &str| s.path(name).join("identity.pem").exists();
    let with_env = |args: &[&str]| {
        let output = s.command(args).env("QUIPU_STORE", "named").output().unwrap();
        output.status.code()
    };
    assert_eq!(with_env(&["init"]), Some(0));
    assert_eq!(with_env(&["init"]), Some(1));
    assert!(is_store("named"));
    assert_eq!(with_env(&["clone", "named", "other"]), Some(0));
    assert!(is_store("other"));
    s.ok(&["--store", "a", "init"]);
    s.ok(&["--store", "b", "clone", "a"]);
    assert!(is_store("a") && is_store("b"));
    for args in [
        &["--store", "c", "init", "d"][..],
        &["init", "d", "--store", "c"],
        &["--store", "c", "clone", "a", "d"],
    ] {
        let ran = s.run(args);
        assert_eq!((ran.code, &*ran.text()), (2, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("--store and DIR"), "{}", ran.stderr);
        assert!(!s.path("c").exists() && !s.path("d").exists());
    }
    s.ok(&["init"]);
    assert!(is_store(".quipu"));
}

#[test]
fn help_says_what_is_meant_where_nothing_is_given() {
    let s = Scratch::new();
    for (command, words) in [
        (&["author", "name"][..], &["its unique start", "1 to 64 bytes"][..]),
        (&["prove", "member"], &["a height, or checkpoint:N"]),
        (&["put"], &["for ever unless given", "from 1 to 10,000"]),
        (&["token", "add"], &["never unless given"]),
        (&["checkpoint", "list"], &["all unless given"]),
        (&["merge"], &["values and operations"]),
        (&["import"], &["values and operations"]),
        (&["clone"], &["Not with --shallow", "Not with --verify-signatures", "QUIPU_STORE says"]),
        (&["watch"], &["a height, or checkpoint:N"]),
    ] {
        let help = s.ok(&[command, &["--help"]].concat());
        // Terminals are that wide, and examples are not wrapped.
        let (_, after) = help.split_once("Examples:").unwrap_or_default();
        assert!(after.lines().all(|line| line.chars().count() <= 100), "{after}");
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().for_each(|words| assert!(help.contains(words), "{command:?}: {words}"));
    }
    let extends = s.ok(&["prove", "extends", "--help"]);
    assert_eq!(extends.matches("or checkpoint:N").count(), 3, "{extends}");
}
