//! Deriving checkpoints for certification, on a thread that gives way to those who write.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

use quipu_merge::{EventId, Height};
use quipu_proto::{Certified, CertifyAnswer, CertifyTask, Derived, Parts, Reports};
use quipu_store::{Choice, DeriveError, Ledger, ReadError};

use super::work::{CertifyReport, Doing, Shared};
use super::{convert, tasks};

/// How much nicer than the rest of the node: beside one other thread that wants the same core, this one has
/// a quarter of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;
/// Where more events than so many are not certified, deriving gives way no longer: what writes for long as
/// fast as it can would leave it further and further behind.
const BEHIND: u64 = 1 << 15;

/// Does what is asked for until nothing more is. What is certified is derived here, and then kept by the thread
/// that `keeping` leads to: whoever holds up writers must not be held up itself. That thread, which gives way to
/// nobody, does it all where certification is behind.
pub fn run(shared: &Shared, asked: &Receiver<CertifyTask>, keeping: &Sender<Doing>) {
    give_way();
    let ledger = &*shared.ledger;
    let hand_over = |task| drop(keeping.send(Doing::Task(task)));
    while let Ok(task) = asked.recv() {
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        match task {
            task if is_behind(ledger) => hand_over(task),
            CertifyTask::Keep { ref certified, .. } => {
                derive_next(ledger, certified);
                hand_over(task);
            }
            task => tasks::perform(shared, task),
        }
    }
}

fn is_behind(ledger: &Ledger) -> bool {
    let held = ledger.snapshot().and_then(|snapshot| snapshot.len());
    held.is_ok_and(|held| held.saturating_sub(ledger.certification().events) > BEHIND)
}

/// Lets other threads go first from now on where they want the same core.
/// Threads that this one starts would do so, too: deriving starts none, nor a pool that others share.
fn give_way() {
    // Elsewhere it would be the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "deriving checkpoints cannot give way to other work");
    }
}

/// Derives what is certified and comes next. What goes wrong shows when it is to be kept.
fn derive_next(ledger: &Ledger, certified: &Certified) {
    let last = ledger.certification().height;
    let next = last.map_or(Some(Height::FIRST), Height::next);
    if next == Some(certified.parts.checkpoint().height) {
        drop(ledger.derive(certified.parts.cut().heads()));
    }
}

pub fn choose(ledger: &Ledger, reports: Reports, quorum: usize) -> Result<Choice, ReadError> {
    let reports: Vec<_> = reports.into_iter().map(|(_, heads)| heads).collect();
    ledger.choose(&reports, quorum)
}

/// Derives the checkpoint over a cut that is expected to be proposed: at the same time as whoever proposes it,
/// instead of after that.
pub fn ahead(ledger: &Ledger, expected: &[EventId]) {
    if is_all(ledger, expected) {
        // The store remembers it. What goes wrong shows when it is asked for.
        drop(ledger.derive(expected));
    }
}

/// Whether a cut with these heads is all that is held here. Where more is being written, another one will be
/// proposed, and deriving this one would be in vain.
fn is_all(ledger: &Ledger, heads: &[EventId]) -> bool {
    let set = |heads: &[EventId]| heads.iter().copied().collect::<BTreeSet<_>>();
    let held = ledger.snapshot().and_then(|snapshot| snapshot.heads());
    held.is_ok_and(|held| set(&held) == set(heads))
}

/// Derives the checkpoint over a cut that was chosen.
pub fn propose(shared: &Shared, chosen: Choice) -> CertifyAnswer {
    let heads = match chosen {
        Choice::Cut(heads) => heads,
        Choice::NotDue => return CertifyAnswer::NotDue,
        Choice::Nothing => return CertifyAnswer::Chosen(None),
    };
    let derived = shared.ledger.derive(&heads);
    let hindered = match &derived {
        Err(error @ DeriveError::TooManyValidators(_)) => Some(format!(
            "no checkpoint can be proposed ({error}): an admin has to revoke some of them"
        )),
        _ => None,
    };
    shared.report(CertifyReport::Hindered(hindered));
    match derived {
        Ok(derivation) => match convert::parts(derivation) {
            Ok(parts) => CertifyAnswer::Chosen(Some(Box::new(parts))),
            Err(error) => {
                tracing::error!(%error, "a checkpoint cannot be proposed");
                CertifyAnswer::Failed
            }
        },
        Err(DeriveError::NotBeyond) => CertifyAnswer::Chosen(None),
        Err(error) => {
            tracing::error!(%error, "a checkpoint cannot be derived");
            CertifyAnswer::Failed
        }
    }
}

/// Derives what was proposed, and compares. `None` where the store failed.
pub fn proposed(ledger: &Ledger, parts: &Parts) -> Option<Derived> {
    let proposed = parts.checkpoint();
    if ledger.certification().height >= Some(proposed.height) {
        // It has been certified meanwhile, and has come another way.
        return Some(Derived::Lacks);
    }
    match ledger.derive(parts.cut().heads()) {
        Ok(derivation) if !derivation.is_due() => Some(Derived::Lacks),
        Ok(derivation) if derivation.checkpoint == *proposed => Some(Derived::Same),
        Ok(derivation) => {
            let height = proposed.height;
            tracing::warn!(%height, "another checkpoint is proposed than is derived here");
            Some(Derived::Differs(Some(Box::new(derivation.checkpoint))))
        }
        Err(DeriveError::Missing(_)) => Some(Derived::Lacks),
        Err(DeriveError::Storage(error)) => {
            tracing::error!(%error, "the store failed to derive a checkpoint");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "a checkpoint is proposed that there cannot be");
            Some(Derived::Differs(None))
        }
    }
}

#[cfg(test)]
mod tests {
    use quipu_store::{Durability, NewLedger, Options};

    use super::*;

    #[test]
    fn a_cut_is_derived_ahead_only_where_nothing_is_held_beyond_it() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(dir.path().join("store"), &NewLedger::default()).unwrap();
        let put = || {
            let mut transaction = ledger.transaction();
            transaction.put("key", b"value").unwrap();
            transaction.commit().unwrap().event
        };
        let first = put();
        assert!(is_all(&ledger, &[first]));
        assert!(!is_all(&ledger, &[ledger.id()]));
        let second = put();
        assert!(is_all(&ledger, &[second]));
        assert!(!is_all(&ledger, &[first]));
    }

    #[test]
    fn certification_is_behind_once_many_events_are_not_certified() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().durability(Durability::Relaxed);
        let ledger = options.create(dir.path().join("store"), &NewLedger::default()).unwrap();
        let append = || {
            let mut transaction = ledger.transaction();
            transaction.inc("count", 1).unwrap();
            transaction.commit().unwrap();
        };
        // The genesis is an event, too.
        (1..BEHIND).for_each(|_| append());
        assert!(!is_behind(&ledger));
        append();
        assert!(is_behind(&ledger));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_the_thread_that_derives_gives_way() {
        let niceness = || rustix::process::nice(0).unwrap();
        let before = niceness();
        let deriving = std::thread::spawn(move || {
            give_way();
            niceness()
        });
        assert_eq!(deriving.join().unwrap(), (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }
}
