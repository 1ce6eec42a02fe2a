//! Making durable what is signed, before it is sent.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use quipu_store::{StorageError, VoteEntry, VoteLog};

use super::work::{CertifyReport, Logging, Shared};

/// So many entries are made durable together, where so many wait.
const AT_ONCE: usize = 4096;
/// Until it is tried again where there is no room.
const AGAIN: Duration = Duration::from_millis(500);

/// Logs until nothing more is to be logged.
pub fn run(shared: &Shared, mut votes: VoteLog, entries: &Receiver<Logging>) {
    while let Ok(first) = entries.recv() {
        let mut some = vec![first];
        while some.len() < AT_ONCE
            && let Ok(next) = entries.try_recv()
        {
            some.push(next);
        }
        if !append(shared, &mut votes, &some) {
            return;
        }
        let trim = some.iter().filter_map(|logging| match logging {
            Logging::Trim(below) => Some(*below),
            Logging::Append { .. } => None,
        });
        if let Some(below) = trim.max()
            && let Err(error) = votes.trim(below)
        {
            // What is not trimmed is passed over, and trimmed the next time.
            tracing::warn!(%error, "the log of votes was not trimmed");
        }
        shared.log_len.store(votes.len(), Ordering::Relaxed);
    }
}

/// Makes entries durable. Tells whether it may go on.
fn append(shared: &Shared, votes: &mut VoteLog, some: &[Logging]) -> bool {
    let (mut entries, mut last, mut marked) = (Vec::new(), None, None);
    for logging in some {
        if let Logging::Append { entry, height, bytes, mark } = logging {
            entries.push(VoteEntry { height: *height, bytes });
            last = Some(*entry);
            marked = marked.max(*mark);
        }
    }
    let Some(last) = last else { return true };
    let mark = marked.map(|mark| mark.encode());
    let mut warned = false;
    loop {
        match votes.append(&entries, mark.as_deref()) {
            Ok(()) => {
                shared.report(CertifyReport::Durable(last));
                return true;
            }
            Err(error @ StorageError::NoRoom { .. }) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(%error, "nothing is signed");
                }
            }
            Err(error) => {
                tracing::error!(%error, "what is signed cannot be logged");
                shared.report(CertifyReport::Broken(error.to_string()));
                return false;
            }
        }
        if shared.stopping.load(Ordering::Relaxed) {
            return false;
        }
        std::thread::sleep(AGAIN);
    }
}
