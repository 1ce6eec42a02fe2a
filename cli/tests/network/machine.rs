//! What this machine can do, and how programs of it are run.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One at a time: daemons and writers of several would slow each other down.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until no other test of this file runs.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether namespaces can be made; where not, it says so, past what the test harness keeps to itself.
pub fn can_make_networks(test: &str) -> bool {
    let why = if !rustix::process::geteuid().is_root() {
        "it takes root"
    } else if !has("ip") {
        "there is no `ip` (iproute2)"
    } else if !has("nft") {
        "there is no `nft` (nftables)"
    } else if !works("unshare", &["--net", "--mount", "true"]) {
        "a network namespace cannot be made"
    } else {
        return true;
    };
    skipped(test, why);
    false
}

pub fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: {why}");
}

/// Whether a program is there.
pub fn has(program: &str) -> bool {
    works("sh", &["-c", "command -v \"$0\"", program])
}

/// libfaketime, where it is installed.
pub fn libfaketime() -> Option<PathBuf> {
    let found = run(
        "sh",
        &[
            "-c",
            "ls -d /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1",
        ],
    );
    let path = String::from_utf8(found.stdout).unwrap();
    Some(PathBuf::from(path.trim())).filter(|path| path.exists())
}

/// Runs a program; whether it succeeded.
pub fn works(program: &str, args: &[&str]) -> bool {
    let ran = Command::new(program).args(args).stdin(Stdio::null()).output();
    ran.is_ok_and(|output| output.status.success())
}

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs a program that must succeed, and gives what it prints.
pub fn must(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {told}", args.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program that must succeed, with something on stdin.
pub fn feed(program: &str, args: &[&str], input: &str) {
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} {}: {input}", args.join(" "));
}
