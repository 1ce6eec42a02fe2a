//! `quipu put --dir`: a tree of files.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use quipu_merge::{ContentWriter, Link, MAX_BODY_LEN};
use quipu_store::{Ledger, Snapshot, Transaction, Value, WriteError};

use crate::amount::count;
use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::output::{self, Progress};
use crate::tree::held::Held;
use crate::tree::scan::{Content, Found, scan};
use crate::tree::{Mark, Prefix};

use super::events::{Events, OPERATION_LEN};

/// An event is written after this many operations,
const GROUP: usize = 1000;
/// or this many bytes of content, so that little is lost where the work is broken off.
const GROUP_CONTENT: u64 = 64 << 20;
/// How much of a file is read at once.
const PORTION: usize = 1 << 20;

pub fn run(dir: &Path, prefix: &str, wait: Wait, context: &mut Context) -> Result<(), Failure> {
    let prefix = Prefix::new(prefix)?;
    let ledger = context.open_to_write()?;
    wait.check(&ledger, context)?;
    let found = scan(&context.path(dir), &prefix)?;
    let snapshot = ledger.snapshot()?;
    let held = Held::read(&snapshot, &prefix)?;
    let json = context.out.is_json();
    let mut work = Work {
        ledger: &ledger,
        snapshot,
        prefix,
        held,
        events: Events::new(&ledger, &mut context.out),
        open: Group::new(&ledger),
        stored: 0,
        unchanged: 0,
        deleted: 0,
    };
    let result = work.all(&found);
    let last = work.events.last;
    if !json || result.is_err() {
        let Work { stored, unchanged, deleted, events, .. } = work;
        let (stored, events) = (count(stored, "file"), count(events.events, "event"));
        output::note(format_args!(
            "{stored} stored, {unchanged} unchanged, {deleted} deleted, in {events}"
        ));
    }
    result?;
    wait.until_final_of(last, context)
}

/// Operations that are to become one event.
struct Group<'l> {
    transaction: Transaction<'l>,
    /// What they take up in a body, at most.
    size: usize,
    /// Length of what they store.
    content: u64,
    stored: u64,
    deleted: u64,
}

impl<'l> Group<'l> {
    fn new(ledger: &'l Ledger) -> Self {
        Self { transaction: ledger.transaction(), size: 0, content: 0, stored: 0, deleted: 0 }
    }
}

struct Work<'l, 'c> {
    ledger: &'l Ledger,
    snapshot: Snapshot<'l>,
    prefix: Prefix,
    held: Held,
    events: Events<'l, 'c>,
    open: Group<'l>,
    /// How many files have been written, have not been written because they are there, and have
    /// been deleted.
    stored: u64,
    unchanged: u64,
    deleted: u64,
}

impl Work<'_, '_> {
    fn all(&mut self, found: &BTreeMap<String, Found>) -> Result<(), Failure> {
        let progress = Progress::new("storing");
        let total = found.len() as u64;
        for (done, (path, file)) in (0..).zip(found) {
            progress.report(done, total);
            self.store(path, file)?;
        }
        self.delete_all_but(found)?;
        self.commit()
    }

    /// Stores a file and what is said of it in one event, where the ledger shows it otherwise.
    fn store(&mut self, path: &str, found: &Found) -> Result<(), Failure> {
        self.make_room(path)?;
        let key = self.prefix.key(path);
        let before = self.open.transaction.len();
        if !self.is_shown(&key, found).map_err(|error| error.of(found))? {
            let put = match &found.content {
                Content::File { len, .. } => {
                    self.open.content += len;
                    let file = File::open(&found.file).map_err(Failure::file(&found.file))?;
                    self.open.transaction.put_from(&key, file)
                }
                Content::Symlink(target) => self.open.transaction.put(&key, target),
            };
            put.map_err(|error| match error {
                WriteError::Content(error) => Failure::file(&found.file)(error),
                other => other.into(),
            })?;
        }
        for mark in Mark::ALL {
            let wanted = found.content.mark() == Some(mark);
            match (self.held.is_marked(path, mark), wanted) {
                (false, true) => {
                    self.open.transaction.add(self.prefix.as_str(), &mark.member(path))?;
                }
                (true, false) => {
                    self.open.transaction.rem(self.prefix.as_str(), &mark.member(path))?;
                }
                _ => {}
            }
        }
        if self.open.transaction.len() == before {
            self.unchanged += 1;
        } else {
            self.open.stored += 1;
            self.open.size += self.size_of(path);
        }
        Ok(())
    }

    /// Whether the register shows just this content, and nothing that conflicts with it.
    fn is_shown(&self, key: &str, found: &Found) -> Result<bool, Unread> {
        let writes = self.snapshot.register(key).map_err(Failure::from)?;
        let [write] = writes.as_slice() else { return Ok(false) };
        let (Some(shown), content) = (&write.value, &found.content) else { return Ok(false) };
        Ok(match (shown, content) {
            (Value::Bytes(bytes), Content::Symlink(target)) => bytes == target,
            (Value::Bytes(bytes), Content::File { len, .. }) => {
                bytes.len() as u64 == *len && holds(&found.file, bytes)?
            }
            // Long content is known by the block that all of it hangs on.
            (Value::Long(link), Content::File { len, .. }) => {
                link.size == *len && link_of(&found.file)? == Some(*link)
            }
            _ => false,
        })
    }

    /// Deletes what is no file any more, and the marks of what is none.
    fn delete_all_but(&mut self, found: &BTreeMap<String, Found>) -> Result<(), Failure> {
        let gone = |path: &str| !found.contains_key(path);
        let paths: Vec<_> = self.held.paths.iter().filter(|path| gone(path)).cloned().collect();
        for path in paths {
            self.make_room(&path)?;
            self.open.transaction.del(&self.prefix.key(&path))?;
            for mark in Mark::ALL.into_iter().filter(|mark| self.held.is_marked(&path, *mark)) {
                self.open.transaction.rem(self.prefix.as_str(), &mark.member(&path))?;
            }
            self.open.size += self.size_of(&path);
            self.open.deleted += 1;
        }
        let marks = self.held.marks();
        let stray = marks.filter(|(_, path)| gone(path) && !self.held.paths.contains(*path));
        let stray: Vec<_> =
            stray.map(|(member, path)| (member.to_vec(), path.to_owned())).collect();
        for (member, path) in stray {
            self.make_room(&path)?;
            self.open.transaction.rem(self.prefix.as_str(), &member)?;
            self.open.size += self.size_of(&path);
        }
        Ok(())
    }

    /// What a file and its marks take up in a body, at most.
    fn size_of(&self, path: &str) -> usize {
        (1 + Mark::ALL.len()) * (OPERATION_LEN + self.prefix.as_str().len() + path.len())
    }

    /// Writes what is open, unless one more file goes in.
    fn make_room(&mut self, path: &str) -> Result<(), Failure> {
        let fits = self.open.transaction.len() + Mark::ALL.len() < GROUP
            && self.open.size + self.size_of(path) < MAX_BODY_LEN
            && self.open.content < GROUP_CONTENT;
        if fits { Ok(()) } else { self.commit() }
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let group = std::mem::replace(&mut self.open, Group::new(self.ledger));
        self.events.commit(group.transaction)?;
        self.stored += group.stored;
        self.deleted += group.deleted;
        Ok(())
    }
}

/// Why a file could not be compared.
enum Unread {
    File(io::Error),
    Ledger(Failure),
}

impl Unread {
    fn of(self, found: &Found) -> Failure {
        match self {
            Self::File(error) => Failure::file(&found.file)(error),
            Self::Ledger(failure) => failure,
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Ledger(failure)
    }
}

/// Whether a file holds just these bytes.
fn holds(file: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut content = Vec::with_capacity(bytes.len() + 1);
    File::open(file)?.take(bytes.len() as u64 + 1).read_to_end(&mut content)?;
    Ok(content == bytes)
}

/// Where the content of a file would be; `None` where it cannot be long content.
fn link_of(file: &Path) -> io::Result<Option<Link>> {
    let mut file = File::open(file)?;
    let mut content = ContentWriter::new(|_, _: &[u8]| Ok::<_, Infallible>(()));
    let mut portion = vec![0; PORTION];
    loop {
        let read = match file.read(&mut portion) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(content.finish().ok());
        }
        if content.write(portion.get(..read).unwrap_or_default()).is_err() {
            return Ok(None);
        }
    }
}
