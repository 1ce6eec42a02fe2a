//! What certification asks of the store about checkpoints.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use quipu_merge::{EventId, Height};
use quipu_proto::{
    Certified, CertifyAnswer, CertifyTask, Derived, Divergence, Evidence, Parts, Reports,
};
use quipu_store::{Acceptance, Choice, DeriveError, KeptEvidence, Ledger, ReadError};

use super::convert;
use super::work::{CertifyReport, Doing, Shared};

/// Does what is asked for until nothing more is. So many pieces of evidence are kept; those for which there
/// is no room are counted all the same.
pub fn run(shared: &Shared, doing: &Receiver<Doing>, mut evidence: usize) {
    while let Ok(doing) = doing.recv() {
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        match doing {
            Doing::Task(task) => perform(shared, task),
            Doing::Look(height) => {
                if let Err(error) = look(shared, height) {
                    tracing::error!(%error, "a checkpoint cannot be read");
                }
            }
            Doing::Evidence(piece) => {
                if keep_evidence(&shared.ledger, &piece) {
                    evidence += 1;
                    shared.report(CertifyReport::Evidence(evidence));
                }
            }
            Doing::Cosigned(height, signatures) => {
                if let Err(error) = shared.ledger.keep_cosignatures(height, &signatures) {
                    tracing::warn!(%error, "the lines of a note cannot be kept");
                }
            }
            Doing::Diverged(divergence) => keep_divergence(&shared.ledger, &divergence),
        }
    }
}

/// Tells what has come another way: the checkpoint of this height, or that the ledger has diverged.
fn look(shared: &Shared, height: Height) -> Result<(), ReadError> {
    let ledger = &shared.ledger;
    for one in read(ledger, height, 1, usize::MAX)? {
        shared.report(CertifyReport::Counted(Box::new(one)));
    }
    let Some(diverged) = ledger.certification().diverged.into_iter().next() else { return Ok(()) };
    let height = diverged.height();
    let certificates = match diverged {
        quipu_store::Divergence::Certificates { other, .. } => {
            let kept = ledger.snapshot()?.checkpoint(height)?;
            kept.map(|kept| Box::new((kept.certificate, other.certificate)))
        }
        quipu_store::Divergence::Derived { .. } => None,
    };
    shared.report(CertifyReport::Diverged(height, certificates));
    Ok(())
}

fn perform(shared: &Shared, task: CertifyTask) {
    let ledger = &*shared.ledger;
    let done = |ticket, answer| shared.report(CertifyReport::Done(ticket, answer));
    match task {
        CertifyTask::Grows { ticket, reports, quorum } => match choose(ledger, reports, quorum) {
            Ok(Choice::Cut(heads)) => {
                done(ticket, CertifyAnswer::Grows(true));
                // Whoever proposes next is expected to choose the same.
                derive_ahead(ledger, &heads);
            }
            Ok(Choice::NotDue) => done(ticket, CertifyAnswer::NotDue),
            Ok(Choice::Nothing) => done(ticket, CertifyAnswer::Grows(false)),
            Err(error) => done(ticket, failed(error)),
        },
        CertifyTask::Choose { ticket, reports, quorum } => {
            let chosen = choose(ledger, reports, quorum);
            done(ticket, chosen.map_or_else(failed, |chosen| propose(shared, chosen)));
        }
        CertifyTask::Derive { ticket, parts } => {
            let derived = derive(ledger, &parts);
            done(ticket, derived.map_or(CertifyAnswer::Failed, CertifyAnswer::Derived));
        }
        CertifyTask::Keep { ticket, certified } => done(ticket, keep(ledger, &certified)),
        CertifyTask::Read { ticket, from, count, max_len } => {
            let read = read(ledger, from, count, max_len);
            done(ticket, read.map_or_else(failed, CertifyAnswer::Read));
        }
    }
}

fn failed(error: ReadError) -> CertifyAnswer {
    tracing::error!(%error, "the store failed to certify");
    CertifyAnswer::Failed
}

fn choose(ledger: &Ledger, reports: Reports, quorum: usize) -> Result<Choice, ReadError> {
    let reports: Vec<_> = reports.into_iter().map(|(_, heads)| heads).collect();
    ledger.choose(&reports, quorum)
}

/// Derives the checkpoint over a cut that is expected to be proposed: at the same time as whoever proposes it,
/// instead of after that.
fn derive_ahead(ledger: &Ledger, expected: &[EventId]) {
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
fn propose(shared: &Shared, chosen: Choice) -> CertifyAnswer {
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
fn derive(ledger: &Ledger, parts: &Parts) -> Option<Derived> {
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

/// Lets a checkpoint count that is certified.
fn keep(ledger: &Ledger, certified: &Certified) -> CertifyAnswer {
    let height = certified.parts.checkpoint().height;
    match ledger.accept(convert::to_keep(certified)) {
        Ok(Acceptance::Counted | Acceptance::Known) => CertifyAnswer::Derived(Derived::Same),
        // The store lets it count as soon as it can, and knows it then.
        Ok(Acceptance::Pending) => CertifyAnswer::Derived(Derived::Lacks),
        Ok(Acceptance::Diverged) => {
            CertifyAnswer::Derived(Derived::Differs(derived_instead(ledger, height)))
        }
        Err(error) => {
            tracing::error!(%error, %height, "a certified checkpoint cannot be kept");
            CertifyAnswer::Failed
        }
    }
}

/// What was derived here in the place of what is certified.
fn derived_instead(ledger: &Ledger, height: Height) -> Option<Box<quipu_merge::Checkpoint>> {
    ledger.certification().diverged.into_iter().find_map(|diverged| match diverged {
        quipu_store::Divergence::Derived { certified, derived } if certified.height() == height => {
            derived
        }
        _ => None,
    })
}

fn read(
    ledger: &Ledger,
    from: Height,
    count: usize,
    max_len: usize,
) -> Result<Vec<Certified>, ReadError> {
    let snapshot = ledger.snapshot()?;
    let (mut some, mut len, mut next) = (Vec::new(), 0, Some(from.max(Height::FIRST)));
    if from < snapshot.first_checkpoint() {
        // Others have those.
        return Ok(some);
    }
    while some.len() < count
        && let Some(height) = next
        && let Some(kept) = snapshot.checkpoint(height)?
    {
        let damaged =
            |_| quipu_store::StorageError::Damaged { what: format!("checkpoint {height}") };
        let certified = convert::to_send(kept).map_err(damaged)?;
        len += certified.encode().len();
        if !some.is_empty() && len > max_len {
            break;
        }
        some.push(certified);
        next = height.next();
    }
    Ok(some)
}

/// Keeps evidence; tells whether it is new, as far as that is known where there is no room for it.
fn keep_evidence(ledger: &Ledger, evidence: &Evidence) -> bool {
    let name = [
        evidence.height().0.to_be_bytes().as_slice(),
        &evidence.round().to_be_bytes(),
        evidence.kind().as_bytes(),
    ]
    .concat();
    match ledger.keep_evidence(evidence.validator(), &name, &evidence.encode()) {
        Ok(kept) => kept != KeptEvidence::Known,
        Err(error) => {
            tracing::error!(%error, "evidence against a validator cannot be kept");
            false
        }
    }
}

/// Keeps two checkpoints of one height. What was derived otherwise the store has kept itself.
fn keep_divergence(ledger: &Ledger, divergence: &Divergence) {
    let Divergence::Twice(_, other) = divergence else { return };
    if let Err(error) = ledger.accept(convert::to_keep(other)) {
        tracing::error!(%error, "the proof that the ledger has diverged cannot be kept");
    }
}

#[cfg(test)]
mod tests {
    use quipu_store::NewLedger;

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
}
