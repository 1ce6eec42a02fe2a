//! Taking in what precedes the checkpoint that this replica has started from.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use quipu_merge::Height;
use quipu_proto::{Answer, HistoryEntry, Ticket};
use quipu_store::{FillError, Filling, Ledger, StorageError};

use super::{Counts, Report, Shared};
use crate::node::convert;

/// Until it is tried again to say that the history is whole.
const AGAIN: Duration = Duration::from_secs(5);
/// How long it takes to notice that the node is stopping, at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Something to take in.
#[derive(Debug)]
pub struct Taking {
    pub ticket: Ticket,
    pub from: u64,
    pub entries: Vec<HistoryEntry>,
}

/// What precedes a checkpoint and is to come.
pub struct Fill {
    filling: Filling,
    /// The checkpoint, the place where it goes on, and how many events there are.
    pub goal: (Height, u64, u64),
}

impl Fill {
    /// Opens what has come, where something is to come.
    pub fn open(ledger: &Ledger) -> Result<Option<Self>, FillError> {
        let Some(filling) = ledger.open_filling()? else { return Ok(None) };
        let goal = (filling.target().0, filling.next(), filling.total());
        Ok(Some(Self { filling, goal }))
    }
}

/// Takes in what comes until it is whole, or nothing more comes.
pub fn run(shared: &Shared, taking: &Receiver<Taking>, fill: Fill) {
    let mut filling = fill.filling;
    while !filling.is_whole() {
        let Ok(Taking { ticket, from, entries }) = taking.recv() else { return };
        if shared.is_stopping() {
            return;
        }
        shared.answer(ticket, take(shared, &mut filling, from, entries));
        if let Err(error) = prune(shared, &mut filling)
            && !shared.is_stopping()
        {
            failed(shared, &error);
        }
    }
    if finish(shared, filling) {
        shared.report(Report::Filled);
    }
}

fn take(shared: &Shared, filling: &mut Filling, from: u64, entries: Vec<HistoryEntry>) -> Answer {
    let taken = filling.take(from, entries.into_iter().map(convert::history_of_peer).collect());
    let good = match taken {
        // Where it is elsewhere, a failure before has cost it something.
        Ok(()) | Err(FillError::Place { .. }) => true,
        Err(error) if error.is_false() => {
            tracing::warn!(%error, "a peer has sent history that is not what is certified");
            false
        }
        Err(error) => {
            failed(shared, &error);
            return Answer::Failed;
        }
    };
    Answer::HistoryTaken { next: filling.next(), good }
}

/// Drops what is not to stay, unless the node is stopping.
fn prune(shared: &Shared, filling: &mut Filling) -> Result<(), FillError> {
    filling.prune(&mut |_, _| match shared.is_stopping() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
}

fn failed(shared: &Shared, error: &FillError) {
    match error {
        FillError::Storage(StorageError::NoRoom { .. }) => {
            Counts::add(&shared.counts.failed, 1);
            tracing::warn!(%error, "history is not taken in");
        }
        _ => shared.failed("take in history", error),
    }
}

/// Says that it is whole, as soon as that can be done. Tells whether it has been said.
fn finish(shared: &Shared, filling: Filling) -> bool {
    let mut next = Some(filling);
    while !shared.is_stopping() {
        let finished = match next.take() {
            Some(mut filling) => prune(shared, &mut filling).and_then(|()| filling.finish()),
            None => match shared.ledger.open_filling() {
                Ok(Some(filling)) => {
                    next = Some(filling);
                    continue;
                }
                // It has been said.
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            },
        };
        match finished {
            Ok(()) => return true,
            Err(_) if shared.is_stopping() => return false,
            Err(error) => failed(shared, &error),
        }
        let mut waited = Duration::ZERO;
        while waited < AGAIN && !shared.stopping.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_EVERY);
            waited += LOOK_EVERY;
        }
    }
    false
}
