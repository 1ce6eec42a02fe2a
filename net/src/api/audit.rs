//! The audit log: who has asked for what, one JSON object a line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

/// The file in the store's directory.
const FILE: &str = "audit.log";
/// How many older files are kept: `audit.log.1` is the latest of them.
const KEPT: usize = 4;

/// A line of the log.
#[derive(Debug, Serialize)]
pub struct Entry<'e> {
    /// When, in RFC 3339.
    pub time: Timestamp,
    /// Names the request: the lines on one request have the same number.
    pub request: u64,
    /// `begin` of a write, before anything is done; `end` of any request.
    pub phase: Phase,
    /// The id of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'e str>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'e str>,
    /// From where.
    pub address: &'e str,
    /// The method.
    pub method: &'e str,
    /// The path, without the query.
    pub path: &'e str,
    /// The status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The event that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<&'e str>,
    /// Bytes of the request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Which part of a request a line is about.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before it is done.
    Begin,
    /// After.
    End,
}

/// The log. Threads share it.
pub struct Audit {
    path: PathBuf,
    max_len: u64,
    open: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    len: u64,
    /// Whether something was written since it was synced.
    dirty: bool,
}

impl Audit {
    /// The log in a store's directory; a file is ended at `max_len` bytes.
    pub fn open(store: &Path, max_len: u64) -> io::Result<Self> {
        let audit = Self { path: store.join(FILE), max_len, open: Mutex::new(None) };
        audit.with(|_| Ok(()))?;
        Ok(audit)
    }

    /// Adds a line. A crash of the machine may lose the lines of the last second.
    pub fn add(&self, entry: &Entry<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.with(|open| {
            if open.len > 0 && open.len + line.len() as u64 > self.max_len {
                open.file.sync_data()?;
                self.rotate()?;
                *open = self.start()?;
            }
            open.file.write_all(&line)?;
            open.len += line.len() as u64;
            open.dirty = true;
            Ok(())
        })
    }

    /// Makes sure that what was added is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.with(|open| {
            if std::mem::take(&mut open.dirty) {
                open.file.sync_data()?;
            }
            Ok(())
        })
    }

    /// Does something with the open file. After a failure it is opened again: a line that was cut short
    /// is ended first.
    fn with<T>(&self, act: impl FnOnce(&mut Open) -> io::Result<T>) -> io::Result<T> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = match open.take() {
            Some(current) => current,
            None => self.start()?,
        };
        let done = act(&mut current)?;
        *open = Some(current);
        Ok(done)
    }

    fn start(&self) -> io::Result<Open> {
        let mut file =
            OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&self.path)?;
        let mut len = file.metadata()?.len();
        if len > 0 && !ends_a_line(&file, len)? {
            file.write_all(b"\n")?;
            len += 1;
        }
        Ok(Open { file, len, dirty: true })
    }

    fn rotate(&self) -> io::Result<()> {
        let older = |number: usize| match number {
            0 => self.path.clone(),
            number => self.path.with_extension(format!("log.{number}")),
        };
        for number in (0..KEPT).rev() {
            match fs::rename(older(number), older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn ends_a_line(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [0];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut last, len - 1)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn entry(request: u64) -> Entry<'static> {
        Entry {
            time: Timestamp::UNIX_EPOCH,
            request,
            phase: Phase::End,
            token: Some("t"),
            name: Some("\n"),
            address: "socket",
            method: "GET",
            path: "/",
            status: Some(200),
            event: None,
            bytes: None,
        }
    }

    #[test]
    fn a_full_file_is_kept_aside_four_times() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path(), 300).unwrap();
        for request in 0..40 {
            audit.add(&entry(request)).unwrap();
        }
        audit.sync().unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let wanted = ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3", "audit.log.4"];
        assert_eq!(names, wanted);
        let mut last = 0;
        for name in wanted.iter().rev() {
            let path = dir.path().join(name);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.len() <= 300);
            for line in text.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let request = line["request"].as_u64().unwrap();
                assert!(last == 0 || request == last + 1, "{request} follows {last}");
                last = request;
            }
        }
        assert_eq!(last, 39);
    }

    #[test]
    fn a_line_that_was_cut_short_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{\"time\":").unwrap();
        Audit::open(dir.path(), 1 << 20).unwrap().add(&entry(1)).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(serde_json::from_str::<serde_json::Value>(lines[1]).is_ok());
    }
}
