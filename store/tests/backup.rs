//! Backups made while threads write, restored, damaged, cut short.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quipu_merge::{EventId, Role};
use quipu_store::{
    BackupError, BackupId, BackupInfo, Ledger, LogFilter, NewLedger, OpenError, Options,
    Passphrase, Restore, backups, check_backups, is_store, purge_backups,
};
use support::{assert_sound, copy};
use tempfile::TempDir;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// A store that is not kept in memory for long, and a place for its backups.
struct Setting {
    place: TempDir,
}

impl Setting {
    fn new() -> Self {
        Self { place: TempDir::new().unwrap() }
    }

    /// A store with some history in several table files.
    fn with_store() -> (Self, Ledger) {
        let setting = Self::new();
        let ledger = Ledger::create(setting.path("store"), &NewLedger::default()).unwrap();
        for number in 0..50 {
            write(&ledger, number);
        }
        (setting, ledger)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn restore(&self, what: &Restore, name: &str) -> Result<Ledger, BackupError> {
        let to = self.path(name);
        let restored = Options::new().restore(self.path("backups"), what, to, &mut |_, _| {});
        restored.map(|(ledger, _)| ledger)
    }

    fn latest(&self, name: &str) -> Ledger {
        self.restore(&Restore::default(), name).unwrap()
    }

    fn ids(&self) -> Vec<u32> {
        let list = backups(self.path("backups")).unwrap();
        assert!(list.damaged.is_empty(), "{:?}", list.damaged);
        list.whole.iter().map(|backup| backup.id.0).collect()
    }
}

fn number(id: u32) -> Restore {
    Restore { backup: Some(BackupId(id)), key: None }
}

fn write(ledger: &Ledger, number: u64) -> EventId {
    let mut transaction = ledger.transaction();
    transaction.put(&format!("key/{}", number % 20), &number.to_be_bytes()).unwrap();
    transaction.inc("count", 1).unwrap().append("list", b"value").unwrap();
    if number % 10 == 9 {
        let long: Vec<u8> = (0..10_000_u64).flat_map(|i| (i * number).to_be_bytes()).collect();
        transaction.put("long", &long).unwrap();
    }
    transaction.commit().unwrap().event
}

fn back_up(ledger: &Ledger, dir: &Path) -> BackupInfo {
    ledger.backup(dir, &mut |_, _| {}).unwrap().backup
}

/// All events of a ledger that has one author, in its order.
fn chain(ledger: &Ledger) -> Vec<EventId> {
    let snapshot = ledger.snapshot().unwrap();
    let mut events: Vec<_> =
        snapshot.log(LogFilter::default()).unwrap().map(Result::unwrap).collect();
    events.sort_by_key(|event| event.seq);
    events.into_iter().map(|event| event.id).collect()
}

/// The files below a directory, by their paths in it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { all.push(path) }
        }
    }
    all.sort();
    all
}

#[test]
fn backups_of_a_store_that_is_written_to() {
    let setting = Setting::new();
    let options = Options::new().write_buffer(1 << 20);
    let ledger = options.create(setting.path("store"), &NewLedger::default()).unwrap();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(1));
    let mut made = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (ledger, stop, acknowledged) = (&ledger, &stop, &acknowledged);
            scope.spawn(move || {
                for number in (thread..).step_by(3) {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    write(ledger, number);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(50));
            let before = acknowledged.load(Ordering::SeqCst);
            let backup = back_up(&ledger, &setting.path("backups"));
            assert!(backup.events >= before);
            made.push(backup);
        }
        stop.store(true, Ordering::SeqCst);
    });
    let chain = chain(&ledger);
    for backup in &made {
        let restored = setting.restore(&number(backup.id.0), &format!("restored-{}", backup.id));
        let restored = restored.unwrap();
        assert_sound(&restored);
        let snapshot = restored.snapshot().unwrap();
        let held = snapshot.len().unwrap();
        assert!(held >= backup.events);
        // One author's chain, up to some event and without a gap.
        let expected = &chain[..usize::try_from(held).unwrap()];
        assert!(snapshot.contains(expected[expected.len() - 1]).unwrap());
        assert_eq!(self::chain(&restored), expected);
        // All but the first event have added one.
        assert_eq!(snapshot.counter("count").unwrap(), Some(i128::from(held) - 1));
    }
    assert_eq!(setting.ids(), [1, 2, 3, 4, 5, 6]);
    assert!(check_backups(setting.path("backups"), &mut |_, _| {}).unwrap().damaged.is_empty());
    assert_sound(&ledger);
}

#[test]
fn a_restored_store_has_a_key_of_its_own() {
    let (setting, ledger) = Setting::with_store();
    let old = ledger.author();
    ledger.set_name(old, Some("alice")).unwrap();
    let backup = back_up(&ledger, &setting.path("backups"));
    assert_eq!((backup.author, backup.ledger, backup.events), (old, ledger.id(), 51));
    for path in files(&setting.path("backups")) {
        let bytes = fs::read(path).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"));
    }
    let later = write(&ledger, 1);
    let restored = setting.latest("restored");
    assert_ne!(restored.author(), old);
    assert!(!restored.is_copied());
    assert!(setting.path("restored/identity.pem").is_file());
    // It has no role yet, so that it cannot write by accident either.
    let mut transaction = restored.transaction();
    transaction.inc("count", 1).unwrap();
    assert!(transaction.commit().is_err());
    ledger.grant(restored.author(), Role::Writer).unwrap();
    restored.merge(&ledger, &mut |_, _| {}).unwrap();
    assert!(restored.snapshot().unwrap().contains(later).unwrap());
    write(&restored, 2);
    write(&ledger, 3);
    ledger.merge(&restored, &mut |_, _| {}).unwrap();
    for ledger in [&ledger, &restored] {
        let snapshot = ledger.snapshot().unwrap();
        assert!(snapshot.forks().unwrap().is_empty());
        assert_eq!(snapshot.names().unwrap().get(&old).map(String::as_str), Some("alice"));
        assert_sound(ledger);
    }
    drop(restored);
    let restored = Ledger::open(setting.path("restored")).unwrap();
    assert!(!restored.is_copied());
    write(&restored, 4);
}

#[test]
fn the_old_key_can_take_its_place_again() {
    let (setting, ledger) = Setting::with_store();
    let old = ledger.author();
    back_up(&ledger, &setting.path("backups"));
    let last = write(&ledger, 1);
    let other = Options::new().clone_ledger(
        setting.path("other"),
        &ledger,
        &quipu_merge::Cut::Everything,
        &mut |_, _| {},
    );
    let other = other.unwrap().0;
    drop(ledger);
    let what = Restore { backup: None, key: Some(setting.path("store/identity.pem")) };
    let restored = setting.restore(&what, "restored").unwrap();
    assert_eq!((restored.author(), restored.is_copied()), (old, true));
    drop(restored);
    let restored = Ledger::open(setting.path("restored")).unwrap();
    assert!(restored.is_copied());
    let report = restored.merge(&other, &mut |_, _| {}).unwrap();
    assert_eq!(report.new_events, 1);
    restored.keep_place().unwrap();
    let next = write(&restored, 2);
    let snapshot = restored.snapshot().unwrap();
    assert_eq!(snapshot.event(next).unwrap().prev, Some(last));
    assert!(snapshot.forks().unwrap().is_empty());
    // A key file that cannot be read leaves nothing.
    for key in ["nowhere", "backups/quipu-backups.txt"] {
        let what = Restore { backup: None, key: Some(setting.path(key)) };
        let failed = setting.restore(&what, "failed").err().unwrap();
        assert!(matches!(failed, BackupError::Open(OpenError::Identity(_))), "{failed}");
        assert!(!setting.path("failed").exists());
    }
}

#[test]
fn a_new_key_can_be_encrypted() {
    let (setting, ledger) = Setting::with_store();
    back_up(&ledger, &setting.path("backups"));
    let options = Options::new().passphrase(Passphrase::new("secret".to_owned()));
    let to = setting.path("restored");
    drop(options.restore(setting.path("backups"), &Restore::default(), &to, &mut |_, _| {}));
    let restored = Ledger::open(to).unwrap();
    assert!(restored.has_passphrase().unwrap());
    assert!(restored.unlock(None).is_err());
}

#[test]
fn what_has_not_changed_is_not_copied_again() {
    let setting = Setting::new();
    let ledger = Ledger::create(setting.path("store"), &NewLedger::default()).unwrap();
    for seed in 0..200_u64 {
        let mut transaction = ledger.transaction();
        let noise: Vec<u8> =
            (0..2_000_u64).flat_map(|i| blend(seed * 2_000 + i).to_be_bytes()).collect();
        transaction.put(&format!("key/{seed}"), &noise).unwrap();
        transaction.commit().unwrap();
    }
    // Or RocksDB would do so at a time of its own choosing.
    ledger.compact().unwrap();
    let dir = setting.path("backups");
    let mut told = Vec::new();
    let first = ledger.backup(&dir, &mut |done, total| told.push((done, total))).unwrap();
    assert!(first.added_bytes > 3_000_000, "{first:?}");
    assert!(told.last().is_some_and(|(done, total)| done == total && *done > 0));
    let second = ledger.backup(&dir, &mut |_, _| {}).unwrap();
    assert!(second.added_bytes < 100_000, "{second:?}");
    assert!(second.backup.bytes > 3_000_000, "{second:?}");
    write(&ledger, 1);
    let third = ledger.backup(&dir, &mut |_, _| {}).unwrap();
    assert!(third.added_bytes < 100_000, "{third:?}");
    // Also not by a process that has opened the store since.
    drop(ledger);
    let ledger = Ledger::open(setting.path("store")).unwrap();
    let fourth = ledger.backup(&dir, &mut |_, _| {}).unwrap();
    assert!(fourth.added_bytes < 100_000, "{fourth:?}");
    assert_eq!(setting.ids(), [1, 2, 3, 4]);
}

/// Bytes that do not compress: SplitMix64, https://doi.org/10.1145/2714064.2660195
fn blend(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn the_last_backups_are_kept() {
    let (setting, ledger) = Setting::with_store();
    let dir = setting.path("backups");
    let keep = |count| purge_backups(&dir, NonZeroUsize::new(count).unwrap()).unwrap();
    let mut lengths = Vec::new();
    for round in 0..5 {
        for number in 0..20 {
            write(&ledger, round * 20 + number);
        }
        ledger.compact().unwrap();
        lengths.push(back_up(&ledger, &dir).events);
    }
    assert_eq!(keep(5), []);
    let before = files(&dir).len();
    assert_eq!(keep(2), [BackupId(1), BackupId(2), BackupId(3)]);
    assert_eq!(setting.ids(), [4, 5]);
    assert!(files(&dir).len() < before);
    for id in [4, 5] {
        let restored = setting.restore(&number(id), &format!("restored-{id}")).unwrap();
        assert_eq!(restored.snapshot().unwrap().len().unwrap(), lengths[id as usize - 1]);
        assert_sound(&restored);
    }
    let gone = setting.restore(&number(3), "gone").err().unwrap();
    assert!(matches!(gone, BackupError::NoSuchBackup { id: BackupId(3), .. }), "{gone}");
    // A damaged one does not count, and goes with the others.
    let seal = dir.join("sealed/5");
    fs::write(&seal, fs::read_to_string(&seal).unwrap().replace("events", "Events")).unwrap();
    assert_eq!(back_up(&ledger, &dir).id, BackupId(6));
    assert_eq!(keep(2), []);
    assert_eq!(keep(1), [BackupId(4), BackupId(5)]);
    assert_eq!(setting.ids(), [6]);
    assert_sound(&setting.latest("restored-6"));
}

#[test]
fn damage_is_found_and_named() {
    let (setting, ledger) = Setting::with_store();
    let dir = setting.path("backups");
    back_up(&ledger, &dir);
    drop(ledger);
    let whole = setting.path("whole");
    fs::rename(&dir, &whole).unwrap();
    let backed_up: Vec<_> =
        files(&whole).iter().map(|path| path.strip_prefix(&whole).unwrap().to_owned()).collect();
    assert!(backed_up.len() > 8, "{backed_up:?}");
    for name in backed_up {
        let text = name.to_str().unwrap();
        // Neither says anything about a backup.
        if text == ".quipu-lock" || text == "quipu-backups.txt" {
            continue;
        }
        let bytes = fs::read(whole.join(&name)).unwrap();
        let middle = bytes.len() / 2;
        let changes: [&dyn Fn(&Path); 4] = [
            &|path| flip(path, &bytes, middle),
            &|path| flip(path, &bytes, bytes.len() - 1),
            &|path| fs::write(path, &bytes[..middle]).unwrap(),
            &|path| fs::remove_file(path).unwrap(),
        ];
        for (number, change) in changes.iter().enumerate() {
            // A log without a record has nothing to lose but itself.
            if bytes.is_empty() && number < 3 {
                continue;
            }
            copy(&whole, &dir);
            change(&dir.join(&name));
            let list = backups(&dir).unwrap();
            let removed_seal = number == 3 && text.starts_with("sealed");
            assert!(number < 2 || list.whole.is_empty(), "{text}: {list:?}");
            let list = check_backups(&dir, &mut |_, _| {}).unwrap();
            assert!(list.whole.is_empty(), "{text} {number}: {list:?}");
            assert_eq!(list.damaged.len(), usize::from(!removed_seal));
            let refused = setting.restore(&Restore::default(), "restored").err().unwrap();
            match refused {
                BackupError::NotFound(_) if removed_seal => {}
                BackupError::Damaged { path, .. } => assert_eq!(path, dir.join(&name), "{number}"),
                other => panic!("{text} {number}: {other}"),
            }
            assert!(!setting.path("restored").exists(), "{text} {number}");
            fs::remove_dir_all(&dir).unwrap();
        }
    }
    copy(&whole, &dir);
    assert_sound(&setting.latest("restored"));
}

fn flip(path: &Path, bytes: &[u8], at: usize) {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_file_is_copied_again_once_it_is_gone() {
    let (setting, ledger) = Setting::with_store();
    let dir = setting.path("backups");
    back_up(&ledger, &dir);
    let shared = files(&dir.join("shared_checksum"));
    let bytes = fs::read(&shared[0]).unwrap();
    fs::write(&shared[0], &bytes[..bytes.len() / 2]).unwrap();
    match ledger.backup(&dir, &mut |_, _| {}).unwrap_err() {
        BackupError::Damaged { path, .. } => assert_eq!(path, shared[0]),
        other => unreachable!("{other}"),
    }
    fs::remove_file(&shared[0]).unwrap();
    assert_eq!(back_up(&ledger, &dir).id, BackupId(2));
    assert_sound(&setting.latest("restored"));
}

#[test]
fn wrong_directories_are_refused() {
    let (setting, ledger) = Setting::with_store();
    let dir = setting.path("backups");
    back_up(&ledger, &dir);
    let refused = |dir: &Path| ledger.backup(dir, &mut |_, _| {}).unwrap_err();
    let full = setting.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), b"").unwrap();
    assert!(matches!(refused(&full), BackupError::NotBackups(_)));
    assert_eq!(files(&full), [full.join("mine")]);
    assert!(matches!(refused(ledger.dir()), BackupError::InStore(_)));
    assert!(matches!(refused(&ledger.dir().join("backups")), BackupError::InStore(_)));
    assert!(matches!(refused(&full.join("mine")), BackupError::Storage(_)));
    let other = Ledger::create(setting.path("other"), &NewLedger::default()).unwrap();
    let refused = other.backup(&dir, &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, BackupError::OtherLedger { .. }), "{refused}");
    assert_eq!(setting.ids(), [1]);
    for (dir, made) in [(&full, true), (&setting.path("nowhere"), false)] {
        assert!(matches!(backups(dir), Err(BackupError::NotFound(_))));
        let to = setting.path("restored");
        let none = Options::new().restore(dir, &Restore::default(), &to, &mut |_, _| {});
        assert!(matches!(none, Err(BackupError::NotFound(_))));
        assert_eq!((to.exists(), dir.exists()), (false, made));
    }
    let exists = setting.restore(&Restore::default(), "full").err().unwrap();
    assert!(matches!(exists, BackupError::Open(OpenError::Exists(_))), "{exists}");
    assert_eq!(files(&full), [full.join("mine")]);
    let exists = setting.restore(&Restore::default(), "store").err().unwrap();
    assert!(matches!(exists, BackupError::Open(OpenError::Exists(_))), "{exists}");
}

#[test]
fn who_changes_backups_is_alone() {
    let (setting, ledger) = Setting::with_store();
    let dir = setting.path("backups");
    back_up(&ledger, &dir);
    let lock = fs::File::open(dir.join(".quipu-lock")).unwrap();
    lock.lock_shared().unwrap();
    assert_eq!(setting.ids(), [1]);
    let in_use = ledger.backup(&dir, &mut |_, _| {}).unwrap_err();
    assert!(matches!(in_use, BackupError::InUse(_)), "{in_use}");
    lock.unlock().unwrap();
    lock.lock().unwrap();
    assert!(matches!(backups(&dir), Err(BackupError::InUse(_))));
    // A copy without the lock can be read.
    let copied = setting.path("copied");
    copy(&dir, &copied);
    fs::remove_file(copied.join(".quipu-lock")).unwrap();
    assert_eq!(backups(&copied).unwrap().whole.len(), 1);
}

// Processes that are killed.

/// Not a test: what the tests below start as a process of its own.
#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    let Ok(task) = std::env::var("QUIPU_TASK") else { return };
    if let Ok(point) = std::env::var("QUIPU_CRASH") {
        fail::cfg_callback(point, || std::process::abort()).unwrap();
    }
    let place = PathBuf::from(std::env::var("QUIPU_PLACE").unwrap());
    let dir = place.join("backups");
    match task.as_str() {
        "backup" => {
            let ledger = Ledger::open(place.join("store")).unwrap();
            for number in 0.. {
                write(&ledger, number);
                back_up(&ledger, &dir);
            }
        }
        "purge" => drop(purge_backups(&dir, NonZeroUsize::MIN).unwrap()),
        "restore" => {
            let to = place.join("restored");
            drop(Options::new().restore(dir, &Restore::default(), to, &mut |_, _| {}).unwrap());
        }
        other => panic!("no task {other}"),
    }
}

impl Setting {
    fn child(&self, task: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("QUIPU_TASK", task).env("QUIPU_PLACE", self.place.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn crash(&self, task: &str, point: &str) {
        let status = self.child(task).env("QUIPU_CRASH", point).status().unwrap();
        assert_eq!(status.signal(), Some(SIGABRT), "{task} {point}");
    }

    /// Starts a task and kills it after a while; false where it came to its end before.
    fn kill(&self, task: &str, after: Duration) -> bool {
        let mut child = self.child(task).spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(SIGKILL), "{task}: {status}");
        !status.success()
    }

    /// What a restore has left is no store, and does not stand in the way of the next.
    fn check_restored(&self, ended: bool) {
        let to = self.path("restored");
        if !ended {
            assert!(matches!(Ledger::open(&to), Err(OpenError::NotFound(_))));
            drop(self.latest("restored"));
        }
        assert_sound(&Ledger::open(&to).unwrap());
        fs::remove_dir_all(to).unwrap();
    }
}

#[test]
fn crash_points_of_a_backup() {
    let (setting, ledger) = Setting::with_store();
    let dir = setting.path("backups");
    back_up(&ledger, &dir);
    drop(ledger);
    for round in 0..3 {
        setting.crash("backup", "after-backup-copied");
        assert_eq!(setting.ids(), [1], "{round}");
    }
    let ledger = Ledger::open(setting.path("store")).unwrap();
    let backup = back_up(&ledger, &dir);
    assert_eq!(setting.ids(), [1, backup.id.0]);
    // What has no seal neither counts nor stays.
    assert_eq!(files(&dir.join("meta")).len(), 5);
    let keep = |count| purge_backups(&dir, NonZeroUsize::new(count).unwrap()).unwrap();
    assert_eq!(keep(2), []);
    assert_eq!(setting.ids(), [1, backup.id.0]);
    drop(ledger);
    setting.crash("purge", "after-seals-removed");
    assert_eq!(setting.ids(), [backup.id.0]);
    assert_eq!(keep(1), []);
    assert_eq!(files(&dir.join("meta")).len(), 1);
    assert!(check_backups(&dir, &mut |_, _| {}).unwrap().damaged.is_empty());
    assert_sound(&setting.latest("restored"));
}

#[test]
fn crash_points_of_a_restore() {
    let (setting, ledger) = Setting::with_store();
    back_up(&ledger, &setting.path("backups"));
    for point in ["after-files-restored", "before-finished"] {
        setting.crash("restore", point);
        setting.check_restored(false);
    }
}

#[test]
fn kills_at_any_time() {
    let (setting, ledger) = Setting::with_store();
    let dir = setting.path("backups");
    let mut last = back_up(&ledger, &dir).id.0;
    drop(ledger);
    let mut kills = 0;
    for round in 0..24 {
        setting.kill("backup", Duration::from_millis(5 + 9 * round));
        let list = backups(&dir).unwrap();
        assert!(list.damaged.is_empty(), "{:?}", list.damaged);
        assert!(list.whole.iter().any(|backup| backup.id.0 == last));
        let ended = !setting.kill("restore", Duration::from_millis(3 + 4 * round));
        kills += u32::from(!ended);
        let to = setting.path("restored");
        // The last moment of a restore is after it has become a store.
        if to.exists() {
            setting.check_restored(ended || is_store(&to));
        }
        let ledger = Ledger::open(setting.path("store")).unwrap();
        assert_sound(&ledger);
        last = back_up(&ledger, &dir).id.0;
        purge_backups(&dir, NonZeroUsize::new(3).unwrap()).unwrap();
        assert!(setting.ids().len() <= 3);
    }
    assert!(kills > 0);
    assert!(check_backups(&dir, &mut |_, _| {}).unwrap().damaged.is_empty());
    assert_sound(&setting.latest("restored"));
}
