//! Keeps apart what came from peers and what was written here.
//!
//! The store tells its followers of every event, those included that this node admits; of these the node
//! learns with the answer to its task, and must not hear twice. So the follower's thread waits for the
//! admission that was under way when it was told, and passes over what that one has brought.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use quipu_merge::EventId;
use quipu_store::HeldEvent;

/// Between the thread that admits and the one that follows.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many admissions have begun, and how many have ended.
    begun: u64,
    ended: u64,
    /// What they have brought and the follower has not told of yet.
    answered: HashSet<EventId>,
}

impl Gate {
    /// Runs an admission, which answers its tasks. Of the events that it returns, [`Self::new_here`]
    /// says nothing.
    pub fn admit(&self, admit: impl FnOnce() -> Vec<EventId>) {
        self.lock().begun += 1;
        let answered = admit();
        let mut state = self.lock();
        state.ended += 1;
        state.answered.extend(answered);
        self.changed.notify_all();
    }

    /// Those of these events of which nobody has been told.
    pub fn new_here(&self, told: &[HeldEvent]) -> Vec<HeldEvent> {
        let mut state = self.settled();
        told.iter().filter(|event| !state.answered.remove(&event.id)).copied().collect()
    }

    /// Does something while nothing is being admitted, after which followers tell of nothing that was
    /// admitted before.
    pub fn restart<T>(&self, restart: impl FnOnce() -> T) -> T {
        let mut state = self.settled();
        let value = restart();
        state.answered.clear();
        value
    }

    /// Waits for the admission that is under way now, if one is.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let begun = state.begun;
        while state.ended < begun {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
