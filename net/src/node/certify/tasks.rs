//! What certification asks of the store about checkpoints.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use quipu_merge::Height;
use quipu_proto::{Certified, CertifyAnswer, CertifyTask, Derived, Divergence, Evidence};
use quipu_store::{Acceptance, Choice, KeptEvidence, Ledger, ReadError};

use super::work::{CertifyReport, Doing, Shared};
use super::{convert, derive};

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

pub fn perform(shared: &Shared, task: CertifyTask) {
    let ledger = &*shared.ledger;
    let done = |ticket, answer| shared.report(CertifyReport::Done(ticket, answer));
    match task {
        CertifyTask::Grows { ticket, reports, quorum } => {
            match derive::choose(ledger, reports, quorum) {
                Ok(Choice::Cut(heads)) => {
                    done(ticket, CertifyAnswer::Grows(true));
                    // Whoever proposes next is expected to choose the same.
                    derive::ahead(ledger, &heads);
                }
                Ok(Choice::NotDue) => done(ticket, CertifyAnswer::NotDue),
                Ok(Choice::Nothing) => done(ticket, CertifyAnswer::Grows(false)),
                Err(error) => done(ticket, failed(error)),
            }
        }
        CertifyTask::Choose { ticket, reports, quorum } => {
            let chosen = derive::choose(ledger, reports, quorum);
            done(ticket, chosen.map_or_else(failed, |chosen| derive::propose(shared, chosen)));
        }
        CertifyTask::Derive { ticket, parts } => {
            let derived = derive::proposed(ledger, &parts);
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
