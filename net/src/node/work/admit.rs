//! Taking in what peers send: one thread checks, another admits what was checked before.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use quipu_merge::EventId;
use quipu_proto::{Answer, Outcome, Packet, Placed, Ticket};
use quipu_store::{AdmitReport, CheckedEvents, StorageError};

use super::{Counts, Shared};
use crate::node::clock;
use crate::node::convert;

/// So many events are checked and admitted together, where so many wait.
const AT_ONCE: usize = 512;
/// How long the thread that admits sleeps at most: events that wait for their time may come from
/// elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Events of one task.
#[derive(Debug)]
pub struct Admission {
    pub ticket: Ticket,
    pub packets: Vec<Packet>,
}

/// Events of several tasks that have been checked.
pub struct Checked {
    /// The tasks, with the ids of their events.
    tasks: Vec<(Ticket, Vec<EventId>)>,
    events: CheckedEvents,
}

/// Checks what comes until nothing more will.
pub fn check(shared: &Shared, admissions: &Receiver<Admission>, checked: &SyncSender<Checked>) {
    while let Ok(first) = admissions.recv() {
        let (mut tasks, mut events) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(Admission { ticket, packets }) = next {
            tasks.push((ticket, packets.iter().map(Packet::id).collect()));
            events.extend(packets.into_iter().map(convert::incoming));
            next = if events.len() < AT_ONCE { admissions.try_recv().ok() } else { None };
        }
        let events = CheckedEvents::check(events);
        if shared.is_stopping() || checked.send(Checked { tasks, events }).is_err() {
            return;
        }
    }
}

/// Admits what has been checked, and what has been waiting for its time.
pub fn admit(shared: &Shared, checked: &Receiver<Checked>) {
    loop {
        let due = shared.ledger.next_due();
        let until = due.map_or(LOOK_EVERY, |due| clock::until(due).min(LOOK_EVERY));
        match checked.recv_timeout(until) {
            Ok(Checked { tasks, events }) => {
                shared.gate.admit(|| {
                    let (answers, new) = take_in(shared, &tasks, events);
                    // Before anybody else may report of what is held.
                    answers.into_iter().for_each(|(ticket, answer)| shared.answer(ticket, answer));
                    new
                });
            }
            Err(RecvTimeoutError::Timeout) => admit_due(shared),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What was waiting for its time is told of by the follower.
fn admit_due(shared: &Shared) {
    let due = shared.ledger.next_due().is_some_and(|due| clock::until(due).is_zero());
    if due && let Err(error) = shared.ledger.admit_checked(CheckedEvents::default()) {
        shared.failed("admit what was due", &error);
    }
}

type Answers = Vec<(Ticket, Answer)>;

fn take_in(
    shared: &Shared,
    tasks: &[(Ticket, Vec<EventId>)],
    events: CheckedEvents,
) -> (Answers, Vec<EventId>) {
    match shared.ledger.admit_checked(events) {
        Ok(report) => {
            let new = report.new.iter().map(|event| event.id).collect();
            (answers(&shared.counts, tasks, report), new)
        }
        Err(error) => {
            match error {
                StorageError::NoRoom { .. } => {
                    Counts::add(&shared.counts.failed, 1);
                    tracing::warn!(%error, "events are not taken in");
                }
                _ => shared.failed("admit events", &error),
            }
            // Some may have been admitted: the follower tells which.
            (tasks.iter().map(|(ticket, _)| (*ticket, Answer::Failed)).collect(), Vec::new())
        }
    }
}

/// Gives each task what has become of its events. What was waiting for them goes with the last.
fn answers(counts: &Counts, tasks: &[(Ticket, Vec<EventId>)], report: AdmitReport) -> Answers {
    let owner = |id: &EventId| tasks.iter().position(|(_, ids)| ids.contains(id));
    let mut new = BTreeMap::<usize, Vec<Placed>>::new();
    for event in &report.new {
        let task = if tasks.len() == 1 { None } else { owner(&event.id) };
        let task = task.unwrap_or(tasks.len().saturating_sub(1));
        new.entry(task).or_default().push(convert::placed(event));
    }
    let mut outcomes = report.outcomes.into_iter().map(|outcome| match outcome {
        Ok(quipu_store::Outcome::Admitted) => {
            Counts::add(&counts.admitted, 1);
            Outcome::Admitted
        }
        Ok(quipu_store::Outcome::Known) => {
            Counts::add(&counts.known, 1);
            Outcome::Known
        }
        // Of what finds no room to wait, a comparison tells again.
        Ok(quipu_store::Outcome::Waits(_) | quipu_store::Outcome::Dropped(_)) => Outcome::Waits,
        Err(refusal) => {
            Counts::add(&counts.refused, 1);
            tracing::warn!(event = %refusal.event, %refusal, "a peer sent an event that is refused");
            Outcome::Refused(refusal.to_string())
        }
    });
    let tasks = tasks.iter().enumerate();
    tasks
        .map(|(at, (ticket, ids))| {
            let outcomes = outcomes.by_ref().take(ids.len()).collect();
            (*ticket, Answer::Admitted { outcomes, new: new.remove(&at).unwrap_or_default() })
        })
        .collect()
}
