//! A shallow store gets the history below: in the end it is what a store is that has had everything from
//! the beginning, and nothing is lost that only it has, wherever it is killed.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work, and uses a part of what is there"
)]

#[path = "fill/pruned.rs"]
mod pruned;
mod support;
#[path = "start/world.rs"]
mod world;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_merge::{
    CheckpointSignature, Cut, EventId, ForkPolicy, Height, Link, Policy, Role, Round, Vote,
    VoteType,
};
use quipu_store::{
    Acceptance, Below, FillError, KeptEvidence, Ledger, LogFilter, OpenError, Outcome, Pin,
    PruneOptions, StartOptions, VoteEntry, VoteLog, Votes, WaitingReason, WriteError,
};
use support::certified::{author_of, certify, keys, next, options};
use support::dice::Dice;
use support::values::{link, put};
use support::{assert_sound, copy, merge};
use tempfile::TempDir;
use world::{file_of, world, write};

const SIGABRT: i32 = 6;
const POLICIES: [(Policy, ForkPolicy); 4] = [
    (Policy::Members, ForkPolicy::Keep),
    (Policy::Members, ForkPolicy::Exclude),
    (Policy::Open, ForkPolicy::Keep),
    (Policy::Open, ForkPolicy::Exclude),
];

/// Starts a store from the last checkpoint of a ledger.
fn start(source: &Ledger, dir: &Path, below: Below) -> Ledger {
    let start = StartOptions { below, ledger: Some(source.id()) };
    let file = file_of(source).0;
    options().start_from(dir, &mut file.as_slice(), &start, &mut |_, _| {}).unwrap().0
}

fn fill(front: &Ledger, source: &Ledger) -> Result<(), FillError> {
    front.fill_from(source, &mut |done, total| assert!(done <= total))
}

/// What every replica has that holds the same events and values.
fn content(ledger: &Ledger) -> [String; 4] {
    let snapshot = ledger.snapshot().unwrap();
    let mut file = Vec::new();
    ledger.export(&mut file, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    let order = snapshot.log(LogFilter::default()).unwrap();
    let order: Vec<_> = order.map(|event| event.unwrap().id).collect();
    let dump = snapshot.dump(&[]).unwrap();
    [
        format!("{:?}", ledger.certification()),
        format!("{order:?}"),
        format!("{dump:?}"),
        format!("{file:?}"),
    ]
}

#[track_caller]
fn assert_equal(a: &Ledger, b: &Ledger) {
    assert_sound(a);
    let names = ["certification", "order", "state", "bytes"];
    for ((a, b), name) in content(a).into_iter().zip(content(b)).zip(names) {
        assert!(a == b, "the {name} differs");
    }
}

/// A long value, and its block.
fn put_long(ledger: &Ledger, key: &str, salt: u8) -> Link {
    put(ledger, key, &[salt; 30_000]);
    link(ledger, key)
}

/// What a store has that nobody else has.
#[derive(Debug, PartialEq)]
struct Local {
    author: quipu_merge::AuthorKey,
    names: String,
    receipts: String,
    pins: Vec<Pin>,
    evidence: Vec<Vec<u8>>,
    votes: Votes,
    mark: Option<Vec<u8>>,
    copied: bool,
    lines: Vec<usize>,
}

fn local(ledger: &Arc<Ledger>) -> Local {
    let snapshot = ledger.snapshot().unwrap();
    let (_, votes, mark) = VoteLog::open(ledger, ledger.author()).unwrap();
    let last = snapshot.certified_height().unwrap().0;
    let lines = (1..=last).map(|height| snapshot.cosignatures(Height(height)).unwrap().len());
    Local {
        author: ledger.author(),
        names: format!("{:?}", snapshot.names().unwrap()),
        receipts: format!("{:?}", ledger.receipts(None, 10).unwrap()),
        pins: ledger.pins().unwrap(),
        evidence: ledger.evidence().unwrap(),
        votes,
        mark,
        copied: ledger.is_copied(),
        lines: lines.collect(),
    }
}

fn entry(height: u64, bytes: &[u8]) -> VoteEntry<'_> {
    VoteEntry { height: Height(height), bytes }
}

/// Leaves something of everything that is local, and writes.
fn use_it(front: &Arc<Ledger>, source: &Ledger) {
    front.set_name(source.author(), Some("source")).unwrap();
    let mut transaction = front.transaction();
    transaction.put("receipt", b"one").unwrap().receipt(b"name", b"note").unwrap();
    let event = transaction.commit().unwrap().event;
    let pinned = put_long(front, "pinned", 9);
    // What is pinned stays when nothing refers to it.
    front.redact(put(front, "other", b"of this author")).unwrap();
    front.pin(&[Pin::Event(event), Pin::Event(front.id()), Pin::Block(pinned.block)]).unwrap();
    let kept = front.keep_evidence(source.author(), b"evidence", b"proof");
    assert_eq!(kept.unwrap(), KeptEvidence::New);
    let validator = front.author();
    let line = CheckpointSignature { validator, seconds: 7, log: [1; 64], cosignature: [2; 64] };
    let last = front.certification().height.unwrap();
    front.keep_cosignatures(last, &[line]).unwrap();
    let mut log = VoteLog::open(front, front.author()).unwrap().0;
    log.append(&[entry(1, b"a"), entry(40, b"b")], Some(b"before")).unwrap();
    log.trim(Height(30)).unwrap();
    log.append(&[entry(41, b"c")], Some(b"mark")).unwrap();
}

/// An event whose author has not seen all of what is certified, and one that follows an event that
/// nobody sends.
fn late(source: &Ledger, dir: &Path) -> (Ledger, EventId, EventId, EventId) {
    let early = Cut::Heads(vec![source.id()]);
    let late = options().clone_ledger(dir, source, &early, &mut |_, _| {}).unwrap().0;
    let first = put(&late, "late", b"first");
    let second = put(&late, "late", b"second");
    let third = put(&late, "late", b"third");
    (late, first, second, third)
}

fn hand_over(from: &Ledger, to: &Ledger, event: EventId) -> Outcome {
    let report = to.admit(from.events(&[event], usize::MAX).unwrap()).unwrap();
    report.outcomes.into_iter().next().unwrap().unwrap()
}

#[test]
fn in_the_end_it_is_like_one_that_has_had_everything() {
    for (seed, (policy, forks)) in (0..4).zip(POLICIES) {
        let dir = TempDir::new().unwrap();
        let source = world(&dir, seed, policy, forks);
        let below = if seed % 2 == 0 { Below::Hashes } else { Below::Signatures };
        let place = dir.path().join("front");
        let front = Arc::new(start(&source, &place, below));
        source.grant(front.author(), Role::Writer).unwrap();
        merge(&front, &source);
        let mut dice = Dice::new(seed + 100);
        use_it(&front, &source);
        for _ in 0..5 {
            write(&front, &mut dice);
        }
        write(&source, &mut dice);
        merge(&source, &front);
        certify(&source);
        merge(&front, &source);
        // What comes while the history does.
        let meanwhile = |front: &Ledger| {
            write(front, &mut Dice::new(seed + 200));
            write(&source, &mut Dice::new(seed + 300));
        };
        meanwhile(&front);
        fill(&front, &source).unwrap();
        meanwhile(&front);
        assert!(front.open_filling().unwrap().is_none());
        assert!(front.shallow().is_some());
        let before = local(&front);
        assert_eq!(before.votes, Votes::Kept(vec![b"b".to_vec(), b"c".to_vec()]));
        // Nobody else takes it away meanwhile.
        assert!(matches!(options().open(&place), Err(OpenError::Locked(_))));
        drop(front);

        let whole = Arc::new(options().open(&place).unwrap());
        assert!(whole.shallow().is_none() && !place.join("filling").exists());
        assert_eq!(local(&whole), before, "seed {seed}");
        assert!(whole.loss().is_none());
        merge(&source, &whole);
        assert_sound(&source);
        merge(&whole, &source);
        assert_equal(&whole, &source);
        // The own chain goes on, and so does certifying.
        put(&whole, "after", b"all");
        merge(&source, &whole);
        let certified = certify(&source);
        whole.accept(certified).unwrap();
        assert!(whole.snapshot().unwrap().forks().unwrap().keys().all(|a| *a != before.author));
        drop(whole);
        let whole = options().open(&place).unwrap();
        assert_equal(&whole, &source);
        // It is a source of everything, and needs nothing.
        assert!(whole.open_filling().unwrap().is_none());
        fill(&whole, &source).unwrap();
        let other = start(&source, &dir.path().join("other"), Below::Hashes);
        fill(&other, &whole).unwrap();
        drop(other);
        assert_equal(&options().open(dir.path().join("other")).unwrap(), &source);
    }
}

#[test]
fn what_waits_for_the_history_is_admitted_when_it_is_there() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 3, Policy::Open, ForkPolicy::Keep);
    let place = dir.path().join("front");
    let front = start(&source, &place, Below::Hashes);
    let (late, first, second, third) = late(&source, &dir.path().join("late"));
    let waits = hand_over(&late, &front, first);
    assert!(matches!(waits, Outcome::Waits(WaitingReason::History)), "{waits:?}");
    hand_over(&late, &front, third);
    fill(&front, &source).unwrap();
    drop(front);
    let whole = options().open(&place).unwrap();
    assert!(whole.snapshot().unwrap().contains(first).unwrap());
    let waiting: Vec<_> = whole.waiting().into_iter().map(|waiting| waiting.event).collect();
    assert_eq!(waiting, [third]);
    assert_eq!(hand_over(&late, &whole, second), Outcome::Admitted);
    assert!(whole.waiting().is_empty());
    merge(&source, &late);
    assert_equal(&whole, &source);
}

#[test]
fn a_checkpoint_that_waits_goes_on_waiting_and_counts_when_its_events_come() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 4, Policy::Open, ForkPolicy::Keep);
    let place = dir.path().join("front");
    let front = start(&source, &place, Below::Hashes);
    put(&source, "k", b"certified");
    let certified = certify(&source);
    front.accept(certified).unwrap();
    assert_eq!(front.certification().pending, 1);
    fill(&front, &source).unwrap();
    drop(front);
    let whole = options().open(&place).unwrap();
    assert_eq!(whole.certification().pending, 1);
    merge(&whole, &source);
    assert_equal(&whole, &source);
}

/// Two certificates of one height are proof against validators, wherever they were seen.
#[test]
fn what_contradicts_stays_known() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 12, Policy::Open, ForkPolicy::Keep);
    let place = dir.path().join("front");
    let front = start(&source, &place, Below::Hashes);
    put(&source, "k", b"certified");
    let mut other = next(&source);
    let certified = certify(&source);
    other.checkpoint.state = [7; 32];
    let (id, _) = other.checkpoint.seal().unwrap();
    other.certificate.checkpoint = id;
    let (ledger, height, round) = (source.id(), certified.height(), Round(0));
    let vote_type = VoteType::Precommit;
    let vote = Vote { ledger, height, round, vote_type, value: Some(id) };
    for (validator, signature) in &mut other.certificate.signatures {
        let key = keys().into_iter().find(|key| author_of(key) == *validator).unwrap();
        *signature = vote.sign(&key).unwrap();
    }
    merge(&front, &source);
    assert_eq!(front.accept(other).unwrap(), Acceptance::Diverged);
    let diverged = front.certification().diverged;
    assert_eq!(diverged.len(), 1);
    fill(&front, &source).unwrap();
    drop(front);
    let whole = options().open(&place).unwrap();
    assert!(whole.shallow().is_none());
    assert_eq!(whole.certification().diverged, diverged);
}

/// Values that were dropped on purpose are not fetched again.
#[test]
fn what_was_pruned_is_not_missing() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 5, Policy::Open, ForkPolicy::Keep);
    let place = dir.path().join("front");
    let front = start(&source, &place, Below::Hashes);
    for round in 0..3 {
        put_long(&front, "long", round);
        merge(&source, &front);
        let certified = certify(&source);
        front.accept(certified).unwrap();
    }
    let pruned = front.prune(&Cut::Everything, PruneOptions::default(), &mut |_, _| {}).unwrap();
    assert!(pruned.values >= 2);
    assert_eq!(pruned.bodies, 0);
    let count = front.count_pruned().unwrap();
    fill(&front, &source).unwrap();
    drop(front);
    let whole = options().open(&place).unwrap();
    assert_eq!((whole.count_missing().unwrap(), source.count_missing().unwrap()), (0, 0));
    assert!(whole.count_pruned().unwrap() <= count && whole.count_pruned().unwrap() >= 2);
    assert_sound(&whole);
    let pruned = whole.prune(&Cut::Everything, PruneOptions::default(), &mut |_, _| {}).unwrap();
    assert!(pruned.bodies > 0);
}

#[test]
fn a_source_that_cannot_do_it_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 6, Policy::Open, ForkPolicy::Keep);
    let early = options().clone_ledger(
        dir.path().join("early"),
        &source,
        &Cut::Heads(vec![source.id()]),
        &mut |_, _| {},
    );
    let shallow = start(&source, &dir.path().join("shallow"), Below::Pruned);
    let front = start(&source, &dir.path().join("front"), Below::Hashes);
    let refused = fill(&front, &early.unwrap().0);
    assert!(matches!(refused, Err(FillError::NoCheckpoint(_))), "{refused:?}");
    let refused = fill(&front, &shallow);
    assert!(matches!(refused, Err(FillError::Source(_))), "{refused:?}");
    let other = TempDir::new().unwrap();
    let foreign = world(&other, 6, Policy::Open, ForkPolicy::Keep);
    assert!(matches!(fill(&front, &foreign), Err(FillError::OtherLedger { .. })));
    fill(&front, &source).unwrap();
}

#[test]
fn without_room_it_stays_as_it_is_until_there_is() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 7, Policy::Open, ForkPolicy::Keep);
    let place = dir.path().join("front");
    let front = start(&source, &place, Below::Hashes);
    put(&front, "k", b"of this one");
    fill(&front, &source).unwrap();
    drop(front);
    let full = options().min_free(u64::MAX);
    for _ in 0..2 {
        let front = full.open(&place).unwrap();
        assert!(front.shallow().is_some() && front.get("k").unwrap().is_some());
    }
    let whole = options().open(&place).unwrap();
    assert!(whole.shallow().is_none());
    merge(&source, &whole);
    assert_equal(&whole, &source);
}

#[test]
fn a_second_database_that_is_damaged_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 8, Policy::Open, ForkPolicy::Keep);
    let place = dir.path().join("front");
    let front = start(&source, &place, Below::Hashes);
    fill(&front, &source).unwrap();
    drop(front);
    std::fs::write(place.join("filling/db/CURRENT"), b"nothing").unwrap();
    let front = options().open(&place).unwrap();
    assert!(front.shallow().is_some() && !place.join("filling").exists());
    fill(&front, &source).unwrap();
    drop(front);
    assert_equal(&options().open(&place).unwrap(), &source);
}

#[test]
fn a_key_that_changes_meanwhile_is_the_one_that_goes_on() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 10, Policy::Open, ForkPolicy::Exclude);
    let place = dir.path().join("front");
    let front = start(&source, &place, Below::Hashes);
    put(&front, "k", b"by the old key");
    let mut filling = front.open_filling().unwrap().unwrap();
    let (height, _) = filling.target();
    let portion = source.history(0, height, 20_000).unwrap();
    filling.take(0, portion.items).unwrap();
    drop(filling);
    let rotation = front.rotate_identity(None).unwrap();
    put(&front, "k", b"by the new one");
    fill(&front, &source).unwrap();
    drop(front);
    let whole = options().open(&place).unwrap();
    assert_eq!((whole.author(), whole.is_copied()), (rotation.new, false));
    put(&whole, "k", b"after all");
    merge(&source, &whole);
    assert_equal(&whole, &source);
}

/// Acknowledged writes that are gone from the first database are not taken for made good.
#[test]
fn what_was_lost_before_stays_lost_until_it_is_back() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 11, Policy::Open, ForkPolicy::Keep);
    let (place, saved) = (dir.path().join("front"), dir.path().join("saved"));
    let front = start(&source, &place, Below::Hashes);
    put(&front, "k", b"kept");
    drop(front);
    copy(&place.join("db"), &saved);
    let front = options().open(&place).unwrap();
    put(&front, "k", b"lost");
    front.sync().unwrap();
    merge(&source, &front);
    drop(front);
    std::fs::remove_dir_all(place.join("db")).unwrap();
    copy(&saved, &place.join("db"));
    let front = options().open(&place).unwrap();
    let loss = front.loss().unwrap();
    fill(&front, &source).unwrap();
    drop(front);
    let whole = options().open(&place).unwrap();
    assert!(whole.shallow().is_none());
    assert_eq!(whole.loss(), Some(loss));
    let mut transaction = whole.transaction();
    transaction.put("k", b"in its place").unwrap();
    assert!(matches!(transaction.commit(), Err(WriteError::Lost(_))));
    merge(&whole, &source);
    drop(whole);
    let whole = options().open(&place).unwrap();
    assert!(whole.loss().is_none());
    put(&whole, "k", b"after it");
    assert!(whole.snapshot().unwrap().forks().unwrap().keys().all(|a| *a != whole.author()));
}

/// Not a test: what the other tests start as a process of its own.
#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    let Ok(store) = std::env::var("QUIPU_STORE") else { return };
    let after: u64 = std::env::var("QUIPU_AFTER").unwrap().parse().unwrap();
    let passed = AtomicU64::new(0);
    let crash = move || {
        if passed.fetch_add(1, Ordering::SeqCst) == after {
            std::process::abort();
        }
    };
    fail::cfg_callback(std::env::var("QUIPU_CRASH").unwrap(), crash).unwrap();
    let ledger = options().open(store).unwrap();
    if let Ok(source) = std::env::var("QUIPU_SOURCE") {
        fill(&ledger, &options().open(source).unwrap()).unwrap();
    }
}

fn run_child(store: &Path, source: Option<&Path>, point: &str, after: u64) -> Option<i32> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--test-threads=1"]);
    command.env("QUIPU_STORE", store).env("QUIPU_CRASH", point);
    command.env("QUIPU_AFTER", after.to_string());
    if let Some(source) = source {
        command.env("QUIPU_SOURCE", source);
    }
    command.output().unwrap().status.signal()
}

/// A shallow store that is in use, and a source of what is below.
struct Setting {
    dir: TempDir,
    source: PathBuf,
    front: PathBuf,
    before: Local,
}

impl Setting {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let source = world(&dir, 9, Policy::Open, ForkPolicy::Keep);
        let place = dir.path().join("front");
        let front = Arc::new(start(&source, &place, Below::Hashes));
        use_it(&front, &source);
        put(&source, "k1", b"of the source");
        merge(&source, &front);
        certify(&source);
        merge(&front, &source);
        put(&front, "k2", b"of this one");
        let before = local(&front);
        merge(&source, &front);
        let source = source.dir().to_owned();
        Self { dir, source, front: place, before }
    }

    /// Whatever it is by now, it has everything, and becomes whole.
    #[track_caller]
    fn assert_goes_on(&self, whole: bool, point: &str) {
        let source = options().open(&self.source).unwrap();
        let front = Arc::new(options().open(&self.front).unwrap());
        assert_eq!(front.shallow().is_none(), whole, "{point}");
        assert_eq!(local(&front), self.before, "{point}");
        assert!(front.loss().is_none());
        // The log of votes goes on where it was.
        let mut log = VoteLog::open(&front, front.author()).unwrap().0;
        log.append(&[entry(42, b"d")], Some(b"mark")).unwrap();
        drop(log);
        put(&front, "after", b"the crash");
        fill(&front, &source).unwrap();
        drop(front);
        let front = Arc::new(options().open(&self.front).unwrap());
        assert!(front.shallow().is_none() && !self.front.join("filling").exists());
        let all = vec![b"b".to_vec(), b"c".to_vec(), b"d".to_vec()];
        assert_eq!(local(&front).votes, Votes::Kept(all), "{point}");
        merge(&source, &front);
        assert_equal(&front, &source);
        assert!(source.snapshot().unwrap().forks().unwrap().keys().all(|a| *a != front.author()));
    }
}

/// Where it is killed while history comes in, it is the shallow store, and goes on.
#[test]
fn killed_while_it_is_filled_it_goes_on() {
    let points = [
        ("before-filling-begun", 0),
        ("between-filled", 0),
        ("between-filled", 3),
        ("before-filling-whole", 0),
        ("after-filling-whole", 0),
        ("after-write", 5),
    ];
    for (point, after) in points {
        let setting = Setting::new();
        let killed = run_child(&setting.front, Some(&setting.source), point, after);
        assert_eq!(killed, Some(SIGABRT), "{point}");
        setting.assert_goes_on(point == "after-filling-whole", point);
    }
}

/// Where it is killed while one database takes the place of the other, the next one finishes it, however
/// often that is killed.
#[test]
fn killed_while_databases_are_exchanged_it_is_finished() {
    let points = [
        "before-write",
        "after-write",
        "after-front-merged",
        "after-front-taken-over",
        "before-exchange-noted",
        "after-exchange-noted",
        "after-database-set-aside",
        "after-database-replaced",
    ];
    for point in points {
        let setting = Setting::new();
        {
            let (source, front) =
                (options().open(&setting.source).unwrap(), options().open(&setting.front).unwrap());
            fill(&front, &source).unwrap();
        }
        assert_eq!(run_child(&setting.front, None, point, 0), Some(SIGABRT), "{point}");
        assert!(setting.front.join("filling").is_dir(), "{point}");
        for again in ["after-front-merged", "after-database-set-aside", "after-database-replaced"] {
            run_child(&setting.front, None, again, 0);
        }
        setting.assert_goes_on(true, point);
    }
}
