//! Calls to the system that fail, once or from then on, at the N-th write: by libfiu, under the
//! process that writes.
//!
//! `QUIPU_CALLS=all` tries every call; otherwise it is two of them. It needs `fiu-run` (Debian:
//! `fiu-utils`).

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::child;
use crate::files::{self, Random};
use crate::promised::Promised;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const ROUNDS: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls that change files. What libfiu can fail, and the database uses.
const CALLS: [&str; 7] = [
    "posix/io/sync/fdatasync",
    "posix/io/rw/write",
    "posix/io/sync/fsync",
    "posix/io/rw/pwrite",
    "posix/io/rw/ftruncate",
    "posix/io/dir/rename",
    "posix/io/oc/open",
];
/// After how many events.
const AFTER: [u64; 6] = [0, 1, 7, 15, 16, 40];

#[test]
fn calls_that_fail_take_nothing_that_was_acknowledged() {
    if !child::run("fiu-run", &["-x", "true"]) {
        files::skipped("failing calls", "fiu-run does not run (Debian: fiu-utils)");
        return;
    }
    let mut random = Random::new();
    let all = std::env::var("QUIPU_CALLS").is_ok_and(|which| which == "all");
    let mut cases = Vec::new();
    for (call, error) in CALLS.into_iter().flat_map(|call| [(call, ENOSPC), (call, EIO)]) {
        for once in [true, false] {
            cases.extend(AFTER.map(|after| (call, error, once, after)));
        }
    }
    if !all {
        // Two workloads: the log cannot be synced, the log cannot be written.
        cases.retain(|(call, error, ..)| {
            [("posix/io/sync/fdatasync", EIO), ("posix/io/rw/write", ENOSPC)]
                .contains(&(*call, *error))
        });
    }
    let (mut stopped, mut acknowledged) = (0, 0);
    for (call, error, once, after) in &cases {
        let (reason, count) = fail(call, *error, *once, *after, &mut random);
        stopped += u64::from(reason.is_some());
        acknowledged += count;
        // Nothing is acknowledged that could not be synced or written.
        if *call == "posix/io/sync/fdatasync" {
            let reason = reason.unwrap();
            assert!(reason.contains("IO error"), "{reason}");
        }
    }
    let count = cases.len();
    println!("{count} times failing calls, {stopped} stopped, {acknowledged} events acknowledged");
}

/// Lets a child write until a call fails, and looks at what it leaves.
fn fail(
    call: &str,
    error: i32,
    once: bool,
    after: u64,
    random: &mut Random,
) -> (Option<String>, usize) {
    let what = format!("{call} {error} once: {once} after {after}");
    let dir = files::scratch();
    let (store, acks) = (dir.path().join("store"), dir.path().join("acks"));
    let pipes = dir.path().join("fiu");
    let program = ["fiu-run", "-x", "-f", pipes.to_str().unwrap()];
    let flag = if once { ",onetime" } else { "" };
    let mut child = child::command(Some(&program), &store, &acks)
        .env("QUIPU_FAIL", format!("enable name={call},failinfo={error}{flag}"))
        .env("QUIPU_FAIL_AT", (after + random.below(2)).to_string())
        .env("QUIPU_ROUNDS", ROUNDS.to_string())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.path().join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{what}: the child hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut promised = Promised::default();
    let stopped = child::read(&acks, &mut promised);
    let stderr = fs::read_to_string(dir.path().join("stderr")).unwrap();
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
    assert!(promised.len() as u64 > after, "{what}: {stopped:?}");
    promised.check(&store);
    (stopped, promised.len())
}
