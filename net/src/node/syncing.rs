//! Getting once what a peer has.

use std::sync::atomic::Ordering;

use quipu_merge::AuthorKey;
use tokio::sync::oneshot;

use super::address::PeerAddress;
use super::error::SyncError;
use super::handle::Synced;
use super::work::Counts;

/// Somebody who waits until all that a peer has is here.
#[derive(Debug)]
pub struct Syncing {
    peer: PeerAddress,
    before: Synced,
    level: bool,
    reply: oneshot::Sender<Result<Synced, SyncError>>,
}

impl Syncing {
    /// Starts to wait.
    pub fn start(
        peer: PeerAddress,
        counts: &Counts,
        reply: oneshot::Sender<Result<Synced, SyncError>>,
    ) -> Self {
        Self { peer, before: so_far(counts), level: false, reply }
    }

    /// Whose events are waited for.
    pub const fn peer(&self) -> &PeerAddress {
        &self.peer
    }

    /// All events that a peer had have come.
    pub fn level(&mut self, peer: AuthorKey) {
        self.level |= self.peer.key == peer;
    }

    /// Whether all has come, values included, of which nothing more is to be had where they have
    /// `settled`.
    pub const fn is_done(&self, settled: bool) -> bool {
        self.level && settled
    }

    /// What has come.
    pub fn synced(&self, counts: &Counts) -> Synced {
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

fn so_far(counts: &Counts) -> Synced {
    Synced {
        new_events: counts.admitted.load(Ordering::Relaxed),
        known_events: counts.known.load(Ordering::Relaxed),
        refused: counts.refused.load(Ordering::Relaxed),
    }
}
