//! Peers that have been let in and wait to be accepted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::connection::Established;

/// They are counted as connections, so their number is bounded.
#[derive(Default)]
pub(crate) struct Arrivals {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Established>,
    closed: bool,
}

impl Arrivals {
    pub fn put(&self, established: Established) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.queue.push_back(established);
            self.changed.notify_one();
        }
    }

    /// The one that has waited longest; `None` once there will be no more.
    pub async fn next(&self) -> Option<Established> {
        loop {
            let changed = self.changed.notified();
            {
                let mut waiting = self.lock();
                if let Some(established) = waiting.queue.pop_front() {
                    return Some(established);
                }
                if waiting.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Sends away those that wait, and lets nobody in any more.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.queue.clear();
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
