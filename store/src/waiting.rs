//! Events that cannot be admitted yet: something that they follow is missing, or they are dated
//! too far ahead. They wait in the database, in a pool with a limit.

use std::collections::BTreeSet;

use quipu_merge::{AuthorKey, EventId, Micros, ParsedEvent};

use crate::commit::Exclusive;
use crate::db::Db;
use crate::error::{MergeError, StorageError};
use crate::ingest::{Checked, MergeReport};
use crate::ledger::{Ledger, now};
use crate::pool::Entry;
use crate::record::WaitingRecord;
use crate::schema::{Family, meta};
use crate::writer::Writer;

/// What an event waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// These events, which it follows, are not held.
    Missing(Vec<EventId>),
    /// Its body is not at hand.
    BodyMissing,
    /// It is dated ahead, and is due a minute before this.
    Due(Micros),
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingInfo {
    /// Its id.
    pub event: EventId,
    /// Who wrote it.
    pub author: AuthorKey,
    /// When it says that it was written.
    pub time: Micros,
    /// What it waits for.
    pub reason: WaitingReason,
}

impl Writer {
    /// Lets an event wait. Tells how many are forgotten because too many wait: others, which leave
    /// for this one, or this one, of which what waited before goes on waiting. What is forgotten
    /// has to be offered again.
    pub fn wait(
        &mut self,
        db: &Db,
        checked: &Checked,
        reason: WaitingReason,
    ) -> Result<u64, StorageError> {
        let event = checked.event.id();
        let record = WaitingRecord {
            event: checked.event.bytes().to_vec(),
            // Other bytes would only stand in the way of the right ones.
            body: checked.named_body().cloned(),
            openings: checked.openings.clone(),
        }
        .encode();
        let content = checked.event.event();
        let bytes = record.len() as u64;
        let entry = Entry { author: content.author, time: content.time, reason, bytes };
        let Some(left) = self.pool.put(event, entry) else { return Ok(1) };
        for event in &left {
            self.delete(db, Family::Meta, &meta::waiting(event.0))?;
        }
        self.put(db, Family::Meta, &meta::waiting(event.0), &record)?;
        Ok(left.len() as u64)
    }

    /// Takes an event out of the pool.
    pub fn stop_waiting(&mut self, db: &Db, event: EventId) -> Result<(), StorageError> {
        if self.pool.remove(event).is_some() {
            self.delete(db, Family::Meta, &meta::waiting(event.0))?;
        }
        Ok(())
    }

    /// Takes a refused event out of the pool, and where it is refused `for_good`, all that waits for
    /// it and can never be admitted either. Tells how many are refused thus, this one included.
    pub fn refuse(&mut self, db: &Db, event: EventId, for_good: bool) -> Result<u64, StorageError> {
        let refused =
            if for_good { self.pool.with_followers(event) } else { BTreeSet::from([event]) };
        for event in &refused {
            self.stop_waiting(db, *event)?;
        }
        Ok(refused.len() as u64)
    }
}

impl Ledger {
    /// Admits the events that have waited for their time and are due by now. Opening a store and
    /// taking in events do this too.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn admit_due(&self) -> Result<u64, StorageError> {
        let due = self.lock_writer().pool.due(now());
        if due.is_empty() {
            return Ok(0);
        }
        let mut report = MergeReport::default();
        let admitted =
            self.exclusively(|hold| self.release(hold, due, &mut report).map_err(storage));
        admitted.map(|()| report.new_events)
    }

    /// What waits of an event, if it waits.
    pub(crate) fn waiting_record(
        &self,
        hold: &mut Exclusive<'_>,
        event: EventId,
    ) -> Result<Option<WaitingRecord>, StorageError> {
        if !hold.writer().pool.contains(event) {
            return Ok(None);
        }
        hold.flush()?;
        let Some(record) = self.latest().get(Family::Meta, &meta::waiting(event.0))? else {
            return Ok(None);
        };
        let damaged = || StorageError::damaged("a waiting event");
        WaitingRecord::decode(&record).map(Some).ok_or_else(damaged)
    }

    /// Everything that waits.
    pub fn waiting(&self) -> Vec<WaitingInfo> {
        self.lock_writer().pool.iter().collect()
    }

    /// Offers waiting events again, and then those that waited for them.
    pub(crate) fn release(
        &self,
        hold: &mut Exclusive<'_>,
        first: Vec<EventId>,
        report: &mut MergeReport,
    ) -> Result<(), MergeError> {
        let mut ready = first;
        while let Some(event) = ready.pop() {
            let Some(record) = self.waiting_record(hold, event)? else { continue };
            let damaged = |_| StorageError::damaged("a waiting event");
            let parsed = ParsedEvent::decode(&record.event).map_err(damaged)?;
            // Its signature held when it was put there.
            let checked = Checked::new(parsed.verified_before(), record.body, record.openings);
            hold.writer().stop_waiting(&self.db, event)?;
            match self.take_in_one(hold, &checked, report) {
                Ok(true) => ready.extend(hold.writer().pool.waiting_for(event)),
                Ok(false) => {}
                // Whoever sent it is gone: it is dropped, and counted.
                Err(MergeError::Refused(refusal)) => {
                    let for_good = checked.is_for_good(&refusal);
                    report.refused += hold.writer().refuse(&self.db, event, for_good)?;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// The events that wait for this one, which has just been admitted.
    pub(crate) fn waiting_for(writer: &Writer, event: EventId) -> Vec<EventId> {
        writer.pool.waiting_for(event)
    }
}

fn storage(error: MergeError) -> StorageError {
    match error {
        MergeError::Storage(error) => error,
        other => StorageError::damaged(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ed25519_dalek::SigningKey;
    use quipu_merge::{
        Body, BodyId, Event, Key, Member, Operation, Policy, Reason, Refusal, Seq, SignedEvent,
    };

    use super::*;
    use crate::ledger::{Durability, NewLedger, Options};
    use crate::pool::{MAX_WAITING, MAX_WAITING_BYTES};

    const NOWHERE: EventId = EventId([7; 32]);

    fn create(dir: &Path) -> Ledger {
        let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
        Options::new().durability(Durability::Relaxed).create(dir, &new).unwrap()
    }

    /// An event by the author with this number.
    fn sign(
        author: u16,
        prev: Option<&SignedEvent>,
        parents: &[EventId],
        time: u64,
        body: &[u8],
    ) -> SignedEvent {
        let mut seed = [1; 32];
        seed[..2].copy_from_slice(&author.to_be_bytes());
        let key = SigningKey::from_bytes(&seed);
        let event = Event {
            author: AuthorKey(key.verifying_key().to_bytes()),
            seq: prev.map_or(Seq::FIRST, |prev| prev.event().seq.next()),
            prev: prev.map(SignedEvent::id),
            parents: parents.to_vec(),
            time: Micros(time),
            body: BodyId::of(body),
            size: u32::try_from(body.len()).unwrap(),
        };
        event.sign(&key).unwrap()
    }

    fn whole(event: &SignedEvent, body: &[u8]) -> Checked {
        Checked::new(event.clone(), Some(body.to_vec()), Vec::new())
    }

    fn bare(event: &SignedEvent) -> Checked {
        Checked::new(event.clone(), None, Vec::new())
    }

    /// A body of this many times 4 KiB.
    fn adds(members: u16) -> Vec<u8> {
        let add = |n: u16| {
            let mut member = vec![0; 4096];
            member[..2].copy_from_slice(&n.to_be_bytes());
            Operation::Add { key: Key::new("s").unwrap(), member: Member::new(&member).unwrap() }
        };
        Body::Data((0..members).map(add).collect()).encode().unwrap()
    }

    fn small() -> Vec<u8> {
        let member = Member::new(b"m").unwrap();
        Body::Data(vec![Operation::Add { key: Key::new("s").unwrap(), member }]).encode().unwrap()
    }

    fn take_in(ledger: &Ledger, batch: Vec<Checked>) -> MergeReport {
        let mut report = MergeReport::default();
        let batch = batch.into_iter().map(Ok).collect();
        ledger.take_in_all(batch, true, &mut report).unwrap();
        report
    }

    fn waits(ledger: &Ledger, event: &SignedEvent) -> bool {
        ledger.lock_writer().pool.contains(event.id())
    }

    /// A chain of an event that is admitted, one that is not, and three that wait for that one.
    fn doomed(ledger: &Ledger, body: &[u8]) -> ([SignedEvent; 2], [SignedEvent; 3]) {
        let first = sign(1, None, &[ledger.id()], now().0, body);
        // It is not later than what it follows.
        let bad = sign(1, Some(&first), &[], first.event().time.0, body);
        let second = sign(1, Some(&bad), &[], now().0 + 1, body);
        let mut parents = [bad.id(), second.id()];
        parents.sort_unstable();
        let other = sign(2, None, &parents, now().0 + 2, body);
        let mut parents = [other.id(), NOWHERE];
        parents.sort_unstable();
        let third = sign(1, Some(&second), &parents, now().0 + 3, body);
        ([first, bad], [second, other, third])
    }

    /// Nothing is different when the store has been opened again.
    fn reopen(ledger: Ledger, dir: &Path) -> Ledger {
        let before = (ledger.waiting(), ledger.status().unwrap().waiting_bytes);
        assert!(before.0.len() <= MAX_WAITING && before.1 <= MAX_WAITING_BYTES);
        drop(ledger);
        let ledger = Options::new().durability(Durability::Relaxed).open(dir).unwrap();
        assert_eq!((ledger.waiting(), ledger.status().unwrap().waiting_bytes), before);
        ledger
    }

    #[test]
    fn many_small_events_leave_room_for_others() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("store");
        let ledger = create(&dir);
        let (body, large) = (small(), adds(200));
        let flood = |n: u64| sign(1, None, &[NOWHERE], 1_000 + n, &body);
        let mut events: Vec<_> = (0..MAX_WAITING as u64).map(flood).collect();
        let report = take_in(&ledger, events.iter().map(|event| whole(event, &body)).collect());
        assert_eq!((report.dropped, ledger.waiting().len()), (0, MAX_WAITING));
        // All of these are longer than all of those, and still have no more than their share.
        let honest: Vec<_> = (0..5).map(|n| sign(2, None, &[NOWHERE], n, &large)).collect();
        let report = take_in(&ledger, honest.iter().map(|event| whole(event, &large)).collect());
        assert_eq!((report.dropped, ledger.waiting().len()), (5, MAX_WAITING));
        assert!(honest.iter().all(|event| waits(&ledger, event)));
        let ledger = reopen(ledger, &dir);
        let latest = events.split_off(MAX_WAITING - 5);
        assert!(latest.iter().all(|event| !waits(&ledger, event)));
        assert!(events.iter().all(|event| waits(&ledger, event)));
        // Whoever holds most has to wait for room.
        let report = take_in(&ledger, vec![whole(&flood(20_000), &body), whole(&latest[0], &body)]);
        assert_eq!(report.dropped, 2);
        assert!(honest.iter().chain(&events).all(|event| waits(&ledger, event)));
        reopen(ledger, &dir);
    }

    #[test]
    fn large_events_leave_room_for_others() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("store");
        let ledger = create(&dir);
        let large = adds(240);
        let honest: Vec<_> = (0..5).map(|n| sign(2, None, &[NOWHERE], n, &large)).collect();
        let flood: Vec<_> = (1..70).map(|n| sign(1, None, &[NOWHERE], n, &large)).collect();
        // Without its body, one of each is put there before the pool is full.
        let first = sign(1, None, &[NOWHERE], 0, &large);
        take_in(&ledger, vec![bare(&first), bare(&honest[0])]);
        let report = take_in(&ledger, flood.iter().map(|event| whole(event, &large)).collect());
        assert!((1..10).contains(&report.dropped), "{report:?}");
        let ledger = reopen(ledger, &dir);

        // What more comes of a waiting event needs room, too, and what is there stays until then.
        let before = (ledger.waiting(), ledger.status().unwrap().waiting_bytes);
        assert_eq!(take_in(&ledger, vec![whole(&first, &large)]).dropped, 1);
        assert_eq!((ledger.waiting(), ledger.status().unwrap().waiting_bytes), before);
        assert!(waits(&ledger, &first));
        let ledger = reopen(ledger, &dir);
        let dropped = take_in(&ledger, vec![whole(&honest[0], &large)]).dropped;
        assert!((1..3).contains(&dropped), "{dropped}");
        assert_eq!(ledger.waiting().len() as u64, before.0.len() as u64 - dropped);
        let ledger = reopen(ledger, &dir);
        let report = take_in(&ledger, honest.iter().map(|event| whole(event, &large)).collect());
        assert!((1..10).contains(&report.dropped), "{report:?}");
        assert!(honest.iter().all(|event| waits(&ledger, event)));
        reopen(ledger, &dir);
    }

    #[test]
    fn what_waits_for_a_refused_event_is_refused_with_it() {
        let place = tempfile::tempdir().unwrap();
        let body = small();
        for when in ["in its turn", "on its way", "on its way after a rehearsal", "unread"] {
            let dir = place.path().join(when);
            let ledger = create(&dir);
            let (start, followers) = doomed(&ledger, &body);
            let [first, bad] = &start;
            let followers: Vec<_> = followers.iter().map(|event| whole(event, &body)).collect();
            take_in(&ledger, followers);
            let stranger = sign(3, None, &[NOWHERE], 1, &body);
            take_in(&ledger, vec![whole(&stranger, &body)]);
            let (first, bad) = (whole(first, &body), whole(bad, &body));
            let mut report = MergeReport::default();
            match when {
                "in its turn" => {
                    take_in(&ledger, vec![bad]);
                    assert_eq!(ledger.waiting().len(), 5);
                    report = take_in(&ledger, vec![first]);
                    assert_eq!((report.new_events, report.refused), (1, 4));
                }
                "on its way after a rehearsal" => {
                    report = take_in(&ledger, vec![first, bad]);
                    assert_eq!((report.new_events, report.refused), (1, 4));
                }
                "on its way" => {
                    let batch = vec![Ok(first), Ok(bad)];
                    let refused = ledger.take_in_all(batch, false, &mut report).unwrap_err();
                    assert!(matches!(refused, MergeError::Refused(_)), "{refused}");
                }
                _ => {
                    let refusal = Refusal::new(bad.event.id(), Reason::Encoding, "as if");
                    let batch = vec![Ok(first), Err(refusal)];
                    ledger.take_in_all(batch, false, &mut report).unwrap_err();
                }
            }
            let waiting: Vec<_> = ledger.waiting().iter().map(|info| info.event).collect();
            assert_eq!(waiting, [stranger.id()], "{when}");
            reopen(ledger, &dir);
        }
    }

    /// Bytes that are not the body that an event names are no reason to give it up.
    #[test]
    fn what_waits_for_an_event_with_a_damaged_body_goes_on_waiting() {
        let place = tempfile::tempdir().unwrap();
        let ledger = create(&place.path().join("store"));
        let body = small();
        let first = sign(1, None, &[ledger.id()], now().0, &body);
        let second = sign(1, Some(&first), &[], now().0 + 1, &body);
        let mut damaged = body.clone();
        damaged[0] ^= 1;
        // In the pool they are as good as none.
        take_in(&ledger, vec![whole(&second, &damaged)]);
        take_in(&ledger, vec![whole(&second, &body)]);
        assert_eq!(take_in(&ledger, vec![whole(&first, &damaged)]).refused, 1);
        assert!(waits(&ledger, &second));
        assert_eq!(take_in(&ledger, vec![whole(&first, &body)]).new_events, 2);
    }
}
