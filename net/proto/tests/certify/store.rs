//! What the store of a simulated node answers.

use quipu_merge::{Checkpoint, CheckpointId, Micros};
use quipu_proto::{CertifyAnswer, CertifyTask, Derived, Parts, Ticket};

use super::ledger::{self, Set};
use super::world::World;

/// By how much an event may be dated ahead.
const AHEAD: u64 = 60_000_000;

impl World {
    /// What the store of a node answers.
    pub fn answer(&mut self, at: usize, task: CertifyTask) -> (Ticket, CertifyAnswer) {
        let disk = &self.members[at].disk;
        let before = disk.kept.last().map(|kept| kept.parts.id());
        let due = Micros(self.wall(at) + AHEAD);
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
                let (derived, _) = self.derive(at, before, &parts, due);
                (ticket, CertifyAnswer::Derived(derived))
            }
            CertifyTask::Keep { ticket, certified } => {
                let (derived, set) = self.derive(at, before, &certified.parts, due);
                if derived == Derived::Same {
                    ledger::add(&mut self.members[at].disk.held, &set);
                    self.members[at].disk.kept.push(*certified);
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

    fn derive(
        &mut self,
        at: usize,
        before: Option<CheckpointId>,
        parts: &Parts,
        due: Micros,
    ) -> (Derived, Set) {
        let held = &self.members[at].disk.held;
        let mut set = Set::new();
        for head in parts.cut().heads() {
            match self.ledger.past(*head) {
                Some(past) if ledger::covers(held, past) => ledger::add(&mut set, past),
                _ => return (Derived::Lacks, set),
            }
        }
        if self.ledger.time(&set) > due {
            return (Derived::Lacks, set);
        }
        let own = self.ledger.derive(before, parts.cut().heads());
        if own.as_ref() == Some(parts) {
            return (Derived::Same, set);
        }
        let own: Option<Box<Checkpoint>> = own.map(|own| Box::new(own.checkpoint().clone()));
        (Derived::Differs(own), set)
    }
}
