//! `quipu get --dir`: a tree of files, restored.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::Link;
use quipu_net::Fetcher;
use quipu_store::{Ledger, LongError, Snapshot, Value};
use serde::Serialize;

use crate::amount::{count, size};
use crate::args::At;
use crate::console::Console;
use crate::context::{Context, snapshot_at};
use crate::exit::{Failure, NOT_HERE};
use crate::fetching::fetch;
use crate::long;
use crate::output::{self, Progress};
use crate::tree::held::Held;
use crate::tree::{Mark, Prefix};

/// Permissions before the umask takes some away, as `cp` and compilers ask for them.
const PLAIN: u32 = 0o666;
const EXECUTABLE: u32 = 0o777;
/// How long to wait for a value after one that could not be had.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// A value that is not there to be restored.
#[derive(Serialize)]
struct Gone {
    key: String,
    why: &'static str,
}

/// What has been restored, and what not.
#[derive(Serialize)]
struct Restored {
    dir: String,
    files: u64,
    symlinks: u64,
    bytes: u64,
    /// The keys with more values than the one that was restored.
    conflicts: Vec<String>,
    unavailable: Vec<Gone>,
}

pub fn run(prefix: &OsStr, dir: &Path, at: &At, context: &mut Context) -> Result<(), Failure> {
    let prefix = prefix
        .to_str()
        .ok_or_else(|| Failure::Usage(format!("{}: a prefix is UTF-8", prefix.display())))?;
    let prefix = Prefix::new(prefix)?;
    let ledger = context.open()?;
    let snapshot = snapshot_at(&ledger, at)?;
    let held = Held::read(&snapshot, &prefix)?;
    if held.paths.is_empty() {
        return Err(Failure::NotFound(format!("no register below {:?}", prefix.as_str())));
    }
    held.check_paths(&prefix)?;
    let place = context.path(dir);
    make_empty(&place, context.console())?;
    let restored = Restored {
        dir: dir.display().to_string(),
        files: 0,
        symlinks: 0,
        bytes: 0,
        conflicts: Vec::new(),
        unavailable: Vec::new(),
    };
    let console = context.console().clone();
    let work = Work {
        ledger: &ledger,
        context,
        patience: Fetcher::PATIENCE,
        snapshot: &snapshot,
        prefix: &prefix,
        dir: &place,
        console,
        restored,
    };
    let (restored, total) = (work.all(&held)?, held.paths.len());
    for key in &restored.conflicts {
        output::warning(format_args!("{key:?} has several values: the first has been restored"));
    }
    for Gone { key, why } in &restored.unavailable {
        output::warning(format_args!("{key:?} is {why}"));
    }
    if context.out.is_json() {
        context.out.json(&restored)?;
    } else {
        let Restored { files, symlinks, bytes, .. } = restored;
        let (files, symlinks) = (count(files, "file"), count(symlinks, "symlink"));
        output::note(format_args!("{files} and {symlinks}, {}", size(bytes)));
    }
    let Some(first) = restored.unavailable.first() else { return Ok(()) };
    let what = format!("{} of {}", restored.unavailable.len(), count(total, "file"));
    let same = restored.unavailable.iter().all(|gone| gone.why == first.why);
    Err(Failure::Unavailable { what, why: if same { first.why } else { "erased or not here" } })
}

/// Makes a directory, or sees to it that it is empty.
fn make_empty(dir: &Path, console: &Console) -> Result<(), Failure> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let error = io::Error::new(ErrorKind::DirectoryNotEmpty, "it is not empty");
            Err(Failure::file(dir)(error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            console.make_dir(dir).map_err(Failure::file(dir))
        }
        Err(error) => Err(Failure::file(dir)(error)),
    }
}

struct Work<'s, 'l> {
    ledger: &'s Ledger,
    context: &'s Context,
    /// How long to wait for values that are not here.
    patience: Duration,
    snapshot: &'s Snapshot<'l>,
    prefix: &'s Prefix,
    dir: &'s Path,
    console: Arc<Console>,
    restored: Restored,
}

impl Work<'_, '_> {
    /// Restores files before symlinks, so that no file is ever written through one.
    fn all(mut self, held: &Held) -> Result<Restored, Failure> {
        let progress = Progress::new("restoring");
        let total = held.paths.len() as u64;
        let is_symlink = |path: &&String| held.is_marked(path, Mark::Symlink);
        let (symlinks, files): (Vec<_>, Vec<_>) = held.paths.iter().partition(is_symlink);
        for (done, path) in (0..).zip(files.iter().chain(&symlinks)) {
            progress.report(done, total);
            self.console.check_gone()?;
            let Some(value) = self.value(path)? else { continue };
            let place = self.place(path)?;
            if held.is_marked(path, Mark::Symlink) {
                self.symlink(path, &place, value)?;
            } else {
                self.file(path, &place, &value, held.is_marked(path, Mark::Executable))?;
            }
        }
        Ok(self.restored)
    }

    /// The value that `get` would print; `None`, and noted, where it is not there.
    fn value(&mut self, path: &str) -> Result<Option<Value>, Failure> {
        let key = self.prefix.key(path);
        let mut writes = self.snapshot.register(&key)?;
        if writes.len() > 1 {
            self.restored.conflicts.push(key);
        }
        let value = if writes.is_empty() { None } else { writes.swap_remove(0).value };
        let value = value.unwrap_or(Value::Missing);
        Ok(match value.unavailable() {
            Some(why) => self.gone(path, why),
            None => Some(value),
        })
    }

    fn gone<T>(&mut self, path: &str, why: &'static str) -> Option<T> {
        self.restored.unavailable.push(Gone { key: self.prefix.key(path), why });
        None
    }

    /// Where a path leads, in directories that are there.
    fn place(&self, path: &str) -> Result<PathBuf, Failure> {
        let place = self.dir.join(path);
        if let Some(above) = place.parent() {
            self.console.make_dir(above).map_err(Failure::file(above))?;
        }
        Ok(place)
    }

    fn file(
        &mut self,
        path: &str,
        place: &Path,
        value: &Value,
        executable: bool,
    ) -> Result<(), Failure> {
        if let Value::Long(link) = value
            && self.snapshot.missing_block(*link)?.is_some()
        {
            self.fetch(*link)?;
        }
        let mode = self.console.masked(if executable { EXECUTABLE } else { PLAIN });
        // It fails where anything has that name, a symlink that leads nowhere too.
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(place);
        let mut file = file.map_err(Failure::file(place))?;
        match self.write(&mut file, place, value)? {
            Ok(len) => {
                self.restored.files += 1;
                self.restored.bytes += len;
            }
            Err(why) => {
                fs::remove_file(place).map_err(Failure::file(place))?;
                self.gone::<()>(path, why);
            }
        }
        Ok(())
    }

    /// Has a long value fetched. Where that cannot be, reading it fails.
    fn fetch(&mut self, link: Link) -> Result<(), Failure> {
        match fetch(self.ledger, self.context, link, long::WHOLE, self.patience)? {
            Some(Err(_)) => self.patience = self.patience.min(SHORT_PATIENCE),
            _ => self.patience = Fetcher::PATIENCE,
        }
        Ok(())
    }

    /// Writes a value to a file, block by block. Gives its length, or why it cannot be had.
    fn write(
        &self,
        file: &mut File,
        place: &Path,
        value: &Value,
    ) -> Result<Result<u64, &'static str>, Failure> {
        match value {
            Value::Bytes(bytes) => {
                file.write_all(bytes).map_err(Failure::file(place))?;
                Ok(Ok(bytes.len() as u64))
            }
            Value::Long(link) => {
                // What has been fetched has come after the snapshot.
                let now = self.ledger.snapshot()?;
                match now.read_long(*link, |part| file.write_all(part)) {
                    Ok(Ok(())) => Ok(Ok(link.size)),
                    Ok(Err(_)) => Ok(Err(NOT_HERE)),
                    Err(LongError::Malformed(_)) => Ok(Err("unreadable")),
                    Err(LongError::Output(error)) => Err(Failure::file(place)(error)),
                    Err(error) => Err(error.into()),
                }
            }
            Value::Erased | Value::Pruned | Value::Missing | Value::Unreadable => {
                Ok(Err(value.unavailable().unwrap_or(NOT_HERE)))
            }
        }
    }

    fn symlink(&mut self, path: &str, place: &Path, value: Value) -> Result<(), Failure> {
        let Value::Bytes(target) = value else {
            // No system takes a target that is as long as that.
            self.gone::<()>(path, "unreadable");
            return Ok(());
        };
        symlink(OsString::from_vec(target), place).map_err(Failure::file(place))?;
        self.restored.symlinks += 1;
        Ok(())
    }
}
