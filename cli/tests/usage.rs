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
