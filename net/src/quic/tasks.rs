//! The tasks of an endpoint: none outlives it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

/// Tasks that end with their owner. There are none any more once they have been ended.
pub(crate) struct Tasks(Mutex<Option<JoinSet<()>>>);

impl Tasks {
    pub fn new() -> Self {
        Self(Mutex::new(Some(JoinSet::new())))
    }

    /// Starts a task; `false` if they have been ended.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut tasks = self.lock();
        let Some(set) = tasks.as_mut() else { return false };
        // Forgets those that are done, so that there are no more than what runs.
        while set.try_join_next().is_some() {}
        set.spawn(task);
        true
    }

    /// Ends all of them where they stand.
    pub fn abort(&self) {
        drop(self.lock().take());
    }

    /// Ends all of them where they stand, and waits until they have.
    pub async fn end(&self) {
        let tasks = self.lock().take();
        if let Some(mut set) = tasks {
            set.shutdown().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
