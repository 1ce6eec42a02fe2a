//! Telling others in the process what is new.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use quipu_merge::{AuthorKey, EventId, Seq, SignedEvent};

use super::Branches;
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;

/// An event that is held from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldEvent {
    /// Who wrote it.
    pub author: AuthorKey,
    /// Its position in the author's chain.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// The author's event before.
    pub prev: Option<EventId>,
}

impl HeldEvent {
    fn of(event: &SignedEvent) -> Self {
        let content = event.event();
        Self { author: content.author, seq: content.seq, id: event.id(), prev: content.prev }
    }
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The events of a commit, in the order in which they were admitted.
    New(Arc<[HeldEvent]>),
    /// Some were passed over, because too many were waiting to be looked at. What is held has to be
    /// read anew; what comes later will be told.
    Lagged,
}

/// Hears of all events that are held from some commit on, in order and without a gap, whoever wrote
/// them.
#[derive(Debug)]
pub struct Follower(Arc<Queue>);

impl Ledger {
    /// Tells of all events that come from now on. What was there before, [`Self::snapshot`] and
    /// [`Self::frontier`] show when this returns; and what is told, they show by then. It may not be
    /// synced yet where it came from others.
    ///
    /// Up to `max_queued` events, or those of one commit, are kept for the follower until it looks. Of
    /// more, it is told no more than that there were some. So it never slows a writer down.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`], and errors of the disk.
    pub fn follow(&self, max_queued: usize) -> Result<Follower, StorageError> {
        self.follow_after(max_queued, || Ok(())).map(|(follower, ())| follower)
    }

    /// Does what [`Self::follow`] does, and tells what is held: every event comes either with the
    /// frontier or by the follower, and none by both.
    ///
    /// # Errors
    /// Those of [`Self::follow`] and [`Self::frontier`].
    pub fn follow_from_frontier(
        &self,
        max_queued: usize,
    ) -> Result<(Follower, Vec<Branches>), ReadError> {
        self.follow_after(max_queued, || self.frontier())
    }

    fn follow_after<T, E: From<StorageError>>(
        &self,
        max_queued: usize,
        look: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Follower, T), E> {
        let queue = Arc::new(Queue { max_queued, ..Queue::default() });
        // Between two groups: of each one, it is told all or nothing.
        let seen = self.making_room(|hold| {
            let seen = look()?;
            hold.writer().news.followers.add(&queue);
            Ok::<_, E>(seen)
        })?;
        Ok((Follower(queue), seen))
    }
}

impl Follower {
    /// What is new, and has not been told. Waits for it up to `timeout`; `None` where nothing came.
    pub fn next(&self, timeout: Duration) -> Option<Notice> {
        let deadline = Instant::now().checked_add(timeout);
        let mut waiting = self.0.lock();
        loop {
            if std::mem::take(&mut waiting.lagged) {
                return Some(Notice::Lagged);
            }
            if let Some(new) = waiting.commits.pop_front() {
                waiting.events -= new.len();
                return Some(Notice::New(new));
            }
            let came = &self.0.came;
            waiting = match deadline {
                None => came.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    came.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// What waits for a follower to look.
#[derive(Debug, Default)]
struct Queue {
    max_queued: usize,
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    commits: VecDeque<Arc<[HeldEvent]>>,
    /// How many events there are in them.
    events: usize,
    /// Whether some were passed over. Nothing is kept until that has been told.
    lagged: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, new: &Arc<[HeldEvent]>) {
        let mut waiting = self.lock();
        if waiting.lagged {
            return;
        }
        if !waiting.commits.is_empty() && waiting.events + new.len() > self.max_queued {
            *waiting = Waiting { lagged: true, ..Waiting::default() };
        } else {
            waiting.events += new.len();
            waiting.commits.push_back(new.clone());
        }
        self.came.notify_one();
    }
}

/// Those who follow a ledger.
#[derive(Debug, Default)]
pub struct Followers {
    queues: Mutex<Vec<Weak<Queue>>>,
    any: AtomicBool,
}

impl Followers {
    fn add(&self, queue: &Arc<Queue>) {
        self.lock().push(Arc::downgrade(queue));
        self.any.store(true, Ordering::SeqCst);
    }

    /// Tells of the events of a commit that readers see by now. Commits are told of one after the
    /// other.
    pub fn tell(&self, new: &Arc<[HeldEvent]>) {
        if new.is_empty() {
            return;
        }
        let mut queues = self.lock();
        queues.retain(|queue| queue.upgrade().inspect(|queue| queue.push(new)).is_some());
        if queues.is_empty() {
            self.any.store(false, Ordering::SeqCst);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was taken in and is to be told. Part of the writer.
#[derive(Debug, Default)]
pub struct News {
    /// Who is told when it is written.
    pub followers: Arc<Followers>,
    /// The events of the group that is being filled, where somebody follows.
    group: Vec<HeldEvent>,
    /// The events of the batch that is being admitted, where somebody wants to know.
    batch: Option<Vec<HeldEvent>>,
}

impl News {
    /// Notes an event that has been taken in.
    pub fn note(&mut self, event: &SignedEvent) {
        if let Some(batch) = &mut self.batch {
            batch.push(HeldEvent::of(event));
        }
        if self.followers.any.load(Ordering::SeqCst) {
            self.group.push(HeldEvent::of(event));
        }
    }

    /// Starts to list what is taken in from now on.
    pub fn start_batch(&mut self) {
        self.batch = Some(Vec::new());
    }

    /// Ends the list.
    pub fn end_batch(&mut self) -> Vec<HeldEvent> {
        self.batch.take().unwrap_or_default()
    }

    /// Takes the events of the group, which is to be written.
    pub fn take_group(&mut self) -> Arc<[HeldEvent]> {
        // Mostly nobody follows, and this costs nothing then.
        match std::mem::take(&mut self.group) {
            none if none.is_empty() => Arc::default(),
            new => new.into(),
        }
    }
}
