//! A daemon that serves a store of a scratch directory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::Scratch;

/// A place for a node, of a port that is free, and that the system gives to nobody who lets it choose: those
/// begin at 32,768. It stays free while nobody serves there.
pub fn free_place() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Other tests begin elsewhere.
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() * 16);
        let place = format!("127.0.0.1:{}", 10_000 + number % 20_000);
        if UdpSocket::bind(&place).is_ok() {
            return place;
        }
    }
}

/// Ends with a SIGTERM when it is dropped.
pub struct Daemon {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    log: std::path::PathBuf,
}

impl Scratch {
    /// Serves a store. Commands are answered when this returns.
    pub fn serve(&self, store: &str) -> Daemon {
        let log = self.path(&format!("{}.log", store.replace('/', "-")));
        self.serve_with(&["--store", store, "serve", "--log", "debug"], log)
    }

    pub fn serve_with(&self, args: &[&str], log: std::path::PathBuf) -> Daemon {
        let mut command = self.command(args);
        command.stderr(Stdio::from(File::create(&log).unwrap()));
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{}", std::fs::read_to_string(&log).unwrap());
        Daemon { child, _stdout: stdout, log }
    }
}

impl Daemon {
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends it as a user does.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(&self.log).unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}
