//! What the store of a simulated node answers.

use quipu_merge::{Checkpoint, CheckpointId, Micros};
use quipu_proto::{CertifyAnswer, CertifyTask, Derived, Parts, Ticket};

use super::ledger::{self, Set};
use super::world::World;

/// By how much an event may be dated ahead.
pub const AHEAD: u64 = 60_000_000;

impl World {
    /// What the store of a node answers.
    pub fn answer(&mut self, at: usize, task: CertifyTask) -> (Ticket, CertifyAnswer) {
        let disk = &self.members[at].disk;
        let before = disk.kept.last().map(|kept| kept.parts.id());
        let due = self.due(at);
        match task {
            CertifyTask::Grows { ticket, reports, quorum } => {
                let cut = self.ledger.choose(&reports, quorum, &disk.held, before, due);
                (ticket, CertifyAnswer::Grows(cut.is_some()))
            }
            CertifyTask::Choose { ticket, reports, quorum } => {
                let cut = self.ledger.choose(&reports, quorum, &disk.held, before, due);
                let parts = cut.and_then(|heads| self.ledger.derive(before, &heads));
                (ticket, CertifyAnswer::Chosen(parts.map(Box::new)))
            }
            CertifyTask::Derive { ticket, parts } => {
                let held = disk.held.clone();
                let (derived, _) = self.derive(&held, before, &parts, Some(due));
                (ticket, CertifyAnswer::Derived(derived))
            }
            CertifyTask::Keep { ticket, certified } => {
                // What is certified is not waited for.
                let come = disk.come.clone();
                let (derived, set) = self.derive(&come, before, &certified.parts, None);
                if derived == Derived::Same {
                    self.members[at].disk.kept.push(*certified);
                    self.hold(at, &set);
                }
                (ticket, CertifyAnswer::Derived(derived))
            }
            CertifyTask::Read { ticket, from, count, .. } => {
                let skip = usize::try_from(from.0.saturating_sub(1)).unwrap_or(usize::MAX);
                let some = disk.kept.iter().skip(skip).take(count).cloned().collect();
                (ticket, CertifyAnswer::Read(some))
            }
        }
    }

    /// Up to which time events are due at a node.
    fn due(&self, at: usize) -> Micros {
        if self.careless { Micros(u64::MAX) } else { Micros(self.wall(at) + AHEAD) }
    }

    /// One node gets the events of another.
    pub fn exchange(&mut self, from: usize, to: usize) {
        let up = |at: usize| self.members[at].certifier.is_some();
        if from == to || self.cut.contains(&(from, to)) || !up(from) || !up(to) {
            return;
        }
        let theirs = self.members[from].disk.held.clone();
        ledger::add(&mut self.members[to].disk.come, &theirs);
        self.admit(to);
    }

    /// A node holds what has come and is due.
    pub fn admit(&mut self, at: usize) {
        let disk = &self.members[at].disk;
        if self.members[at].certifier.is_some() && !ledger::covers(&disk.held, &disk.come) {
            let due = self.ledger.until(&disk.come, self.due(at));
            self.hold(at, &due);
        }
    }

    fn hold(&mut self, at: usize, set: &Set) {
        let held = &mut self.members[at].disk.held;
        if !ledger::covers(held, set) {
            ledger::add(held, set);
            self.heads_changed(at);
        }
    }

    /// Of what is `held`, and due where it matters.
    fn derive(
        &mut self,
        held: &Set,
        before: Option<CheckpointId>,
        parts: &Parts,
        due: Option<Micros>,
    ) -> (Derived, Set) {
        let mut set = Set::new();
        for head in parts.cut().heads() {
            match self.ledger.past(*head) {
                Some(past) if ledger::covers(held, past) => ledger::add(&mut set, past),
                _ => return (Derived::Lacks, set),
            }
        }
        let own = self.ledger.derive(before, parts.cut().heads());
        let newest = own.as_ref().and_then(|own| self.ledger.newest(own.id()));
        if due.is_some_and(|due| newest > Some(due)) {
            return (Derived::Lacks, set);
        }
        if own.as_ref() == Some(parts) {
            return (Derived::Same, set);
        }
        let own: Option<Box<Checkpoint>> = own.map(|own| Box::new(own.checkpoint().clone()));
        (Derived::Differs(own), set)
    }
}
