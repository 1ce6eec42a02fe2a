//! Taking in foreign events: admitting them one after the other.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{
    Admission, Ancestor, Ancestors, AuthorKey, Control, EventId, MAX_AHEAD, Refusal, admit,
    check_follows,
};

use crate::commit::Exclusive;
use crate::error::{MergeError, ReadError, StorageError};
use crate::incoming::Checked;
use crate::index::NewEvent;
use crate::ledger::{Ledger, now};
use crate::missing;
use crate::schema::Family;
use crate::waiting::{WaitingInfo, WaitingReason};

/// How many events are checked and written together.
pub const BATCH: usize = 512;

/// What has become of an event that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is held from now on.
    Admitted,
    /// It was held before; or the store starts from a checkpoint, and leaves it to what brings in the
    /// events below.
    Known,
    /// It waits.
    Waits(WaitingReason),
    /// It would wait, and there is no room: it has to be offered again.
    Dropped(WaitingReason),
}

/// How to take in what another replica or a file has.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeOptions {
    /// Take values and bodies back that have been pruned here: see [`Ledger::prune`].
    pub refill: bool,
}

/// What taking in events has come to.
#[derive(Clone, Debug, Default)]
pub struct MergeReport {
    /// Events that were admitted.
    pub new_events: u64,
    /// Events that were offered and held already.
    pub known_events: u64,
    /// Values that came with new events, or came at last.
    pub new_values: u64,
    /// Bodies that had been pruned here, and are back.
    pub refilled_bodies: u64,
    /// Events of this replica's own key among the new ones: it was copied, or restored.
    pub adopted: u64,
    /// Events that were refused after they had waited, or because they follow one that was.
    pub refused: u64,
    /// Events of which something was forgotten because too many wait: they have to be offered
    /// again.
    pub dropped: u64,
    /// What waits now, and why.
    pub waiting: Vec<WaitingInfo>,
    /// Registers that have more than one value now and had not before.
    pub new_conflicts: Vec<String>,
    /// Authors whose history forks now and did not before.
    pub new_forks: Vec<AuthorKey>,
    /// How many more events are void.
    pub new_void: u64,
    /// How many more certified checkpoints count, or would.
    pub new_checkpoints: u64,
    /// How many wait for the events of their cuts.
    pub pending_checkpoints: u64,
    /// How many of a file were passed over, because one before them is neither here nor in it.
    pub passed_over_checkpoints: u64,
    /// Whether something certified contradicts what is held here, now or since before.
    pub diverged: bool,
}

/// What there was before events were taken in, for [`Ledger::report_since`] to tell the difference.
#[derive(Debug)]
pub struct Baseline {
    conflicts: BTreeSet<String>,
    forks: BTreeSet<AuthorKey>,
    void: u64,
    certified: u64,
}

impl Ledger {
    /// Notes what there is before events are taken in.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn baseline(&self) -> Result<Baseline, ReadError> {
        let snapshot = self.snapshot()?;
        Ok(Baseline {
            conflicts: snapshot.conflicts("")?.into_iter().collect(),
            forks: snapshot.forks()?.into_keys().collect(),
            void: self.count_void()?,
            certified: snapshot.certified_height().map_or(0, |height| height.0),
        })
    }

    /// Completes a report by what waits now, and by the conflicts, forks and void events that there
    /// are now and were not before.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn report_since(
        &self,
        before: &Baseline,
        report: MergeReport,
    ) -> Result<MergeReport, ReadError> {
        let snapshot = self.snapshot()?;
        let conflicts = snapshot.conflicts("")?.into_iter();
        let forks = snapshot.forks()?.into_keys();
        let certified = snapshot.certified_height().map_or(0, |height| height.0);
        let certification = self.certification();
        Ok(MergeReport {
            new_checkpoints: certified.saturating_sub(before.certified),
            pending_checkpoints: certification.pending,
            diverged: !certification.diverged.is_empty(),
            waiting: self.waiting(),
            new_conflicts: conflicts.filter(|key| !before.conflicts.contains(key)).collect(),
            new_forks: forks.filter(|author| !before.forks.contains(author)).collect(),
            new_void: self.count_void()?.saturating_sub(before.void),
            ..report
        })
    }

    /// How many events are void.
    pub(crate) fn count_void(&self) -> Result<u64, StorageError> {
        self.latest().count(Family::Meta, b"V")
    }

    /// Takes in checked events in this order. Those that were waiting for them follow.
    ///
    /// Of `rehearsed` events, none is refused unless it follows one that was waiting: like the
    /// waiting ones, it is dropped and counted then, for the rest has been taken in.
    pub(crate) fn take_in_all(
        &self,
        batch: Vec<Result<Checked, Refusal>>,
        rehearsed: bool,
        report: &mut MergeReport,
    ) -> Result<(), MergeError> {
        self.in_bulk(|hold| {
            self.offer_all(hold, batch, report, |outcome| match outcome {
                Err(refusal) if !rehearsed => Err(refusal.into()),
                _ => Ok::<_, MergeError>(()),
            })
        })?;
        Ok(self.count_pending()?)
    }

    /// Offers checked events in this order, and tells `each` what has become of every one. Those that
    /// were waiting for one follow it.
    pub(crate) fn offer_all<E: From<StorageError>>(
        &self,
        hold: &mut Exclusive<'_>,
        batch: Vec<Result<Checked, Refusal>>,
        report: &mut MergeReport,
        mut each: impl FnMut(Result<Outcome, Refusal>) -> Result<(), E>,
    ) -> Result<(), E> {
        let ids = batch.iter().flatten().map(|checked| checked.event.id()).collect();
        hold.writer().look_ahead(self.latest(), ids)?;
        let taken =
            batch.into_iter().try_for_each(|checked| each(self.offer(hold, checked, report)?));
        hold.writer().forget_ahead();
        taken
    }

    /// Takes in one event, and then those that were waiting for it. Where it is refused, so are
    /// they.
    fn offer(
        &self,
        hold: &mut Exclusive<'_>,
        checked: Result<Checked, Refusal>,
        report: &mut MergeReport,
    ) -> Result<Result<Outcome, Refusal>, StorageError> {
        let (refusal, for_good) = match checked {
            Err(refusal) => (refusal, true),
            Ok(checked) => match self.take_in_one(hold, &checked, report) {
                Ok(outcome) => {
                    if outcome == Outcome::Admitted {
                        let ready = Self::waiting_for(hold.writer(), checked.event.id());
                        self.release(hold, ready, report)?;
                    }
                    return Ok(Ok(outcome));
                }
                Err(error) => {
                    let refusal = error.refusal()?;
                    let for_good = checked.is_for_good(&refusal);
                    (refusal, for_good)
                }
            },
        };
        report.refused += hold.writer().refuse(&self.db, refusal.event, for_good)?;
        Ok(Err(refusal))
    }

    /// Admits one event, or lets it wait.
    fn take_in_one(
        &self,
        hold: &mut Exclusive<'_>,
        checked: &Checked,
        report: &mut MergeReport,
    ) -> Result<Outcome, MergeError> {
        // An event that waits may come again with less than it came with before.
        let completed =
            self.waiting_record(hold, checked.event.id())?.map(|record| checked.with(record));
        self.admit_or_wait(hold, completed.as_ref().unwrap_or(checked), report)
    }

    /// Admits one event, with all that is at hand of it, or lets it wait. Where it has waited, it
    /// leaves the pool in the batch that admits it. Fails with nothing but a refusal or an error of
    /// the storage.
    pub(crate) fn admit_or_wait(
        &self,
        hold: &mut Exclusive<'_>,
        checked: &Checked,
        report: &mut MergeReport,
    ) -> Result<Outcome, MergeError> {
        let event = &checked.event;
        if hold.writer().known(self.latest(), event.id())?.is_some() {
            hold.writer().stop_waiting(&self.db, event.id())?;
            report.known_events += 1;
            return Ok(Outcome::Known);
        }
        check_follows(event)?;
        if self.is_left_below(hold, checked)? {
            report.known_events += 1;
            return Ok(Outcome::Known);
        }
        let found = Ancestors::find(event.event(), |id| {
            Ok::<_, StorageError>(hold.writer().known(self.latest(), id)?.map(Ancestor::from))
        })?;
        let ancestors = match found {
            Ok(ancestors) => ancestors,
            Err(missing) => {
                let reason = match &self.floor {
                    Some(floor) => floor.waits_for(event.event(), missing),
                    None => WaitingReason::Missing(missing),
                };
                return self.let_wait(hold, checked, reason, report);
            }
        };
        let Some(body) = &checked.body else {
            return self.let_wait(hold, checked, WaitingReason::BodyMissing, report);
        };
        let targets = match body {
            Ok(body) => hold.writer().targets(self.latest(), body)?,
            Err(_) => BTreeMap::new(),
        };
        if self.needs_history(checked, &ancestors, &targets) {
            return self.let_wait(hold, checked, WaitingReason::History, report);
        }
        let writer = hold.writer();
        let admission =
            admit(event, body.as_ref(), &ancestors, &writer.authority, &writer.lanes, &targets)?;
        let ahead = event.event().time.0 > now().0 + MAX_AHEAD;
        if ahead && !hold.writer().certain.contains(&event.id()) {
            return self.let_wait(hold, checked, WaitingReason::Due(event.event().time), report);
        }
        self.take_admitted(hold, checked, &admission, report)
    }

    /// Takes in an event that is admitted.
    fn take_admitted(
        &self,
        hold: &mut Exclusive<'_>,
        checked: &Checked,
        admission: &Admission,
        report: &mut MergeReport,
    ) -> Result<Outcome, MergeError> {
        let event = &checked.event;
        let (Some(Ok(body)), Some(body_bytes)) = (&checked.body, &checked.body_bytes) else {
            return Err(StorageError::damaged("an admitted event without a body").into());
        };
        if hold.writer().changes_others(&admission.acts, admission.placement.forks) {
            hold.flush()?;
        }
        let own = self.author() == event.event().author;
        let prev = event.event().prev.map(|prev| hold.writer().known(self.latest(), prev));
        let prev = prev.transpose()?.flatten();
        let links = self.links(&checked.openings)?;
        let incomplete = missing::incomplete(self.latest(), body, &checked.openings)?;
        let writer = hold.writer();
        writer.stop_waiting(&self.db, event.id())?;
        let new = NewEvent {
            event,
            body_bytes,
            body,
            openings: &checked.openings,
            links: &links,
            incomplete: &incomplete,
            admission,
            prev: prev.as_ref(),
        };
        let known = writer.take_in(&self.db, &new).inspect_err(|error| writer.poison(error))?;
        if own {
            report.adopted += 1;
            // The branch that this replica is on goes on; a fork stays beside it.
            if writer.own.as_ref().is_none_or(|tip| known.clock.covers(tip.dot)) {
                writer.own = Some(known);
            }
        }
        report.new_events += 1;
        report.new_values += checked.openings.len() as u64;
        Ok(Outcome::Admitted)
    }

    /// Whether an event that is not held is left to what brings in the events below the checkpoint
    /// that the store starts from. What waits for it then waits for those.
    fn is_left_below(
        &self,
        hold: &mut Exclusive<'_>,
        checked: &Checked,
    ) -> Result<bool, StorageError> {
        let event = checked.event.event();
        let Some(floor) = self.floor.as_ref().filter(|f| event.seq.0 <= f.top(event.author)) else {
            return Ok(false);
        };
        let writer = hold.writer();
        let prev = event.prev.map(|prev| writer.known(self.latest(), prev)).transpose()?;
        if !floor.may_hold(event.author, event.seq, prev.flatten().map(|known| known.dot)) {
            return Ok(false);
        }
        writer.stop_waiting(&self.db, checked.event.id())?;
        writer.pool.is_below(checked.event.id());
        Ok(true)
    }

    /// Whether an event can be placed only when the events below the checkpoint are here that the
    /// store starts from.
    pub(crate) fn needs_history(
        &self,
        checked: &Checked,
        ancestors: &Ancestors,
        targets: &BTreeMap<EventId, Ancestor>,
    ) -> bool {
        let Some(floor) = &self.floor else { return false };
        let body = checked.body.iter().flatten();
        let redacts_unknown = body.flat_map(|body| body.control()).any(
            |operation| matches!(operation, Control::Redact { event } if !targets.contains_key(event)),
        );
        redacts_unknown || !floor.is_followed_by(checked.event.event(), ancestors)
    }

    fn let_wait(
        &self,
        hold: &mut Exclusive<'_>,
        checked: &Checked,
        reason: WaitingReason,
        report: &mut MergeReport,
    ) -> Result<Outcome, MergeError> {
        let writer = hold.writer();
        report.dropped += writer.wait(&self.db, checked, reason.clone())?;
        let waits = writer.pool.contains(checked.event.id());
        Ok(if waits { Outcome::Waits(reason) } else { Outcome::Dropped(reason) })
    }
}
