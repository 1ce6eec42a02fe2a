//! The process that writes while something fails: what it acknowledges goes to a file that is out
//! of the fault's reach.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use quipu_store::{Committed, Ledger, NewLedger, Options, StorageError, WriteError, is_store};

use crate::promised::Promised;

/// The word before the reason why a child has stopped.
const STOPPED: &str = "stopped";

/// Not a test: what the other tests start as a process of its own.
#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    let Ok(store) = std::env::var("QUIPU_STORE").map(PathBuf::from) else { return };
    let acks = std::env::var("QUIPU_ACKS").unwrap();
    let mut acks = OpenOptions::new().append(true).create(true).open(acks).unwrap();
    let options = Options::new().cache(1 << 20).write_buffer(256 << 10).min_free(0);
    let opened = if is_store(&store) {
        options.open(&store)
    } else {
        options.create(&store, &NewLedger::default())
    };
    let ledger = match opened {
        Ok(ledger) => ledger,
        Err(error) => return report(&mut acks, &error.to_string()),
    };
    if ledger.snapshot().unwrap().len().unwrap() == 1 {
        acknowledge(&mut acks, 1, ledger.id());
    }
    let rounds = number("QUIPU_ROUNDS");
    for number in 0..rounds {
        if Some(number.to_string()) == std::env::var("QUIPU_FAIL_AT").ok() {
            enable(&std::env::var("QUIPU_FAIL").unwrap());
        }
        match write(&ledger, number) {
            Ok(committed) => acknowledge(&mut acks, committed.seq.0, committed.event),
            Err(error) => {
                assert_stays_stopped(&ledger, &error);
                return report(&mut acks, &error.to_string());
            }
        }
        // Tables are written now and then, too.
        if number % 16 == 15
            && let Err(error) = ledger.compact()
        {
            return report(&mut acks, &error.to_string());
        }
    }
}

fn number(name: &str) -> u64 {
    super::files::number(name).unwrap_or(u64::MAX)
}

fn acknowledge(acks: &mut File, seq: u64, event: quipu_merge::EventId) {
    put(acks, &format!("{seq} {event}\n"));
}

/// Writes a line by a call of which no failure is injected.
fn put(acks: &mut File, line: &str) {
    let written = acks.write_vectored(&[IoSlice::new(line.as_bytes())]).unwrap();
    assert_eq!(written, line.len());
}

fn report(acks: &mut File, why: &str) {
    put(acks, &format!("{STOPPED} {}\n", why.replace('\n', " ")));
}

fn write(ledger: &Ledger, number: u64) -> Result<Committed, WriteError> {
    let mut transaction = ledger.transaction();
    transaction.put(&format!("key/{}", number % 7), &number.to_be_bytes())?;
    transaction.inc("count", 1)?.append("list", b"value")?.put("large", &vec![7; 3_000])?;
    if number % 10 == 9 {
        transaction.put("long", &vec![u8::try_from(number % 251).unwrap_or(0); 100_000])?;
    }
    transaction.commit()
}

/// After a failed write nobody knows what is on the disk: nothing is written any more.
fn assert_stays_stopped(ledger: &Ledger, error: &WriteError) {
    assert!(matches!(error, WriteError::Storage(_)), "{error}");
    let stopped = matches!(write(ledger, 0), Err(WriteError::Storage(StorageError::Poisoned(_))));
    assert!(stopped, "it goes on after {error}");
}

/// Has libfiu fail calls of this process from now on.
fn enable(command: &str) {
    let pipes = format!("{}-{}", std::env::var("FIU_CTRL_FIFO").unwrap(), std::process::id());
    let mut commands = OpenOptions::new().write(true).open(format!("{pipes}.in")).unwrap();
    let mut replies = File::open(format!("{pipes}.out")).unwrap();
    commands.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut reply = [0; 2];
    replies.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"0\n", "{command}");
}

/// A child that writes to a store.
pub fn command(program: Option<&[&str]>, store: &Path, acks: &Path) -> Command {
    let test = std::env::current_exe().unwrap();
    let mut command = match program {
        Some([program, args @ ..]) => {
            let mut command = Command::new(program);
            command.args(args).arg(test);
            command
        }
        _ => Command::new(test),
    };
    command.args(["--exact", "child::child", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("QUIPU_STORE", store).env("QUIPU_ACKS", acks);
    command
}

/// What a child has acknowledged, and why it stopped, if it could say so.
pub fn read(acks: &Path, promised: &mut Promised) -> Option<String> {
    let text = std::fs::read_to_string(acks).unwrap_or_default();
    let mut stopped = None;
    // The last line may be under way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        match line.split_once(' ') {
            Some((STOPPED, why)) => stopped = Some(why.to_owned()),
            Some((seq, event)) => promised.add(seq.parse().unwrap(), event.parse().unwrap()),
            None => panic!("{line}"),
        }
    }
    stopped
}

/// Whether this process may mount file systems; otherwise a test says that it was skipped.
pub fn may_mount() -> bool {
    let dir = super::files::scratch();
    let mounted =
        run("mount", &["-t", "tmpfs", "-o", "size=64k", "none", dir.path().to_str().unwrap()]);
    if mounted {
        assert!(run("umount", &[dir.path().to_str().unwrap()]));
    }
    mounted
}

/// Runs a program; whether it succeeded.
pub fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// A mounted file system, which is unmounted at last.
pub struct Mount(pub PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}
