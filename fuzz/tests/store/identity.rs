//! Keys, places and locks: what opens a store, and what each refusal is called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use quipu_merge::{Cut, ForkPolicy, Policy, Role};
use quipu_store::{
    IdentityError, Ledger, NewLedger, OpenError, Options, Passphrase, RotationError, Value,
    WriteError, is_store,
};

use crate::files::{Place, copy_dir, merge, relaxed};

fn put(ledger: &Ledger, key: &str) -> Result<quipu_store::Committed, WriteError> {
    let mut transaction = ledger.transaction();
    transaction.put(key, b"value")?;
    transaction.commit()
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

#[test]
fn a_directory_is_one_store_or_none() {
    let place = Place::new();
    let dir = place.path("store");
    assert!(matches!(relaxed().open(&dir), Err(OpenError::NotFound(path)) if path == dir));
    let ledger = relaxed().create(&dir, &NewLedger::default()).unwrap();
    assert!(is_store(&dir));
    assert!(matches!(relaxed().open(&dir), Err(OpenError::Locked(path)) if path == dir));
    let again = relaxed().create(&dir, &NewLedger::default());
    assert!(matches!(again, Err(OpenError::Exists(path)) if path == dir));
    put(&ledger, "k").unwrap();
    drop(ledger);
    assert!(put(&relaxed().open(&dir).unwrap(), "k").is_ok());

    let long = NewLedger { name: "n".repeat(257), ..NewLedger::default() };
    for name in ["new", "empty"] {
        let dir = place.path(name);
        if name == "empty" {
            fs::create_dir(&dir).unwrap();
        }
        assert!(matches!(relaxed().create(&dir, &long), Err(OpenError::Genesis(_))));
        assert_eq!(dir.exists(), name == "empty");
        assert!(!is_store(&dir));
        relaxed().create(&dir, &NewLedger::default()).unwrap();
    }
}

#[test]
fn the_key_is_its_owners_alone() {
    let place = Place::new();
    let dir = place.path("store");
    let author = relaxed().create(&dir, &NewLedger::default()).unwrap().author();
    let file = dir.join("identity.pem");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&file).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    mode(0o640);
    assert!(matches!(refusal(&relaxed(), &dir), IdentityError::Exposed { mode: 0o640, .. }));
    mode(0o600);
    // A passphrase that nothing asks for does no harm.
    let opened = relaxed().passphrase(passphrase("unneeded")).open(&dir).unwrap();
    opened.unlock(Some(&passphrase("unneeded, too"))).unwrap();
    assert_eq!(opened.author(), author);
    drop(opened);
    let key = fs::read(&file).unwrap();
    fs::write(&file, b"no key").unwrap();
    assert!(matches!(refusal(&relaxed(), &dir), IdentityError::NotAKey(_)));
    fs::write(&file, [0xff; 20]).unwrap();
    assert!(matches!(refusal(&relaxed(), &dir), IdentityError::NotAKey(_)));
    fs::remove_file(&file).unwrap();
    assert!(matches!(refusal(&relaxed(), &dir), IdentityError::File { .. }));
    // Nobody can tell whether it was copied, until the key is back.
    assert!(relaxed().open(&dir).unwrap().is_copied());
    fs::write(&file, key).unwrap();
    mode(0o600);
    let ledger = relaxed().open(&dir).unwrap();
    assert_eq!(put(&ledger, "k").unwrap().seq.0, 2);
}

/// What keeps the store's key from being used. Nothing is written then, and all can be read.
fn refusal(options: &Options, dir: &Path) -> IdentityError {
    let ledger = options.open(dir).unwrap();
    let before = ledger.snapshot().unwrap().version().unwrap();
    let mut transaction = ledger.transaction();
    assert!(matches!(transaction.put("k", &[7; 100_000]), Err(WriteError::Identity(_))));
    drop(transaction);
    let author = ledger.author();
    for refused in
        [put(&ledger, "k"), ledger.grant(author, Role::Writer), ledger.redact(ledger.id())]
    {
        assert!(matches!(refused, Err(WriteError::Identity(_))), "{refused:?}");
    }
    assert!(matches!(ledger.tie(), Err(WriteError::Identity(_))));
    assert!(matches!(ledger.rotate_identity(None), Err(RotationError::Identity(_))));
    assert!(ledger.set_passphrase(None).is_err());
    let snapshot = ledger.snapshot().unwrap();
    assert_eq!(snapshot.version().unwrap(), before);
    assert!(before.contains_key(&author));
    let report = ledger.verify(&mut |_, _| {}).unwrap();
    assert!(report.is_sound() && report.blocks == 0, "{:#?}", report.findings);
    ledger.status().unwrap();
    let file = place_file(dir);
    ledger.export(file, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    let error = ledger.unlock(None).unwrap_err();
    drop(snapshot);
    drop(ledger);
    assert_eq!(options.open(dir).unwrap().author(), author);
    error
}

fn place_file(dir: &Path) -> fs::File {
    fs::File::create(dir.with_extension("car")).unwrap()
}

#[test]
fn passphrases() {
    let place = Place::new();
    let dir = place.path("store");
    let with = |text: &str| relaxed().passphrase(passphrase(text));
    let ledger = with("right").create(&dir, &NewLedger::default()).unwrap();
    let author = ledger.author();
    assert!(ledger.has_passphrase().unwrap());
    drop(ledger);
    assert!(matches!(refusal(&relaxed(), &dir), IdentityError::PassphraseNeeded));
    assert!(matches!(refusal(&with("wrong"), &dir), IdentityError::WrongPassphrase));
    let ledger = with("right").open(&dir).unwrap();
    assert_eq!(ledger.author(), author);
    ledger.set_passphrase(Some(&passphrase("other"))).unwrap();
    drop(ledger);
    assert!(matches!(refusal(&with("right"), &dir), IdentityError::WrongPassphrase));
    // It can be given later, and after a wrong one.
    let ledger = relaxed().open(&dir).unwrap();
    let wrong = ledger.unlock(Some(&passphrase("right")));
    assert!(matches!(wrong, Err(IdentityError::WrongPassphrase)));
    assert!(matches!(put(&ledger, "k"), Err(WriteError::Identity(_))));
    ledger.unlock(Some(&passphrase("other"))).unwrap();
    put(&ledger, "k").unwrap();
    ledger.set_passphrase(None).unwrap();
    assert!(!ledger.has_passphrase().unwrap());
    drop(ledger);
    let ledger = relaxed().open(&dir).unwrap();
    assert_eq!(ledger.author(), author);
    put(&ledger, "k").unwrap();
    // The file of the key is another one now, and the store still the same.
    assert!(!ledger.is_copied());
}

#[test]
fn a_locked_store_takes_in_and_gives_what_others_have() {
    let place = Place::new();
    let dir = place.path("locked");
    let open = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    let source = relaxed().create(place.path("source"), &open).unwrap();
    let clone = |name: &str, from: &Ledger, options: &Options| {
        let cloned = options.clone_ledger(place.path(name), from, &Cut::Everything, &mut |_, _| {});
        cloned.unwrap().0
    };
    drop(clone("locked", &source, &relaxed().passphrase(passphrase("right"))));
    let locked = relaxed().open(&dir).unwrap();
    let written = put(&source, "k").unwrap();
    assert_eq!(merge(&locked, &source).new_events, 1);
    put(&source, "l").unwrap();
    let file = place.path("file.car");
    let created = fs::File::create(&file).unwrap();
    source.export(created, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    let report = locked.import(fs::File::open(&file).unwrap(), &mut |_, _| {}).unwrap();
    assert_eq!(report.new_events, 1);
    assert_eq!(locked.snapshot().unwrap().event(written.event).unwrap().author, source.author());
    let clone = clone("clone", &locked, &relaxed());
    assert_eq!(clone.snapshot().unwrap().len().unwrap(), 3);
    assert_eq!(merge(&source, &locked).new_events, 0);
}

#[test]
fn the_key_of_another_store_is_refused() {
    let place = Place::new();
    let (dir, other) = (place.path("store"), place.path("other"));
    let expected = relaxed().create(&dir, &NewLedger::default()).unwrap().author();
    let found = relaxed().create(&other, &NewLedger::default()).unwrap().author();
    let file = dir.join("identity.pem");
    let own = fs::read(&file).unwrap();
    fs::write(&file, fs::read(other.join("identity.pem")).unwrap()).unwrap();
    match refusal(&relaxed(), &dir) {
        IdentityError::OtherKey { path, found: holds, expected: wanted } => {
            assert_eq!((path, holds, wanted), (file.clone(), found, expected));
        }
        other => panic!("{other}"),
    }
    fs::write(&file, own).unwrap();
    put(&relaxed().open(&dir).unwrap(), "k").unwrap();
}

#[test]
fn a_new_key_gets_the_roles_of_the_old_one() {
    let place = Place::new();
    let dir = place.path("store");
    let ledger = relaxed().create(&dir, &NewLedger::default()).unwrap();
    let old = ledger.author();
    let rotation = ledger.rotate_identity(None).unwrap();
    assert_eq!((rotation.old, rotation.new), (old, ledger.author()));
    assert_ne!(old, rotation.new);
    assert_eq!(rotation.granted, [Role::Admin, Role::Validator]);
    let grant = rotation.event.unwrap();
    let written = put(&ledger, "k").unwrap();
    drop(ledger);
    let ledger = relaxed().open(&dir).unwrap();
    assert!(!ledger.is_copied());
    assert_eq!(ledger.author(), rotation.new);
    let snapshot = ledger.snapshot().unwrap();
    let event = snapshot.event(written.event).unwrap();
    assert_eq!((event.author, event.seq.0, event.prev), (rotation.new, 1, None));
    assert_eq!(event.parents, [grant.event]);
    assert_eq!(snapshot.roles().unwrap()[&rotation.new], ["admin", "validator"]);
    assert_eq!(put(&ledger, "k").unwrap().seq.0, 2);

    // Whoever holds nothing has nothing to pass on.
    let clone = place.path("clone");
    let clone = relaxed().clone_ledger(clone, &ledger, &Cut::Everything, &mut |_, _| {});
    let clone = clone.unwrap().0;
    let rotation = clone.rotate_identity(None).unwrap();
    assert!(rotation.granted.is_empty() && rotation.event.is_none());
    assert!(matches!(put(&clone, "k"), Err(WriteError::Refused(_) | WriteError::Unauthorised(_))));
}

#[test]
fn a_copy_is_noticed() {
    let place = Place::new();
    let (dir, copy, moved) = (place.path("store"), place.path("copy"), place.path("moved"));
    let new =
        NewLedger { forks: ForkPolicy::Exclude, policy: Policy::Open, ..NewLedger::default() };
    let ledger = relaxed().create(&dir, &new).unwrap();
    put(&ledger, "k").unwrap();
    drop(ledger);
    copy_dir(&dir, &copy);
    fs::rename(&dir, &moved).unwrap();
    let ledger = relaxed().open(&moved).unwrap();
    assert!(!ledger.is_copied(), "a store that was moved");
    let copied = relaxed().open(&copy).unwrap();
    assert!(copied.is_copied() && copied.status().unwrap().copied);
    assert!(matches!(put(&copied, "k"), Err(WriteError::Copied)));
    // A copy gives no roles away: it would fork the author that it wants to leave.
    let rotation = copied.rotate_identity(None).unwrap();
    assert!(rotation.event.is_none());
    put(&copied, "copy").unwrap();
    drop(copied);
    let copied = relaxed().open(&copy).unwrap();
    assert!(!copied.is_copied());
    put(&ledger, "k").unwrap();
    merge(&ledger, &copied);
    let snapshot = ledger.snapshot().unwrap();
    assert!(snapshot.forks().unwrap().is_empty());
    assert_eq!(snapshot.get("copy").unwrap(), Some(Value::Bytes(b"value".to_vec())));
}

/// Events of the own key that come from elsewhere are adopted, as after restoring a backup.
#[test]
fn own_events_are_adopted() {
    let place = Place::new();
    let (dir, backup) = (place.path("store"), place.path("backup"));
    let ledger = relaxed().create(&dir, &NewLedger::default()).unwrap();
    put(&ledger, "before").unwrap();
    drop(ledger);
    copy_dir(&dir, &backup);
    let ledger = relaxed().open(&dir).unwrap();
    let last = (0..3).map(|_| put(&ledger, "after").unwrap()).last().unwrap();
    let restored = relaxed().open(&backup).unwrap();
    assert_eq!(merge(&restored, &ledger).adopted, 3);
    restored.keep_place().unwrap();
    let next = put(&restored, "next").unwrap();
    assert_eq!(next.seq.0, last.seq.0 + 1);
    let snapshot = restored.snapshot().unwrap();
    assert_eq!(snapshot.event(next.event).unwrap().prev, Some(last.event));
    assert!(snapshot.forks().unwrap().is_empty());
}
