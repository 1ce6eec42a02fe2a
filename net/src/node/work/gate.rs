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
    /// Somebody waits until nothing is being admitted; no admission begins until that is over.
    restarting: bool,
    /// What they have brought and the follower has not told of yet.
    answered: HashSet<EventId>,
}

impl Gate {
    /// Runs an admission, which answers its tasks. Of the events that it returns, [`Self::new_here`]
    /// says nothing.
    pub fn admit(&self, admit: impl FnOnce() -> Vec<EventId>) {
        let mut state = self.lock();
        while state.restarting {
            state = self.wait(state);
        }
        state.begun += 1;
        drop(state);
        let mut ending = Ending { gate: self, answered: Vec::new() };
        ending.answered = admit();
    }

    /// Those of these events of which nobody has been told.
    pub fn new_here(&self, told: &[HeldEvent]) -> Vec<HeldEvent> {
        let mut state = self.settled();
        told.iter().filter(|event| !state.answered.remove(&event.id)).copied().collect()
    }

    /// Does something while nothing is being admitted, after which followers tell of nothing that was
    /// admitted before.
    pub fn restart<T>(&self, restart: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        // Otherwise another admission might begin whenever one ends.
        state.restarting = true;
        while state.ended < state.begun {
            state = self.wait(state);
        }
        let value = restart();
        state.answered.clear();
        state.restarting = false;
        self.changed.notify_all();
        value
    }

    /// Waits for the admission that is under way now, if one is.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let begun = state.begun;
        while state.ended < begun {
            state = self.wait(state);
        }
        state
    }

    fn wait<'g>(&self, state: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends an admission, also one that panics: nobody waits for it then.
struct Ending<'g> {
    gate: &'g Gate,
    answered: Vec<EventId>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.ended += 1;
        state.answered.extend(std::mem::take(&mut self.answered));
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use quipu_merge::{AuthorKey, Seq};

    use super::*;

    fn event(id: u8) -> HeldEvent {
        let (author, id) = (AuthorKey([0; 32]), EventId([id; 32]));
        HeldEvent { author, seq: Seq(1), id, prev: None }
    }

    #[test]
    fn what_was_answered_is_told_by_nobody_else() {
        let gate = Gate::default();
        gate.admit(|| vec![event(1).id]);
        assert_eq!(gate.new_here(&[event(1), event(2)]), [event(2)]);
        assert_eq!(gate.new_here(&[event(1)]), [event(1)], "it was passed over once");
    }

    /// However many admissions follow each other, nothing is admitted while what is held is read anew.
    #[test]
    fn nothing_is_admitted_while_the_frontier_is_read() {
        let gate = Arc::new(Gate::default());
        let (admitting, done) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let admissions = {
            let (gate, admitting, done) = (gate.clone(), admitting.clone(), done.clone());
            std::thread::spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    gate.admit(|| {
                        admitting.store(true, Ordering::SeqCst);
                        std::thread::yield_now();
                        admitting.store(false, Ordering::SeqCst);
                        vec![event(1).id]
                    });
                }
            })
        };
        for _ in 0..2_000 {
            gate.restart(|| {
                for _ in 0..10 {
                    assert!(!admitting.load(Ordering::SeqCst));
                    std::thread::yield_now();
                }
            });
        }
        done.store(true, Ordering::SeqCst);
        admissions.join().unwrap();
    }

    #[test]
    fn an_admission_that_panics_holds_nobody_up() {
        let gate = Arc::new(Gate::default());
        let broken = gate.clone();
        assert!(std::thread::spawn(move || broken.admit(|| panic!("on purpose"))).join().is_err());
        assert_eq!(gate.new_here(&[event(1)]), [event(1)]);
        gate.restart(|| std::thread::sleep(Duration::from_millis(1)));
    }
}
