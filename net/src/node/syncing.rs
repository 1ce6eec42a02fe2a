//! Getting once what a peer has.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quipu_merge::{AuthorKey, Height};
use quipu_proto::CatchingUp;
use tokio::sync::oneshot;

use super::address::PeerAddress;
use super::error::SyncError;
use super::handle::Synced;
use super::work::Counts;

/// Where nothing comes for so long, nothing will.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for checkpoints, once all events are here: whatever is missing of them comes another time.
const CHECKPOINTS_PATIENCE: Duration = Duration::from_secs(15);

/// Somebody who waits until all that a peer has is here.
#[derive(Debug)]
pub struct Syncing {
    peer: PeerAddress,
    before: Synced,
    /// How often the store had failed.
    failures: u64,
    level: bool,
    /// What had come when something came last, and when that was.
    progress: (u64, Instant),
    /// Up to which checkpoint all had come when one came last, and when that was, once there was nothing
    /// else to wait for.
    certified: Option<(Option<Height>, Instant)>,
    reply: oneshot::Sender<Result<Synced, SyncError>>,
}

impl Syncing {
    /// Starts to wait.
    pub fn start(
        peer: PeerAddress,
        counts: &Counts,
        reply: oneshot::Sender<Result<Synced, SyncError>>,
    ) -> Self {
        let failures = counts.failed.load(Ordering::Relaxed);
        let progress = (all(counts), Instant::now());
        let (before, level, certified) = (so_far(counts), false, None);
        Self { peer, before, failures, level, progress, certified, reply }
    }

    /// Whose events are waited for.
    pub const fn peer(&self) -> &PeerAddress {
        &self.peer
    }

    /// All events that a peer had have come.
    pub fn level(&mut self, peer: AuthorKey) {
        self.level |= self.peer.key == peer;
    }

    /// What it has come to, where it has come to an end: all is here, values included, of which nothing
    /// more is to be had where they have `settled`, and the peer's checkpoints; or it cannot go on; or
    /// nobody waits any more.
    pub fn outcome(
        &mut self,
        settled: bool,
        checkpoints: Option<(CatchingUp, Option<Height>)>,
        counts: &Counts,
    ) -> Option<Result<Synced, SyncError>> {
        let events = self.level && settled;
        if (events && !self.waits_for(checkpoints)) || self.reply.is_closed() {
            return Some(Ok(self.synced(counts)));
        }
        if counts.failed.load(Ordering::Relaxed) > self.failures {
            return Some(Err(SyncError::Store { peer: self.peer.clone() }));
        }
        if events {
            return None;
        }
        let (before, since) = self.progress;
        let now = all(counts);
        if now != before {
            self.progress = (now, Instant::now());
        } else if since.elapsed() >= PATIENCE {
            return Some(Err(SyncError::Stalled { peer: self.peer.clone() }));
        }
        None
    }

    /// Whether checkpoints are still to come.
    fn waits_for(&mut self, checkpoints: Option<(CatchingUp, Option<Height>)>) -> bool {
        let Some((stands, height)) = checkpoints else { return false };
        let now = Instant::now();
        let (before, since) = self.certified.get_or_insert((height, now));
        if *before != height || stands == CatchingUp::Keeps {
            (*before, *since) = (height, now);
        }
        match stands {
            CatchingUp::Done => false,
            CatchingUp::Keeps => true,
            CatchingUp::Waits => since.elapsed() < CHECKPOINTS_PATIENCE,
        }
    }

    /// What has come.
    fn synced(&self, counts: &Counts) -> Synced {
        let now = so_far(counts);
        Synced {
            new_events: now.new_events - self.before.new_events,
            known_events: now.known_events - self.before.known_events,
            refused: now.refused - self.before.refused,
        }
    }

    /// Ends the wait. Whoever has given up waiting does not hear of it.
    pub fn answer(self, answer: Result<Synced, SyncError>) {
        let _ = self.reply.send(answer);
    }
}

/// How much has come, of whatever.
fn all(counts: &Counts) -> u64 {
    let kinds = [&counts.admitted, &counts.known, &counts.refused, &counts.values];
    kinds.into_iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

fn so_far(counts: &Counts) -> Synced {
    Synced {
        new_events: counts.admitted.load(Ordering::Relaxed),
        known_events: counts.known.load(Ordering::Relaxed),
        refused: counts.refused.load(Ordering::Relaxed),
    }
}
