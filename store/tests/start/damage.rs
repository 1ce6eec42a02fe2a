//! Files that are not as they were written.

use std::fs;
use std::io::{self, Read};

use quipu_merge::{EventId, ForkPolicy, Policy};
use quipu_store::{Ledger, OpenError, Snapshot, StartError, StartOptions};
use tempfile::TempDir;

use super::support::certified::{certify, options};
use super::support::dice::Dice;
use super::support::values::put;
use super::world::{OPTIONS, create, file_of, start, world, write};

/// A ledger of one author, whose file is short.
fn small(dir: &TempDir) -> Ledger {
    let ledger = create(&dir.path().join("small"), Policy::Members, ForkPolicy::Keep);
    let mut dice = Dice::new(5);
    for _ in 0..3 {
        write(&ledger, &mut dice);
    }
    certify(&ledger);
    ledger
}

fn refused(dir: &TempDir, file: &[u8]) -> OpenError {
    let place = dir.path().join("refused");
    let error = start(&place, file).map(drop).unwrap_err();
    assert!(!place.exists(), "something is left of the new store");
    error
}

fn assert_refused(dir: &TempDir, file: &[u8], what: &str) {
    let error = refused(dir, file);
    assert!(matches!(error, OpenError::Start(_)), "{what}: {error:?}");
}

/// A file that ends with the hash of what is in it.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - 32;
    file.truncate(end);
    let digest = blake3::hash(&file);
    file.extend_from_slice(digest.as_bytes());
    file
}

/// What values there are, by which events.
fn values(snapshot: &Snapshot<'_>) -> Vec<String> {
    let mut names = Vec::new();
    snapshot
        .keys("", |name, _| {
            names.push(name.to_owned());
            true
        })
        .unwrap();
    let read = |name: &String| {
        let (mut members, mut list) = (Vec::new(), Vec::new());
        snapshot
            .set(name, |member| {
                members.push(member.to_vec());
                true
            })
            .unwrap();
        snapshot
            .list(name, |element| {
                list.push((element.event, element.value));
                true
            })
            .unwrap();
        let writes = snapshot.register(name).unwrap().into_iter();
        let writes: Vec<_> = writes.map(|write| (write.event, write.time, write.value)).collect();
        let sum = snapshot.counter(name).unwrap();
        format!("{name} {writes:?} {sum:?} {members:?} {list:?}")
    };
    let mut all: Vec<_> = names.iter().map(read).collect();
    all.push(format!("{:?} {:?}", snapshot.roles().unwrap(), snapshot.heads().unwrap()));
    all.push(format!("{:?}", snapshot.certified_tip()));
    all
}

#[test]
fn whatever_changes_on_the_way_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (file, _) = file_of(&small(&dir));
    for len in (0..40).chain((40..file.len()).step_by(97)).chain(file.len() - 40..file.len()) {
        assert_refused(&dir, &file[..len], &format!("cut short to {len}"));
    }
    for more in [&b"\0"[..], &file] {
        assert_refused(&dir, &[&file, more].concat(), "there is more");
    }
    for at in (0..60).chain((60..file.len()).step_by(61)).chain(file.len() - 40..file.len()) {
        let mut flipped = file.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_refused(&dir, &flipped, &format!("byte {at} is flipped"));
    }
}

/// Whoever changes a file and its hash gets nothing believed that is not certified.
#[test]
fn what_is_certified_is_not_changed_by_who_writes_the_file() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 3, Policy::Members, ForkPolicy::Exclude);
    let (file, _) = file_of(&source);
    let of_source = values(&source.snapshot().unwrap().at_final().unwrap());
    let mut dice = Dice::new(11);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..160 {
        let at = usize::try_from(dice.below(file.len() as u64 - 32)).unwrap();
        let mut flipped = file.clone();
        flipped[at] ^= 1 << dice.below(8);
        let place = dir.path().join("flipped");
        match start(&place, &sealed(flipped)) {
            Err(error) => {
                assert!(matches!(error, OpenError::Start(_)), "byte {at}: {error:?}");
                assert!(!place.exists());
                refused += 1;
            }
            Ok((ledger, _)) => {
                assert_eq!(values(&ledger.snapshot().unwrap()), of_source, "byte {at}");
                drop(ledger);
                fs::remove_dir_all(place).unwrap();
                taken += 1;
            }
        }
        assert!(taken <= round / 4 + 8, "{taken} of {round}");
    }
    assert!(refused > 100, "{refused} refused, {taken} taken");
}

#[test]
fn another_file_and_another_ledger_are_refused() {
    let dir = TempDir::new().unwrap();
    let ledger = small(&dir);
    let (file, info) = file_of(&ledger);
    let not_one = |error: OpenError| match error {
        OpenError::Start(error) => matches!(*error, StartError::NotOne),
        _ => false,
    };
    assert!(not_one(refused(&dir, &[7; 100])));
    let mut newer = file.clone();
    newer[11] += 1;
    assert!(not_one(refused(&dir, &newer)));
    let place = dir.path().join("other");
    let other = StartOptions { ledger: Some(EventId([7; 32])), ..OPTIONS };
    let from = |place: &std::path::Path, start: &StartOptions| {
        options().start_from(place, &mut file.as_slice(), start, &mut |_, _| {})
    };
    let error = from(&place, &other).map(drop).unwrap_err();
    let OpenError::Start(error) = error else { panic!("{error:?}") };
    assert!(matches!(*error, StartError::OtherLedger { found, .. } if found == ledger.id()));
    assert!(!place.exists());
    let right = StartOptions { ledger: Some(ledger.id()), ..OPTIONS };
    assert_eq!(from(&place, &right).unwrap().1, info);
    assert!(matches!(from(&place, &right), Err(OpenError::Exists(_))));
}

/// Fails in the middle.
struct Broken<'f>(&'f [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::other("unplugged"));
        }
        let count = out.len().min(self.0.len()).min(100);
        let (now, rest) = self.0.split_at(count);
        out[..count].copy_from_slice(now);
        self.0 = rest;
        Ok(count)
    }
}

#[test]
fn a_source_that_fails_is_told_from_a_bad_file() {
    let dir = TempDir::new().unwrap();
    let ledger = small(&dir);
    let (file, info) = file_of(&ledger);
    let place = dir.path().join("new");
    let mut broken = Broken(&file[..1000]);
    let failed = options().start_from(&place, &mut broken, &OPTIONS, &mut |_, _| {});
    let Err(OpenError::Start(error)) = failed else {
        panic!("{failed:?}", failed = failed.is_ok())
    };
    assert!(matches!(*error, StartError::Input(_)), "{error:?}");
    assert!(!place.exists());
    // Small portions are as good as one, and progress is told.
    let mut told = 0;
    let mut portions = Portions(&file);
    let started = options().start_from(&place, &mut portions, &OPTIONS, &mut |done, _| told = done);
    assert_eq!(started.unwrap().1, info);
    assert!(told > 0 && told < info.len);
}

/// Gives little at a time.
struct Portions<'f>(&'f [u8]);

impl Read for Portions<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(self.0.len()).min(7);
        let (now, rest) = self.0.split_at(count);
        out[..count].copy_from_slice(now);
        self.0 = rest;
        Ok(count)
    }
}

#[test]
fn only_what_is_certified_and_whole_can_be_started_from() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("new"), Policy::Members, ForkPolicy::Keep);
    put(&ledger, "k", b"v");
    let nothing = ledger.write_start(&mut io::sink());
    assert!(matches!(nothing, Err(StartError::NothingCertified)));
    certify(&ledger);
    let (file, info) = file_of(&ledger);
    let (shallow, _) = start(&dir.path().join("shallow"), &file).unwrap();
    let again = shallow.write_start(&mut io::sink());
    assert!(matches!(again, Err(StartError::Shallow(height)) if height == info.height));
    let mut full = Full(1000);
    assert!(matches!(ledger.write_start(&mut full), Err(StartError::Output(_))));
}

/// Takes so many bytes.
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| io::Error::other("full"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_newcomer_starts_with_the_key_that_it_has() {
    let dir = TempDir::new().unwrap();
    let ledger = small(&dir);
    let (file, info) = file_of(&ledger);
    let place = dir.path().join("newcomer");
    let newcomer = options().newcomer(&place).unwrap();
    let author = newcomer.author();
    let mut bad = &file[..file.len() - 1];
    let failed = newcomer.start_from(&mut bad, &OPTIONS, &mut |_, _| {});
    assert!(matches!(failed, Err(OpenError::Start(_))));
    assert!(matches!(options().open(&place), Err(OpenError::NotFound(_))));
    let newcomer = options().newcomer(&place).unwrap();
    assert_eq!(newcomer.author(), author);
    let (new, found) = newcomer.start_from(&mut file.as_slice(), &OPTIONS, &mut |_, _| {}).unwrap();
    assert_eq!((new.author(), found), (author, info));
    assert_eq!(new.heads(9), ledger.heads(9));
}
