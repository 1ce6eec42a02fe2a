//! Runs the real binary in a scratch directory.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

pub mod certify;
pub mod daemon;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A directory with stores in it.
pub struct Scratch {
    dir: tempfile::TempDir,
}

/// How a command has ended.
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Scratch {
    /// An empty directory.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A directory with a new store `a` in it.
    pub fn with_store() -> Self {
        let scratch = Self::new();
        scratch.ok(&["init", "a", "--name", "test"]);
        scratch
    }

    /// The same, of a ledger that nobody certifies: what it prints does not depend on whether a
    /// daemon runs.
    pub fn without_validators() -> Self {
        let scratch = Self::new();
        scratch.ok(&["init", "a", "--name", "test", "--no-validators"]);
        scratch
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        command_in(self.dir.path(), args)
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// Runs a command on the store `a`.
    pub fn a(&self, args: &[&str]) -> Ran {
        self.on("a", args)
    }

    /// Runs a command on a store.
    pub fn on(&self, store: &str, args: &[&str]) -> Ran {
        self.run(&[&["--store", store], args].concat())
    }

    /// Runs a command that must succeed, and gives what it prints.
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    /// Runs a command with something on stdin.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        ran(child.wait_with_output().unwrap())
    }

    /// The whole state of a store, to see that nothing has changed.
    pub fn state(&self, store: &str) -> Value {
        self.on(store, &["dump", "--json"]).json()
    }

    /// A command on `a` fails with this code, prints nothing on stdout, and changes nothing there.
    pub fn refused(&self, code: i32, args: &[&str]) -> Ran {
        self.refuses(code, &[&["--store", "a"], args].concat())
    }

    /// A command line fails with this code, prints nothing on stdout, and changes nothing in `a`.
    pub fn refuses(&self, code: i32, args: &[&str]) -> Ran {
        let before = self.state("a");
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{args:?} prints {:?}", ran.text());
        assert!(!ran.stderr.is_empty(), "{args:?} says nothing");
        assert_eq!(self.state("a"), before, "{args:?} has changed the store");
        ran
    }

    /// Writes to `a` and gives the event's id.
    pub fn event(&self, args: &[&str]) -> String {
        self.a(args).ok().trim().to_owned()
    }
}

/// A command in a directory, without anything from the surroundings.
pub fn command_in(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quipu"));
    command.current_dir(dir).args(args);
    command.env_remove("QUIPU_STORE").env_remove("QUIPU_PASSPHRASE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.text()
    }

    /// The one JSON object printed.
    pub fn json(self) -> Value {
        let text = self.ok();
        assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The JSON objects printed, one a line.
    pub fn lines(self) -> Vec<Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The names of an object's fields, in the order of the alphabet.
pub fn fields(value: &Value) -> Vec<&str> {
    let mut fields: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

/// The field as text.
pub fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap()
}
