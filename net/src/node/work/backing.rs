//! What others start from, and what precedes that: reading it for them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use quipu_merge::Height;
use quipu_proto::{Answer, StartFile, Ticket};
use quipu_store::ReadError;

use super::Shared;
use super::starts::Starts;
use crate::node::convert;

/// How often it is looked whether what is kept is still asked for.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Something to read.
#[derive(Debug)]
pub enum Backing {
    Start(Ticket),
    Part(Ticket, StartFile, u64, usize),
    History(Ticket, u64, Height, usize),
}

/// Reads until nothing more is asked for.
pub fn run(shared: &Arc<Shared>, asked: &Receiver<Backing>) {
    let mut starts = Starts::new(shared.clone());
    loop {
        let backing = match asked.recv_timeout(LOOK_EVERY) {
            Ok(backing) => backing,
            Err(RecvTimeoutError::Timeout) => {
                starts.look(Instant::now());
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if shared.is_stopping() {
            return;
        }
        let (ticket, answer) = match backing {
            Backing::Start(ticket) => (ticket, Answer::Start(starts.latest())),
            Backing::Part(ticket, file, offset, max_len) => {
                (ticket, Answer::StartPart(starts.read(file, offset, max_len)))
            }
            Backing::History(ticket, from, up_to, max_len) => {
                (ticket, history(shared, from, up_to, max_len))
            }
        };
        shared.answer(ticket, answer);
    }
}

fn history(shared: &Shared, from: u64, up_to: Height, max_len: usize) -> Answer {
    match shared.ledger.history(from, up_to, max_len) {
        Ok(history) => Answer::History(convert::history_to_send(history.items)),
        Err(ReadError::Storage(error)) => {
            shared.failed("read history for a peer", &error);
            Answer::Failed
        }
        // It starts from a later checkpoint itself, has pruned bodies, or is not so far.
        Err(error) => {
            tracing::debug!(%error, "a peer wants history that is not here");
            Answer::History(None)
        }
    }
}
