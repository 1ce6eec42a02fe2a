mod lies;

use std::path::Path;

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, Certificate, Cut, Height, ParsedEvent, Policy, Round, Vote, VoteType,
};
use tempfile::TempDir;

use super::front::{Front, Target};
use super::*;
use crate::certify::{CertifiedCheckpoint, Derivation};
use crate::error::StorageError;
use crate::exchange::FILLING;
use crate::incoming::Incoming;
use crate::ledger::DATABASE;
use crate::options::{Durability, NewLedger, Options};
use crate::shallow::Below;

const ALL: usize = usize::MAX;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn certify(ledger: &Ledger) -> CertifiedCheckpoint {
    let heads = ledger.snapshot().unwrap().heads().unwrap();
    let Derivation { id, checkpoint, cut, validators, .. } = ledger.derive(&heads).unwrap();
    let (height, round, vote_type) = (checkpoint.height, Round(0), VoteType::Precommit);
    let vote = Vote { ledger: checkpoint.ledger, height, round, vote_type, value: Some(id) };
    let author = AuthorKey(key().verifying_key().to_bytes());
    let signatures = vec![(author, vote.sign(&key()).unwrap())];
    let certificate = Certificate { checkpoint: id, height, round, signatures };
    let certified = CertifiedCheckpoint { checkpoint, certificate, cut, validators };
    ledger.accept(certified.clone()).unwrap();
    certified
}

fn put(ledger: &Ledger, key: &str, value: &[u8]) -> quipu_merge::EventId {
    let mut transaction = ledger.transaction();
    transaction.put(key, value).unwrap().inc("count", 1).unwrap();
    transaction.append("list", value).unwrap();
    transaction.commit().unwrap().event
}

/// A ledger of several authors with three checkpoints, and something beyond them.
struct Setting {
    dir: TempDir,
    source: Ledger,
}

impl Setting {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let options = Options::new().durability(Durability::Relaxed);
        let new = NewLedger {
            policy: Policy::Open,
            validators: Some(vec![AuthorKey(key().verifying_key().to_bytes())]),
            ..NewLedger::default()
        };
        let source = options.create(dir.path().join("source"), &new).unwrap();
        let everything = Cut::Everything;
        let other = dir.path().join("other");
        let other = options.clone_ledger(other, &source, &everything, &mut |_, _| {}).unwrap().0;
        for height in 0..3 {
            for number in 0..5 {
                put(&source, &format!("key/{number}"), b"of the source");
                put(&other, &format!("key/{number}"), &[height; 300]);
            }
            let secret = put(&other, "secret", b"to be erased");
            other.redact(secret).unwrap();
            put(&source, "long", &[height; 20_000]);
            // The body of one that is followed may go.
            let mut transaction = source.transaction();
            transaction.put("plain", &[height; 20_000]).unwrap();
            transaction.commit().unwrap();
            source.merge(&other, &mut |_, _| {}).unwrap();
            certify(&source);
        }
        put(&source, "key/0", b"not certified");
        Self { dir, source }
    }

    fn store(&self) -> std::path::PathBuf {
        let store = self.dir.path().join("store");
        std::fs::create_dir_all(&store).unwrap();
        store
    }

    fn front(&self, below: Below, min_free: u64) -> Front {
        let height = Height(3);
        let checkpoint = self.source.snapshot().unwrap().checkpoint(height).unwrap().unwrap();
        let (event, body) = crate::load::genesis_of(self.source.latest()).unwrap();
        let event = ParsedEvent::decode(&event).unwrap().verify().unwrap();
        Front {
            dir: self.store(),
            author: AuthorKey([7; 32]),
            tuning: Options::new().min_free(min_free).tuning(),
            below,
            genesis: (event, body),
            target: Target { height, id: checkpoint.id(), size: checkpoint.checkpoint.size },
            in_memory: gathered::IN_MEMORY,
            prune_every: prune::PRUNE_EVERY,
        }
    }

    fn filling(&self, below: Below) -> Filling {
        Filling::of(self.front(below, 0)).unwrap()
    }

    /// Leaves an event in the second database that is not certified, as another program might have.
    fn leave_something(&self, filling: &mut Filling) {
        let early = Cut::Heads(vec![self.source.id()]);
        let dir = self.dir.path().join("early");
        let options = Options::new().durability(Durability::Relaxed);
        let early = options.clone_ledger(dir, &self.source, &early, &mut |_, _| {}).unwrap().0;
        let event = put(&early, "early", b"not certified");
        let events = early.events(&[event], ALL).unwrap();
        let report = filling.database().unwrap().admit(events).unwrap();
        assert!(matches!(report.outcomes[..], [Ok(crate::ingest::Outcome::Admitted)]));
    }

    fn all(&self) -> Vec<HistoryItem> {
        let History { items, next, last } = self.source.history(0, Height(3), ALL).unwrap();
        assert!(last && next == self.source.certification().events);
        items
    }
}

/// What shows that the second database is what it should be.
#[track_caller]
fn assert_filled(setting: &Setting, store: &Path) {
    let tuning = Options::new().tuning();
    let filled = front::open(store, tuning, &[AuthorKey([7; 32])]).unwrap();
    let report = filled.verify(&mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
    let dump = |ledger: &Ledger| {
        let last = ledger.snapshot().unwrap().at_final().unwrap();
        format!("{:?}", last.dump(&[]).unwrap())
    };
    assert_eq!(dump(&filled), dump(&setting.source));
}

fn events(items: &[HistoryItem]) -> Vec<&Incoming> {
    fn event(item: &HistoryItem) -> Option<&Incoming> {
        match item {
            HistoryItem::Event(event) => Some(event),
            HistoryItem::Checkpoint(_) => None,
        }
    }
    items.iter().filter_map(event).collect()
}

#[test]
fn portions_together_are_the_certified_log() {
    let setting = Setting::new();
    let all = setting.all();
    let snapshot = setting.source.snapshot().unwrap();
    for (index, event) in (0..).zip(events(&all)) {
        let id = ParsedEvent::decode(&event.event).unwrap().id();
        assert_eq!(snapshot.log_entry(index).unwrap(), Some(id));
    }
    for max_len in [0, 1_000, 5_000, ALL] {
        let (mut from, mut items) = (0, Vec::new());
        loop {
            let portion = setting.source.history(from, Height(3), max_len).unwrap();
            let [.., before, last] = portion.items.as_slice() else {
                assert_eq!(portion.items.len(), 1);
                (from, items) = (portion.next, [items, portion.items].concat());
                continue;
            };
            let (of_events, of_all) = (events(&portion.items), portion.items.len());
            let len: usize = of_events.iter().map(|event| event.len()).sum();
            assert!(len <= max_len || of_events.len() == 1);
            // Never a checkpoint alone.
            let ends = matches!(last, HistoryItem::Checkpoint(_));
            assert!(!ends || matches!(before, HistoryItem::Event(_)) && of_all > 1);
            (from, items) = (portion.next, [items, portion.items].concat());
            if portion.last {
                break;
            }
        }
        assert_eq!(format!("{items:?}"), format!("{all:?}"), "{max_len}");
    }
    let rest = setting.source.history(from_end(&setting), Height(3), ALL).unwrap();
    assert!(rest.last && rest.items.is_empty());
    assert!(setting.source.history(0, Height(4), ALL).is_err());
    let first = setting.source.history(0, Height(1), ALL).unwrap();
    assert!(
        matches!(first.items.last(), Some(HistoryItem::Checkpoint(one)) if one.height().0 == 1)
    );
}

fn from_end(setting: &Setting) -> u64 {
    setting.source.certification().events
}

#[test]
fn a_portion_has_so_many_events() {
    let dir = TempDir::new().unwrap();
    let options = Options::new().durability(Durability::Relaxed);
    let validators = Some(vec![AuthorKey(key().verifying_key().to_bytes())]);
    let new = NewLedger { validators, ..NewLedger::default() };
    let source = options.create(dir.path().join("source"), &new).unwrap();
    for _ in 0..MAX_HISTORY_EVENTS {
        let mut transaction = source.transaction();
        transaction.inc("count", 1).unwrap();
        transaction.commit().unwrap();
    }
    certify(&source);
    let portion = source.history(0, Height(1), ALL).unwrap();
    assert_eq!((portion.next, portion.last), (MAX_HISTORY_EVENTS as u64, false));
    let rest = source.history(portion.next, Height(1), ALL).unwrap();
    assert_eq!((rest.items.len(), rest.last), (2, true));
}

#[test]
fn what_comes_in_any_portions_is_whole_in_the_end() {
    let setting = Setting::new();
    for (max_len, below) in [(0, Below::Hashes), (3_000, Below::Signatures), (ALL, Below::Hashes)] {
        let mut filling = setting.filling(below);
        assert!(matches!(
            filling.take(1, Vec::new()),
            Err(FillError::Place { wanted: 0, found: 1 })
        ));
        let mut restarts = 0;
        while !filling.is_whole() {
            let next = filling.next();
            let portion = setting.source.history(next, Height(3), max_len).unwrap();
            filling.take(next, portion.items).unwrap();
            assert_eq!(filling.next(), portion.next);
            // Whoever ends early goes on after the last checkpoint.
            if restarts < 5 && portion.next.is_multiple_of(7) {
                restarts += 1;
                drop(filling);
                filling = setting.filling(below);
                assert!(filling.next() <= portion.next);
            }
        }
        assert!(!is_whole(&setting.store()));
        filling.take_values(&mut OtherReplica(&setting.source.snapshot().unwrap())).unwrap();
        filling.finish().unwrap();
        assert!(is_whole(&setting.store()));
        assert_filled(&setting, &setting.store());
        place::discard(&setting.store()).unwrap();
    }
}

#[test]
fn what_is_not_whole_is_not_finished() {
    let setting = Setting::new();
    let mut filling = setting.filling(Below::Hashes);
    let portion = setting.source.history(0, Height(2), ALL).unwrap();
    filling.take(0, portion.items).unwrap();
    let held = filling.next();
    assert!(matches!(filling.finish(), Err(FillError::NotWhole { held: h, .. }) if h == held));
    // Somebody else is at it.
    let filling = setting.filling(Below::Hashes);
    assert_eq!(filling.next(), held);
    let again = Filling::of(setting.front(Below::Hashes, 0));
    assert!(matches!(again.map(drop), Err(FillError::Open(_))));
}

#[test]
fn where_there_is_no_room_it_goes_on_once_there_is() {
    let setting = Setting::new();
    let mut filling = setting.filling(Below::Hashes);
    filling.take(0, setting.source.history(0, Height(2), ALL).unwrap().items).unwrap();
    let next = filling.next();
    let rest = || setting.source.history(next, Height(3), ALL).unwrap().items;
    // Neither for the file nor for the database.
    for in_memory in [0, gathered::IN_MEMORY] {
        drop(filling);
        let front = Front { in_memory, ..setting.front(Below::Hashes, u64::MAX) };
        filling = Filling::of(front).unwrap();
        for _ in 0..2 {
            let taken = filling.take(next, rest());
            let no_room = |error| matches!(error, FillError::Storage(StorageError::NoRoom { .. }));
            assert!(taken.is_err_and(no_room));
            assert_eq!(filling.next(), next);
        }
    }
    drop(filling);
    let mut filling = setting.filling(Below::Hashes);
    filling.take(next, rest()).unwrap();
    filling.finish().unwrap();
    assert_filled(&setting, &setting.store());
}

#[test]
fn what_was_begun_badly_is_begun_anew() {
    let setting = Setting::new();
    let begin = || {
        let mut filling = setting.filling(Below::Hashes);
        let at = filling.next();
        filling.take(at, setting.source.history(at, Height(2), ALL).unwrap().items).unwrap();
        at
    };
    let db = FILLING.dir(&setting.store()).join(DATABASE);
    assert_eq!(begin(), 0);
    assert!(begin() > 0);
    std::fs::write(db.join("CURRENT"), b"nothing").unwrap();
    assert_eq!(begin(), 0);
    std::fs::remove_file(FILLING.dir(&setting.store()).join("begun")).unwrap();
    assert_eq!(begin(), 0);
}

#[test]
fn a_cut_that_is_too_long_for_memory_waits_in_a_file() {
    let setting = Setting::new();
    for (in_memory, max_len) in [(0, ALL), (2_000, 700)] {
        let mut filling =
            Filling::of(Front { in_memory, ..setting.front(Below::Hashes, 0) }).unwrap();
        while !filling.is_whole() {
            let next = filling.next();
            let portion = setting.source.history(next, Height(3), max_len).unwrap();
            filling.take(next, portion.items).unwrap();
        }
        // Nobody finds it.
        assert!(!FILLING.dir(&setting.store()).join("cut").exists());
        filling.take_values(&mut OtherReplica(&setting.source.snapshot().unwrap())).unwrap();
        filling.finish().unwrap();
        assert_filled(&setting, &setting.store());
        place::discard(&setting.store()).unwrap();
    }
}

#[test]
fn what_is_not_to_stay_goes_at_each_checkpoint_and_in_the_end() {
    let setting = Setting::new();
    for prune_every in [1, u64::MAX] {
        let front = || Front { prune_every, ..setting.front(Below::Pruned, 0) };
        let bodies = || crate::bodies::pruned_to(front().open().unwrap().latest()).unwrap();
        let mut filling = Filling::of(front()).unwrap();
        let portion = setting.source.history(0, Height(2), ALL).unwrap();
        filling.take(0, portion.items).unwrap();
        filling.prune(&mut |_, _| {}).unwrap();
        drop(filling);
        assert_eq!(bodies(), (prune_every == 1).then_some(Height(2)));
        let mut filling = Filling::of(front()).unwrap();
        let next = filling.next();
        filling.take(next, setting.source.history(next, Height(3), ALL).unwrap().items).unwrap();
        filling.take_values(&mut OtherReplica(&setting.source.snapshot().unwrap())).unwrap();
        filling.finish().unwrap();
        assert_eq!(bodies(), Some(Height(3)));
        let tuning = Options::new().tuning();
        let filled = front::open(&setting.store(), tuning, &[AuthorKey([7; 32])]).unwrap();
        // Nothing of what is gone is missing, and all of what stands is there.
        assert_eq!(filled.count_missing().unwrap(), 0);
        drop(filled);
        assert_filled(&setting, &setting.store());
        place::discard(&setting.store()).unwrap();
    }
}

/// Where it cannot be opened again, it is when something comes.
#[test]
fn what_could_not_be_opened_is_later() {
    let setting = Setting::new();
    let mut filling = setting.filling(Below::Hashes);
    filling.take(0, setting.source.history(0, Height(2), ALL).unwrap().items).unwrap();
    setting.leave_something(&mut filling);
    // There is a file where the directory was to be made.
    let (work, aside) = (FILLING.dir(&setting.store()), setting.store().join("aside"));
    let next = filling.next();
    let rest = || setting.source.history(next, Height(3), ALL).unwrap().items;
    assert!(matches!(filling.take(next, rest()), Err(FillError::Beyond(1))));
    std::fs::rename(&work, aside).unwrap();
    std::fs::write(&work, b"").unwrap();
    for _ in 0..2 {
        assert!(filling.take(0, setting.all()).is_err());
        assert_eq!((filling.next(), filling.is_whole()), (0, false));
    }
    std::fs::remove_file(&work).unwrap();
    filling.take(0, setting.all()).unwrap();
    assert!(filling.is_whole());
}
