//! What a store has promised, and whether it keeps it.

use std::collections::BTreeMap;
use std::path::Path;

use quipu_merge::{Cut, EventId};
use quipu_store::{Committed, Ledger, Options};

/// The own events that a store has acknowledged, by position.
#[derive(Clone, Default)]
pub struct Promised(BTreeMap<u64, EventId>);

impl Promised {
    /// Takes note of an acknowledged event.
    pub fn add(&mut self, seq: u64, event: EventId) {
        let before = self.0.insert(seq, event);
        assert!(before.is_none_or(|before| before == event), "position {seq} was given twice");
    }

    /// The same, for one that was committed here.
    pub fn add_committed(&mut self, committed: &Committed) {
        self.add(committed.seq.0, committed.event);
    }

    /// How many events are promised.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The last of them.
    pub fn last(&self) -> Option<(u64, EventId)> {
        self.0.last_key_value().map(|(seq, event)| (*seq, *event))
    }

    /// The promised events that are not held.
    pub fn missing(&self, ledger: &Ledger) -> Vec<u64> {
        let snapshot = ledger.snapshot().unwrap();
        let gone = |event: &EventId| snapshot.event(*event).is_err();
        self.0.iter().filter(|(_, event)| gone(event)).map(|(seq, _)| *seq).collect()
    }

    /// Opens the store, looks whether all is there and sound, and writes on.
    pub fn check(&mut self, store: &Path) {
        let options = Options::new().cache(1 << 20).write_buffer(1 << 20).min_free(0);
        self.check_open(&options.open(store).unwrap());
    }

    /// The same for a store that is open.
    pub fn check_open(&mut self, ledger: &Ledger) {
        assert_eq!((ledger.loss(), ledger.is_copied()), (None, false));
        assert!(self.missing(ledger).is_empty(), "{:?} are gone", self.missing(ledger));
        assert!(ledger.snapshot().unwrap().forks().unwrap().is_empty());
        assert_sound(ledger);
        assert_same_as_replica(ledger);
        let committed = write_on(ledger);
        assert!(self.last().is_none_or(|(seq, _)| committed.seq.0 > seq));
        self.add_committed(&committed);
    }
}

/// Writes an event after a fault.
pub fn write_on(ledger: &Ledger) -> Committed {
    let mut transaction = ledger.transaction();
    transaction.put("after", b"the fault").unwrap();
    transaction.commit().unwrap()
}

/// The state, the indexes and the counts are what a replay of the raw events gives.
pub fn assert_sound(ledger: &Ledger) {
    let report = ledger.verify(&mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
}

/// A replica that takes the same events in anew has the same state and the same bytes.
pub fn assert_same_as_replica(ledger: &Ledger) {
    let dir = super::files::scratch();
    let options = Options::new().cache(1 << 20).write_buffer(1 << 20).min_free(0);
    let cloned = options.clone_ledger(dir.path(), ledger, &Cut::Everything, &mut |_, _| {});
    let replica = cloned.unwrap().0;
    let dump = |ledger: &Ledger| ledger.snapshot().unwrap().dump(&[]).unwrap();
    assert_eq!(dump(ledger), dump(&replica));
    let bytes = |ledger: &Ledger| {
        let mut file = Vec::new();
        ledger.export(&mut file, &Cut::Everything, None, &mut |_, _| {}).unwrap();
        file
    };
    assert_eq!(bytes(ledger), bytes(&replica));
}
