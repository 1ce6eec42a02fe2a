//! A process that writes is killed, at random moments and at every named place: nothing that it
//! acknowledged is lost, nothing is half there, and the store goes on.
//!
//! `QUIPU_KILLS` says how often to kill at random; a failure prints the seed, `QUIPU_SEED` repeats it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has done its work")]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quipu_merge::{AuthorKey, Cut, EventId, Height, Policy, Role};
use quipu_store::{
    CRASH_POINTS, GcOptions, Ledger, MergeOptions, NewLedger, OpenError, Options, Passphrase,
    PruneOptions, WriteError,
};
use support::certified;
use tempfile::TempDir;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const KILLS: u64 = 300;
/// More than two batches of a merge.
const SOURCE_EVENTS: usize = 1_300;

// The process that is killed.

/// Not a test: what the other tests start as a process of its own.
#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    let Ok(task) = std::env::var("QUIPU_TASK") else { return };
    let path = |name: &str| PathBuf::from(std::env::var(name).unwrap());
    if let Ok(point) = std::env::var("QUIPU_CRASH") {
        let after: u64 = std::env::var("QUIPU_AFTER").unwrap().parse().unwrap();
        let passed = AtomicU64::new(0);
        let crash = move || {
            if passed.fetch_add(1, Ordering::SeqCst) == after {
                std::process::abort();
            }
        };
        fail::cfg_callback(point, crash).unwrap();
    }
    if task == "create" {
        Ledger::create(path("QUIPU_STORE"), &NewLedger::default()).unwrap();
        return;
    }
    let ledger = Ledger::open(path("QUIPU_STORE")).unwrap();
    if let Ok(text) = std::env::var("QUIPU_UNLOCK") {
        let passphrase = Passphrase::new(text);
        ledger.unlock(Some(&passphrase)).unwrap();
        drop(ledger.rotate_identity(Some(&passphrase)).unwrap());
        return;
    }
    match task.as_str() {
        "write" => write(&ledger, u64::MAX),
        "threads" => std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(|| write(&ledger, u64::MAX))))
        }),
        "control" => control(&ledger),
        "certify" => certify(&ledger),
        "blocks" => blocks(&ledger),
        "prune" => prune(&ledger, &Ledger::open(path("QUIPU_SOURCE")).unwrap()),
        "rotate" => drop(ledger.rotate_identity(None).unwrap()),
        "merge" => {
            let source = Ledger::open(path("QUIPU_SOURCE")).unwrap();
            ledger.merge(&source, &mut |_, _| {}).unwrap();
            write(&ledger, u64::MAX);
        }
        "admit" => {
            admit(&ledger, &Ledger::open(path("QUIPU_SOURCE")).unwrap());
            write(&ledger, u64::MAX);
        }
        "import" => {
            ledger.import(File::open(path("QUIPU_SOURCE")).unwrap(), &mut |_, _| {}).unwrap();
            write(&ledger, u64::MAX);
        }
        other => panic!("no task {other}"),
    }
}

fn acknowledge(committed: &quipu_store::Committed) {
    // One call, so that lines of threads do not mix.
    let line = format!("\ncommitted {} {}\n", committed.event, committed.seq);
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

fn write(ledger: &Ledger, count: u64) {
    for number in 0..count {
        let mut transaction = ledger.transaction();
        transaction.put(&format!("key/{}", number % 7), &number.to_be_bytes()).unwrap();
        transaction.inc("count", 1).unwrap().append("list", b"value").unwrap();
        transaction.add("set", &[u8::try_from(number % 5).unwrap()]).unwrap();
        if number % 10 == 9 {
            transaction.put("long", &vec![7; 10_000]).unwrap();
        }
        acknowledge(&transaction.commit().unwrap());
    }
}

/// Roles given and taken, values erased: what changes earlier events.
fn control(ledger: &Ledger) {
    loop {
        control_once(ledger);
    }
}

fn control_once(ledger: &Ledger) {
    let other = AuthorKey([9; 32]);
    acknowledge(&ledger.grant(other, Role::Writer).unwrap());
    let mut transaction = ledger.transaction();
    transaction.put("secret", b"to be erased").unwrap();
    let secret = transaction.commit().unwrap();
    acknowledge(&secret);
    write(ledger, 2);
    acknowledge(&ledger.redact(secret.event).unwrap());
    acknowledge(&ledger.revoke(other).unwrap());
}

/// A ledger that the test's key certifies.
fn certified_ledger(store: &Path) {
    let validators = Some(vec![certified::author()]);
    drop(Ledger::create(store, &NewLedger { validators, ..NewLedger::default() }).unwrap());
}

/// Checkpoints over what is written, with revokes and erasures among it; what no later state needs is
/// dropped.
fn certify(ledger: &Ledger) {
    loop {
        control_once(ledger);
        let certified = certified::certify(ledger);
        let height = certified.height();
        // Like an event: what was said to count counts.
        println!("\ncounted {height}");
        let cut = Cut::Heads(certified.cut.heads().to_vec());
        let pruned = ledger.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap();
        assert!(height == Height::FIRST || pruned.bodies > 0);
    }
}

/// Long values, few of them different, written and erased while garbage is collected.
fn blocks(ledger: &Ledger) {
    let collect = || {
        loop {
            let now = GcOptions { grace: Duration::ZERO, dry_run: false };
            ledger.gc(now, &mut |_, _| {}).unwrap();
        }
    };
    let write = || {
        for number in 0_u64.. {
            let mut state = number % 4 + 1;
            let value: Vec<u8> = std::iter::repeat_with(|| random(&mut state, 256))
                .map(|byte| u8::try_from(byte).unwrap_or_default())
                .take(usize::try_from(number % 4 * 700_000 + 20_000).unwrap())
                .collect();
            let mut transaction = ledger.transaction();
            transaction.put("long", &value).unwrap();
            let long = transaction.commit().unwrap();
            acknowledge(&long);
            if number % 2 == 0 {
                acknowledge(&ledger.redact(long.event).unwrap());
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(collect);
        scope.spawn(write);
    });
}

/// Replicating as nodes do.
fn admit(ledger: &Ledger, source: &Ledger) {
    let wants = ledger.plan(&source.frontier().unwrap()).unwrap();
    let mut feed = source.feed(&wants).unwrap();
    loop {
        let portion = feed.read(source, 50_000).unwrap();
        ledger.admit(portion.events).unwrap();
        if portion.last {
            return;
        }
    }
}

/// Values dropped and brought back, while others are written.
fn prune(ledger: &Ledger, source: &Ledger) {
    ledger.merge(source, &mut |_, _| {}).unwrap();
    let options = MergeOptions { refill: true };
    let prune = || {
        loop {
            ledger.prune(&Cut::Everything, PruneOptions::default(), &mut |_, _| {}).unwrap();
            let now = GcOptions { grace: Duration::ZERO, dry_run: false };
            ledger.gc(now, &mut |_, _| {}).unwrap();
            let refilled = ledger.merge_with(source, options, &mut |_, _| {}).unwrap();
            assert!(refilled.new_values > 0);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(prune);
        scope.spawn(|| write(ledger, u64::MAX));
    });
}

// The process that kills.

struct Setting {
    dir: TempDir,
    file: PathBuf,
}

impl Setting {
    /// A ledger with a long history, one that lacks it, and a file of it.
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let source = Ledger::create(
            dir.path().join("source"),
            &NewLedger { policy: Policy::Open, ..NewLedger::default() },
        );
        let source = source.unwrap();
        let bulk = Options::new().durability(quipu_store::Durability::Relaxed);
        drop(source);
        let source = bulk.open(dir.path().join("source")).unwrap();
        for number in 0..SOURCE_EVENTS {
            let mut transaction = source.transaction();
            transaction.put(&format!("key/{}", number % 100), b"of the source").unwrap();
            transaction.commit().unwrap();
        }
        let file = dir.path().join("source.car");
        source
            .export(File::create(&file).unwrap(), &Cut::Everything, None, &mut |_, _| {})
            .unwrap();
        Self { dir, file }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn child(&self, task: &str, store: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"]);
        let source = if task == "import" { self.file.clone() } else { self.path("source") };
        command.env("QUIPU_TASK", task).env("QUIPU_STORE", store).env("QUIPU_SOURCE", source);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }
}

/// The events that a child acknowledged before it ended, and the last height that counted.
fn acknowledged(child: &mut Child) -> (Vec<(EventId, u64)>, u64) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (mut events, mut counted) = (Vec::new(), 0);
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        if let ["committed", event, seq] = words[..] {
            // The last line may be cut off.
            events.extend(event.parse().ok().zip(seq.parse().ok()));
        }
        if let ["counted", height] = words[..] {
            counted = height.parse().unwrap_or(counted);
        }
    }
    (events, counted)
}

/// What a store promised so far: its own events by position, and the last height that counts.
#[derive(Default)]
struct Promised(BTreeMap<u64, EventId>, u64);

impl Promised {
    fn extend(&mut self, events: Vec<(EventId, u64)>) {
        for (event, seq) in events {
            let before = self.0.insert(seq, event);
            assert!(before.is_none_or(|before| before == event), "position {seq} was given twice");
        }
    }

    /// Opens the store, looks whether all is there and sound, and writes on.
    fn check(&mut self, store: &Path) {
        let ledger = Ledger::open(store).unwrap();
        assert!(!ledger.is_copied());
        let snapshot = ledger.snapshot().unwrap();
        for (seq, event) in &self.0 {
            let held = snapshot.event(*event).unwrap();
            assert_eq!(held.seq.0, *seq);
        }
        assert!(snapshot.forks().unwrap().is_empty());
        assert!(snapshot.certified_height().map_or(0, |height| height.0) >= self.1);
        drop(snapshot);
        let report = ledger.verify(&mut |_, _| {}).unwrap();
        assert!(report.is_sound(), "{:#?}", report.findings);
        let committed = put(&ledger);
        assert!(self.0.keys().next_back().is_none_or(|last| committed.seq.0 > *last));
        self.extend(vec![(committed.event, committed.seq.0)]);
    }
}

fn put(ledger: &Ledger) -> quipu_store::Committed {
    let mut transaction = ledger.transaction();
    transaction.put("after", b"the crash").unwrap();
    transaction.commit().unwrap()
}

fn random(state: &mut u64, below: u64) -> u64 {
    // Xorshift: https://doi.org/10.18637/jss.v008.i14
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_kills() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("QUIPU_SEED").unwrap_or(now.as_secs()) | 1;
    println!("QUIPU_SEED={seed}");
    let mut state = seed;
    let setting = Setting::new();
    let (mut kills, mut promises) = (0, 0);
    // Lives are about as long as it takes to write a little, however slow the machine is.
    let mut longest = 60_000;
    let total = number("QUIPU_KILLS").unwrap_or(KILLS);
    while kills < total {
        let mut round = BTreeMap::<&str, (PathBuf, Promised)>::new();
        // Stores stay small: they start again from time to time.
        for _ in 0..20.min(total - kills) {
            let (task, base) = [
                ("write", "write"),
                ("threads", "write"),
                ("control", "own"),
                ("merge", "merge"),
                ("import", "import"),
                ("admit", "admit"),
                ("blocks", "own"),
                ("prune", "merge"),
                ("certify", "own"),
            ][usize::try_from(random(&mut state, 9)).unwrap()];
            let (store, promised) = round.entry(base).or_insert_with(|| {
                let store = setting.path(&format!("{base}-{kills}"));
                match base {
                    "own" => certified_ledger(&store),
                    _ => {
                        let source = Ledger::open(setting.path("source")).unwrap();
                        let early = Cut::Heads(vec![source.id()]);
                        Options::new()
                            .clone_ledger(&store, &source, &early, &mut |_, _| {})
                            .unwrap();
                    }
                }
                (store, Promised::default())
            });
            let mut child = setting.child(task, store).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(5_000 + random(&mut state, longest)));
            child.kill().unwrap();
            let (events, counted) = acknowledged(&mut child);
            longest = if events.is_empty() { longest * 5 / 4 } else { longest * 3 / 4 };
            longest = longest.clamp(20_000, 2_000_000);
            assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL), "{task}");
            promises += events.len();
            promised.extend(events);
            promised.1 = promised.1.max(counted);
            promised.check(store);
            kills += 1;
        }
    }
    println!("{kills} kills, {promises} events acknowledged before them");
    assert!(promises > 0 || total < 20);
}

/// The tasks that come by a crash point, and how often it is passed before the crash.
fn tasks(point: &str) -> &'static [(&'static str, u64)] {
    match point {
        "before-write" | "after-write" => &[
            ("write", 0),
            ("write", 5),
            ("threads", 3),
            ("control", 4),
            ("certify", 7),
            ("certify", 17),
            ("merge", 1),
            ("import", 1),
            ("admit", 0),
            ("admit", 3),
        ],
        "after-key-saved" | "after-database-made" | "after-genesis" | "before-finished" => {
            &[("create", 0)]
        }
        "before-blocks-taken-over" | "after-blocks-taken-over" | "before-blocks-known" => {
            &[("blocks", 0), ("blocks", 2)]
        }
        "between-collected" => &[("blocks", 0), ("blocks", 3)],
        "between-pruned-bodies" => &[("certify", 0), ("certify", 2)],
        "between-pruned" | "between-refilled" => &[("prune", 0), ("prune", 2)],
        "between-merge-batches" => &[("merge", 0), ("merge", 1)],
        "after-rehearsal" => &[("import", 0)],
        "between-import-batches" => &[("import", 0), ("import", 1)],
        "after-grant" | "before-key-replaced" | "after-key-replaced" => &[("rotate", 0)],
        // See `backup.rs`.
        "after-backup-copied" | "after-seals-removed" | "after-files-restored" => &[],
        // See `repair.rs`.
        "between-repaired-batches"
        | "before-exchange-noted"
        | "after-exchange-noted"
        | "after-database-set-aside"
        | "after-database-replaced" => &[],
        // See `fill.rs`.
        "before-filling-begun"
        | "between-filled"
        | "before-filling-whole"
        | "after-filling-whole"
        | "after-front-merged"
        | "after-front-taken-over" => &[],
        other => panic!("nothing is known about {other}"),
    }
}

#[test]
fn every_crash_point() {
    let setting = Setting::new();
    for point in CRASH_POINTS {
        for (number, &(task, after)) in tasks(point).iter().enumerate() {
            let store = setting.path(&format!("{point}-{number}"));
            match task {
                "create" => {}
                "blocks" | "control" | "rotate" | "certify" => certified_ledger(&store),
                _ => {
                    let source = Ledger::open(setting.path("source")).unwrap();
                    let early = Cut::Heads(vec![source.id()]);
                    Options::new().clone_ledger(&store, &source, &early, &mut |_, _| {}).unwrap();
                }
            }
            let mut command = setting.child(task, &store);
            let mut child = command
                .env("QUIPU_CRASH", point)
                .env("QUIPU_AFTER", after.to_string())
                .spawn()
                .unwrap();
            let (events, counted) = acknowledged(&mut child);
            assert_eq!(child.wait().unwrap().signal(), Some(SIGABRT), "{point} {task}");
            if task == "create" {
                assert!(matches!(Ledger::open(&store), Err(OpenError::NotFound(_))), "{point}");
                drop(Ledger::create(&store, &NewLedger::default()).unwrap());
            }
            let mut promised = Promised::default();
            promised.extend(events);
            promised.1 = counted;
            promised.check(&store);
            if ["merge", "import", "admit"].contains(&task) {
                let (ledger, source) =
                    (Ledger::open(&store).unwrap(), Ledger::open(setting.path("source")).unwrap());
                match task {
                    "admit" => admit(&ledger, &source),
                    _ => drop(ledger.merge(&source, &mut |_, _| {}).unwrap()),
                }
                assert!(ledger.verify(&mut |_, _| {}).unwrap().is_sound());
                let clock = ledger.snapshot().unwrap().version().unwrap();
                assert_eq!(clock.get(&source.author()), Some(&(SOURCE_EVENTS as u64 + 1)));
            }
        }
    }
}

/// A change of key that is cut short: the key file tells whether it has happened, also to those
/// who cannot open it.
#[test]
fn the_key_file_settles_a_change_of_key() {
    let setting = Setting::new();
    for (point, changed) in
        [("after-grant", false), ("before-key-replaced", false), ("after-key-replaced", true)]
    {
        for passphrase in [None, Some("a passphrase")] {
            let store = setting.path(&format!("{point}-{}", passphrase.is_some()));
            let unlocked = || {
                let given = passphrase.map(|text| Passphrase::new(text.to_owned()));
                given.map_or_else(Options::new, |given| Options::new().passphrase(given))
            };
            let old = unlocked().create(&store, &NewLedger::default()).unwrap().author();
            let mut command = setting.child("rotate", &store);
            command.env("QUIPU_CRASH", point).env("QUIPU_AFTER", "0");
            if let Some(text) = passphrase {
                command.env("QUIPU_UNLOCK", text);
            }
            assert_eq!(command.status().unwrap().signal(), Some(SIGABRT), "{point}");
            // The first time the file decides, and then it is known.
            for _ in 0..2 {
                let ledger = Ledger::open(&store).unwrap();
                assert_eq!(ledger.author() != old, changed, "{point}");
                assert!(!ledger.is_copied());
            }
            let ledger = unlocked().open(&store).unwrap();
            let author = ledger.author();
            put(&ledger);
            assert_eq!((ledger.author() != old, ledger.author()), (changed, author), "{point}");
            let rotation = ledger.rotate_identity(None).unwrap();
            assert_eq!((rotation.old, rotation.granted.len()), (author, 2), "{point}");
            drop(ledger);
            let ledger = Ledger::open(&store).unwrap();
            assert_eq!(ledger.author(), rotation.new);
            put(&ledger);
            assert!(ledger.verify(&mut |_, _| {}).unwrap().is_sound());
        }
    }
}

#[test]
fn making_a_store_spares_what_is_there() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("mine"), b"").unwrap();
    assert!(matches!(Ledger::create(dir.path(), &NewLedger::default()), Err(OpenError::Exists(_))));
    assert!(dir.path().join("mine").is_file());
    let store = dir.path().join("store");
    drop(Ledger::create(&store, &NewLedger::default()).unwrap());
    assert!(matches!(Ledger::create(&store, &NewLedger::default()), Err(OpenError::Exists(_))));
    Ledger::open(&store).unwrap();
}

#[test]
fn a_copy_stays_one_when_its_passphrase_changes() {
    let dir = TempDir::new().unwrap();
    let (store, copy) = (dir.path().join("store"), dir.path().join("copy"));
    drop(Ledger::create(&store, &NewLedger::default()).unwrap());
    assert!(Command::new("cp").arg("-r").args([&store, &copy]).status().unwrap().success());
    let ledger = Ledger::open(&copy).unwrap();
    assert!(ledger.is_copied());
    ledger.set_passphrase(None).unwrap();
    drop(ledger);
    let ledger = Ledger::open(&copy).unwrap();
    assert!(ledger.is_copied());
    ledger.rotate_identity(None).unwrap();
    drop(ledger);
    assert!(!Ledger::open(&copy).unwrap().is_copied());
}

#[test]
fn writing_while_the_key_changes_forks_nobody() {
    let dir = TempDir::new().unwrap();
    let ledger = Ledger::create(dir.path().join("store"), &NewLedger::default()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..300 {
                let mut transaction = ledger.transaction();
                transaction.inc("count", 1).unwrap();
                match transaction.commit() {
                    Ok(_) | Err(WriteError::KeyChanged) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let rotate = || {
            while !writer.is_finished() {
                ledger.rotate_identity(None).unwrap();
            }
        };
        std::thread::scope(|rotating| {
            rotating.spawn(rotate);
            rotate();
        });
    });
    let author = ledger.author();
    assert!(ledger.snapshot().unwrap().forks().unwrap().is_empty());
    assert!(ledger.verify(&mut |_, _| {}).unwrap().is_sound());
    drop(ledger);
    let ledger = Ledger::open(dir.path().join("store")).unwrap();
    assert_eq!(ledger.author(), author);
    put(&ledger);
}
