//! From a stamped event to a durable one: who writes the group, and who waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rocksdb::WriteBatch;

use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::mark::Tip;
use crate::options::Durability;
use crate::writer::{Published, Writer};

/// How far writing has come.
pub(crate) struct Commits {
    state: Mutex<State>,
    /// Where those wait whose events are in a group, of even or of odd number: one group is being
    /// written, and the next is being filled.
    written: [Condvar; 2],
    /// Where those wait who want to write alone.
    alone: Condvar,
    /// Twice the number of groups that were written; one more while one is.
    writes: AtomicU64,
}

struct State {
    /// The number of the last group that is written.
    last: u64,
    /// Whether somebody is writing.
    busy: bool,
    /// Why nothing is written any more: what was written last was not made known.
    broken: Option<String>,
}

/// The right to write groups, which one thread has at a time.
struct Turn<'l> {
    commits: &'l Commits,
    /// The group that it was taken for, if for one.
    group: Option<u64>,
    /// Whether the thread was panicking before: then it is not because of what it writes.
    panicking: bool,
}

impl Commits {
    /// Starts after the group with this number.
    pub(crate) const fn new(last: u64) -> Self {
        let state = Mutex::new(State { last, busy: false, broken: None });
        let written = [const { Condvar::new() }; 2];
        Self { state, written, alone: Condvar::new(), writes: AtomicU64::new(0) }
    }

    /// A number that stays the same as long as nobody begins to write. `None` while somebody does:
    /// what the database holds may not be known to readers then.
    pub(crate) fn quiet(&self) -> Option<u64> {
        let writes = self.writes.load(Ordering::SeqCst);
        writes.is_multiple_of(2).then_some(writes)
    }

    /// Waits for the right to write a group, or to write alone. `None` where the group has been
    /// written meanwhile.
    fn turn(&self, group: Option<u64>) -> Result<Option<Turn<'_>>, StorageError> {
        let mut state = self.lock();
        loop {
            if group.is_some_and(|group| state.last >= group) {
                return Ok(None);
            }
            state.check()?;
            if !state.busy {
                state.busy = true;
                let panicking = std::thread::panicking();
                return Ok(Some(Turn { commits: self, group, panicking }));
            }
            let free = group.map_or(&self.alone, |group| self.of_group(group));
            state = free.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn of_group(&self, group: u64) -> &Condvar {
        let [even, odd] = &self.written;
        if group.is_multiple_of(2) { even } else { odd }
    }

    /// Wakes those who have something to do now that nobody writes: of the group that was written,
    /// everybody; of the next, one to write it.
    fn wake(&self, written: Option<u64>) {
        let Some(group) = written else {
            // Several groups may have been written, or none where writing failed.
            return self.written.iter().chain([&self.alone]).for_each(Condvar::notify_all);
        };
        self.of_group(group).notify_all();
        self.of_group(group + 1).notify_one();
        self.alone.notify_one();
    }

    /// Refuses to go on where a group may have been written without being made known.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        self.lock().check()
    }

    fn break_off(&self, why: impl Into<String>) {
        self.lock().broken.get_or_insert(why.into());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self) -> Result<(), StorageError> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(StorageError::Poisoned(why.clone())))
    }
}

impl Turn<'_> {
    fn advance(&self, last: u64) {
        self.commits.lock().last = last;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Between taking a group and making it known, nobody else can tell what became of it.
        if std::thread::panicking() && !self.panicking {
            self.commits.break_off("a thread panicked while writing");
        }
        let written = {
            let mut state = self.commits.lock();
            state.busy = false;
            self.group.filter(|group| state.last == *group && state.broken.is_none())
        };
        self.commits.wake(written);
    }
}

impl Ledger {
    /// Runs `fill` under the writer's lock; it may add to the group. Then waits until the group is
    /// written, or writes it.
    pub(crate) fn with_writer<T, E: From<StorageError>>(
        &self,
        fill: impl FnOnce(&mut Writer) -> Result<T, E>,
    ) -> Result<T, E> {
        self.commits.check()?;
        self.db.check_room()?;
        let (group, value) = {
            let mut writer = self.lock_writer();
            writer.check()?;
            let value = fill(&mut writer)?;
            (writer.group, value)
        };
        if let Some(turn) = self.commits.turn(Some(group))? {
            let (batch, published, tip) = {
                let mut writer = self.lock_writer();
                writer.check()?;
                let taken = writer.take(&self.db);
                let (batch, published) = taken.inspect_err(|error| writer.poison(error))?;
                let tip = Tip::of(&published, writer.own.as_ref());
                (batch, published, tip)
            };
            let written = self.write_batch(batch, self.is_durable(), tip);
            // Readers wait for nobody: what is written is known before the writer is free.
            let written = written.map(|()| self.announce(published, &turn));
            if let Err(error) = &written {
                self.fail(&mut self.lock_writer(), error);
            }
            written?;
        }
        Ok(value)
    }

    /// Runs `fill` while nobody else writes and everything is written that was before.
    pub(crate) fn exclusively<T, E: From<StorageError>>(
        &self,
        fill: impl FnOnce(&mut Exclusive<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.db.check_room()?;
        self.with_turn(self.is_durable(), fill)
    }

    /// Like [`Self::exclusively`], but what is written may be lost in a crash of the machine until
    /// [`Ledger::sync`] has been called. For foreign events, which can be had again.
    pub(crate) fn in_bulk<T, E: From<StorageError>>(
        &self,
        fill: impl FnOnce(&mut Exclusive<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.db.check_room()?;
        self.with_turn(false, fill)
    }

    /// Like [`Self::in_bulk`], for what is deleted: that goes on where there is no room for more.
    pub(crate) fn making_room<T, E: From<StorageError>>(
        &self,
        fill: impl FnOnce(&mut Exclusive<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.with_turn(false, fill)
    }

    fn with_turn<T, E: From<StorageError>>(
        &self,
        sync: bool,
        fill: impl FnOnce(&mut Exclusive<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // Without a group to wait for, the turn always comes.
        let Some(turn) = self.commits.turn(None)? else { return Err(never()) };
        let writer = self.lock_writer();
        writer.check()?;
        let mut hold = Exclusive { ledger: self, writer, turn, sync };
        // What others have put into the group is theirs, and as durable as they asked for.
        hold.flush_as(self.is_durable())?;
        let value = fill(&mut hold);
        // What was taken in before an error is whole, or the writer is poisoned.
        hold.flush()?;
        value
    }

    fn is_durable(&self) -> bool {
        self.durability == Durability::Immediate
    }

    /// Writes a batch. After an error nobody knows whether it is on the disk.
    fn write_batch(&self, batch: WriteBatch, sync: bool, tip: Tip) -> Result<(), StorageError> {
        fail::fail_point!("before-write");
        self.commits.writes.fetch_add(1, Ordering::SeqCst);
        self.db.commit(batch, sync, tip)?;
        fail::fail_point!("after-write");
        Ok(())
    }

    /// Makes known to readers and to those who wait that a group has been written.
    fn announce(&self, published: Published, turn: &Turn<'_>) {
        let (commit, new) = (published.commit, published.new.clone());
        self.publish(Arc::new(published));
        self.commits.writes.fetch_add(1, Ordering::SeqCst);
        self.followers.tell(&new);
        turn.advance(commit);
    }

    /// Refuses everything from now on: nobody knows what became of a group.
    fn fail(&self, writer: &mut Writer, error: &StorageError) {
        writer.poison(error);
        self.commits.break_off(error.to_string());
    }
}

fn never<E: From<StorageError>>() -> E {
    StorageError::damaged("the order of commits").into()
}

/// The right to write alone. Holding it, the group can be written at any time.
pub(crate) struct Exclusive<'l> {
    ledger: &'l Ledger,
    writer: MutexGuard<'l, Writer>,
    turn: Turn<'l>,
    sync: bool,
}

impl Exclusive<'_> {
    /// The writer.
    pub(crate) fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Writes what the group holds.
    pub(crate) fn flush(&mut self) -> Result<(), StorageError> {
        self.flush_as(self.sync)
    }

    fn flush_as(&mut self, sync: bool) -> Result<(), StorageError> {
        self.writer.check()?;
        if self.writer.is_empty() {
            return Ok(());
        }
        let taken = self.writer.take(&self.ledger.db);
        let (batch, published) = taken.inspect_err(|error| self.writer.poison(error))?;
        let tip = Tip::of(&published, self.writer.own.as_ref());
        let written = self.ledger.write_batch(batch, sync, tip);
        let written = written.map(|()| self.ledger.announce(published, &self.turn));
        written.inspect_err(|error| self.ledger.fail(&mut self.writer, error))
    }
}
