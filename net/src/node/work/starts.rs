//! Files that others start from: each is written once, by a thread of its own, and kept as long as it is
//! asked for.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quipu_proto::{Start, StartFile};
use quipu_store::StartInfo;

use super::Shared;

/// Files that are kept at once.
const MAX_FILES: usize = 2;
/// A file that nobody has asked for for so long is not kept.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Who has asked for a part within this time is not done with the file.
const IN_USE: Duration = Duration::from_secs(30);
/// For so long at most: whoever goes on asking does not keep others from a later one for ever.
const IN_USE_MOST: Duration = Duration::from_secs(3600);
/// After a file has been written, none is written for so long, and so many times as long as that took:
/// however many ask, most of the time the disk is there for others.
const REST: Duration = Duration::from_secs(2);
const RESTS: u32 = 4;
/// Between two looks at how much room there is, in bytes that are written; and how much is left free.
const LOOK_EVERY: u64 = 8 << 20;
const MIN_FREE: u64 = 128 << 20;

/// The files.
pub struct Starts {
    shared: Arc<Shared>,
    dir: PathBuf,
    /// The latest comes last.
    kept: Vec<Kept>,
    writing: Option<JoinHandle<Option<Kept>>>,
    begun: Instant,
    rest_until: Instant,
    /// Whether the last one could not be written.
    failed: bool,
}

struct Kept {
    which: StartFile,
    /// It has no name: whatever happens, nothing of it stays on the disk.
    file: File,
    made: Instant,
    asked: Instant,
}

impl Kept {
    fn is_in_use(&self, now: Instant) -> bool {
        let since = |then| now.duration_since(then);
        since(self.asked) < IN_USE && since(self.made) < IN_USE_MOST
    }
}

impl Starts {
    /// None yet. They are written in the directory of the store for what passes.
    pub fn new(shared: Arc<Shared>) -> Self {
        let dir = shared.ledger.staging();
        let now = Instant::now();
        let (kept, writing, failed) = (Vec::new(), None, false);
        Self { shared, dir, kept, writing, begun: now, rest_until: now, failed }
    }

    /// What a replica may start from: the last checkpoint that counts, or one that counted a moment ago.
    pub fn latest(&mut self) -> Start {
        let now = Instant::now();
        self.look(now);
        let Some(last) = self.shared.ledger.certification().height else { return Start::Nothing };
        if self.shared.ledger.shallow().is_some() {
            return Start::Nothing;
        }
        let in_use = self.kept.iter().filter(|kept| kept.is_in_use(now)).count();
        let all_in_use = in_use >= MAX_FILES;
        if let Some(latest) = self.kept.last_mut()
            && (latest.which.height >= last || now < self.rest_until || all_in_use)
        {
            latest.asked = now;
            return Start::From(latest.which);
        }
        if self.writing.is_some() {
            return Start::Later;
        }
        if now >= self.rest_until {
            self.begin(now);
            return Start::Later;
        }
        // There was none before that one.
        if self.failed { Start::Nothing } else { Start::Later }
    }

    /// A part of a file; nothing where it is not kept any more.
    pub fn read(&mut self, which: StartFile, offset: u64, max_len: usize) -> Option<Vec<u8>> {
        let kept = self.kept.iter_mut().find(|kept| kept.which == which)?;
        kept.asked = Instant::now();
        let left = which.len.checked_sub(offset)?;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(max_len);
        let mut part = vec![0; len];
        match kept.file.read_exact_at(&mut part, offset) {
            Ok(()) => Some(part),
            Err(error) => {
                tracing::error!(%error, "a file that others start from cannot be read");
                None
            }
        }
    }

    /// Takes what has been written, and forgets what nobody asks for.
    pub fn look(&mut self, now: Instant) {
        self.kept.retain(|kept| now.duration_since(kept.asked) < KEPT_FOR);
        let Some(written) = self.writing.take_if(|writing| writing.is_finished()) else { return };
        self.rest_until = now + REST.max(now.duration_since(self.begun) * RESTS);
        let new = written.join().ok().flatten();
        self.failed = new.is_none();
        let Some(mut new) = new else { return };
        new.asked = now;
        self.kept.retain(|kept| kept.which != new.which);
        if self.kept.len() >= MAX_FILES
            && let Some(least) =
                self.kept.iter().map(|kept| (kept.is_in_use(now), kept.asked)).min()
        {
            self.kept.retain(|kept| (kept.is_in_use(now), kept.asked) != least);
        }
        self.kept.push(new);
    }

    fn begin(&mut self, now: Instant) {
        self.begun = now;
        let (shared, dir) = (self.shared.clone(), self.dir.clone());
        let write = move || match write(&shared, &dir) {
            Ok(kept) => Some(kept),
            Err(error) => {
                if !shared.is_stopping() {
                    tracing::error!(%error, "what others start from cannot be written");
                }
                None
            }
        };
        match std::thread::Builder::new().name("quipu-start".to_owned()).spawn(write) {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => tracing::error!(%error, "a thread cannot be started"),
        }
    }
}

impl Drop for Starts {
    /// What is being written notices that the node stops.
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.join();
        }
    }
}

fn write(shared: &Shared, dir: &PathBuf) -> Result<Kept, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(dir)?;
    let mut out = Output { shared, file: tempfile::tempfile_in(dir)?, left: 0 };
    let StartInfo { height, checkpoint, len, .. } = shared.ledger.write_start(&mut out)?;
    let which = StartFile { height, checkpoint, len };
    tracing::debug!(%height, len, "others may start from a checkpoint");
    let now = Instant::now();
    Ok(Kept { which, file: out.file, made: now, asked: now })
}

/// Writes as long as there is room and the node does not stop.
struct Output<'s> {
    shared: &'s Shared,
    file: File,
    /// So many bytes may be written before the room is looked at.
    left: u64,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shared.is_stopping() {
            return Err(io::Error::other("the node is stopping"));
        }
        if self.left == 0 {
            let stats = self.shared.ledger.database_stats().map_err(io::Error::other)?;
            if stats.free_bytes.is_some_and(|free| free < MIN_FREE) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.left = LOOK_EVERY;
        }
        let written = self.file.write(bytes)?;
        self.left = self.left.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
