//! One daemon in its namespace, and the commands that go to it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::machine::libfaketime;
use crate::namespaces::{PORT, address};

const QUIPU: &str = env!("CARGO_BIN_EXE_quipu");
/// Enters control groups, and becomes another program.
const ENTER: &str = r#"for group in $1; do echo $$ > "$group" || exit 1; done; shift; exec "$@""#;

/// How its daemon and its commands run.
#[derive(Clone, Debug, Default)]
struct Surroundings {
    /// How far its clock is ahead, in seconds.
    ahead: i64,
    /// Where a process has to enter itself before it becomes the daemon.
    groups: Vec<PathBuf>,
}

/// A store, and the daemon that serves it.
pub struct Node {
    pub number: usize,
    pub store: PathBuf,
    namespace: String,
    log: PathBuf,
    join: Vec<String>,
    surroundings: Mutex<Surroundings>,
    daemon: Mutex<Option<Child>>,
}

/// How a command has ended.
#[derive(Debug)]
pub struct Ran {
    pub done: bool,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Node {
    pub fn new(number: usize, store: PathBuf, namespace: String, join: Vec<String>) -> Self {
        // Beside the store's disk.
        let log = store.parent().unwrap().with_extension("log");
        let (surroundings, daemon) = (Mutex::default(), Mutex::default());
        Self { number, store, namespace, log, join, surroundings, daemon }
    }

    /// Runs a command on its store.
    pub fn run(&self, args: &[&str], input: &str) -> Ran {
        let mut command = Command::new(QUIPU);
        command.arg("--store").arg(&self.store).args(args).envs(self.environment());
        command.env_remove("QUIPU_STORE").env_remove("QUIPU_PASSPHRASE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end before it reads.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            done: output.status.success(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What a command prints that must succeed: JSON objects, one a line.
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        let ran = self.run(&[args, &["--json"]].concat(), "");
        assert!(ran.done, "{args:?} at node {}: {}\n{}", self.number, ran.stderr, self.told());
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The events that wait here, as `quipu status` tells.
    pub fn waiting(&self) -> Vec<Value> {
        self.json(&["status"])[0]["waiting"].as_array().unwrap().clone()
    }

    /// Starts the daemon, and waits until it is ready. Gives how long that took.
    pub fn start(&self) -> Duration {
        let since = Instant::now();
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.daemon_command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "node {}: {}", self.number, self.told());
        let was = self.daemon().replace(child);
        assert!(was.is_none(), "node {} has a daemon already", self.number);
        since.elapsed()
    }

    fn daemon_command(&self) -> Command {
        // In a namespace there is no way to the control groups.
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "sh"]);
        let groups = lock(&self.surroundings).groups.clone();
        let files: Vec<_> =
            groups.iter().map(|dir| dir.join("cgroup.procs").display().to_string()).collect();
        command.arg(files.join(" ")).args(["ip", "netns", "exec", &self.namespace, "env"]);
        command.args(self.environment().iter().map(|(name, value)| format!("{name}={value}")));
        command.args([QUIPU, "--store"]).arg(&self.store).arg("serve");
        command.args(["--listen", &format!("{}:{PORT}", address(self.number)), "--log", "info"]);
        if !self.join.is_empty() {
            command.arg("--join").args(&self.join);
        }
        command.env_remove("QUIPU_STORE").env_remove("QUIPU_PASSPHRASE");
        command
    }

    /// Sets the clock of what is started from now on.
    pub fn set_clock(&self, ahead: i64) {
        lock(&self.surroundings).ahead = ahead;
    }

    /// Puts what is started from now on into a control group.
    pub fn enter(&self, group: &Path) {
        lock(&self.surroundings).groups.push(group.to_owned());
    }

    /// Leaves what is started from now on out of a control group.
    pub fn leave(&self, group: &Path) {
        lock(&self.surroundings).groups.retain(|entered| entered != group);
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let ahead = lock(&self.surroundings).ahead;
        if ahead == 0 {
            return Vec::new();
        }
        vec![
            ("LD_PRELOAD", libfaketime().unwrap().display().to_string()),
            ("FAKETIME", format!("{ahead:+}")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    /// The daemon's process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.daemon().as_ref().map(Child::id)
    }

    /// Ends the daemon as its user does.
    pub fn stop(&self) {
        if let Some(mut child) = self.daemon().take() {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            let status = child.wait().unwrap();
            assert!(status.success(), "node {}: {status}: {}", self.number, self.told());
        }
    }

    /// Ends the daemon with SIGKILL.
    pub fn kill(&self) {
        if let Some(mut child) = self.daemon().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends the daemon, and starts it again. Gives how long no daemon was ready.
    pub fn restart(&self) -> Duration {
        let since = Instant::now();
        self.stop();
        self.start();
        since.elapsed()
    }

    /// The end of what the daemon has logged.
    pub fn told(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!(
            "the log of node {} ends:\n{}",
            self.number,
            lines[lines.len().saturating_sub(30)..].join("\n")
        )
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Child>> {
        lock(&self.daemon)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command that needs no node, and must succeed.
pub fn quipu(dir: &Path, args: &[&str]) -> String {
    let output = Command::new(QUIPU).current_dir(dir).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
