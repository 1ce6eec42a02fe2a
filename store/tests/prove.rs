//! Proofs of what a store has certified, and certified checkpoints in files, in other stores and
//! after a repair.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::fs::File;
use std::path::Path;

use quipu_merge::{
    Cut, CutExpression, EventId, Fact, Height, Key, KeyFacts, LeafKind, Policy, Proof, ProofError,
    ProofStart, ProvedKey, Proven, Role, Shown, Trust,
};
use quipu_store::{
    Divergence, KEPT_TREES, Ledger, MergeError, NewLedger, ProveError, ProveFrom, RepairOptions,
    RepairReport,
};
use support::certified::{author_of, certify, keys, options};
use support::raw;
use support::values::put;
use tempfile::TempDir;

/// A ledger that the first four keys certify.
fn create(dir: &Path) -> Ledger {
    let validators = Some(keys()[..4].iter().map(author_of).collect());
    options().create(dir, &NewLedger { validators, ..NewLedger::default() }).unwrap()
}

/// Reads a proof back from its file, and checks it.
fn check(proof: &Proof, trust: Trust) -> Result<Proven, ProofError> {
    let file = proof.encode().unwrap();
    assert_eq!(Proof::decode(&file).as_ref(), Ok(proof));
    Proof::decode(&file)?.check(trust)
}

fn facts(proof: &Proof, trust: Trust) -> (Height, KeyFacts) {
    let proven = check(proof, trust).unwrap();
    let Fact::Key(facts) = proven.fact else { unreachable!("the proof of a key") };
    (proven.at.height, facts)
}

fn key(name: &str) -> ProvedKey {
    ProvedKey::Key(Key::new(name).unwrap())
}

fn steps(proof: &Proof) -> Vec<u64> {
    proof.steps.iter().map(|step| step.checkpoint.height.0).collect()
}

/// Nine checkpoints; those of heights 3 and 6 name other validators. Gives an event of each.
fn history(ledger: &Ledger) -> Vec<EventId> {
    let others = keys()[4..].iter().map(author_of).collect::<Vec<_>>();
    let event = |height: u64| {
        match height {
            3 => drop(ledger.grant(others[0], Role::Validator).unwrap()),
            6 => drop(ledger.grant(others[1], Role::Validator).unwrap()),
            _ => {}
        }
        let event = put(ledger, "k", height.to_string().as_bytes());
        certify(ledger);
        event
    };
    (1..=9).map(event).collect()
}

#[test]
fn proofs_lead_through_every_change_of_validators() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("a"));
    let event = put(&ledger, "k", b"0");
    let snapshot = ledger.snapshot().unwrap();
    let early = snapshot.prove_event(event, ProveFrom::Genesis);
    assert!(matches!(early, Err(ProveError::NothingCertified)));
    let events = history(&ledger);
    let late = put(&ledger, "k", b"10");
    let snapshot = ledger.snapshot().unwrap();
    let genesis = Trust::Genesis(ledger.id());
    for &event in &events {
        let proof = snapshot.prove_event(event, ProveFrom::Genesis).unwrap();
        assert_eq!(steps(&proof), [3, 6, 9]);
        let proven = check(&proof, genesis).unwrap();
        let Fact::Event { event: shown, index, .. } = proven.fact else { unreachable!() };
        assert_eq!((shown, snapshot.log_index(event).unwrap()), (event, Some(index)));
    }
    let uncertified = snapshot.prove_event(late, ProveFrom::Genesis);
    assert!(matches!(uncertified, Err(ProveError::NotCertified(event)) if event == late));
    for (from, expected) in [(1, &[3, 6, 9][..]), (3, &[6, 9]), (5, &[6, 9]), (6, &[9]), (9, &[])] {
        let trusted = snapshot.checkpoint(Height(from)).unwrap().unwrap().id();
        let from = ProveFrom::Checkpoint(Height(from));
        let proof = snapshot.prove_event(events[0], from).unwrap();
        assert_eq!(steps(&proof), expected);
        check(&proof, Trust::Checkpoint(trusted)).unwrap();
        assert!(check(&proof, genesis).is_err());
    }
    for (older, newer, expected) in [(1, 2, &[1, 2][..]), (2, 7, &[2, 3, 6, 7]), (3, 9, &[3, 6, 9])]
    {
        let proof = snapshot.prove_extends(Height(older), Height(newer), ProveFrom::Genesis);
        let proof = proof.unwrap();
        assert_eq!(steps(&proof), expected);
        check(&proof, genesis).unwrap();
    }
    let back = snapshot.prove_extends(Height(2), Height(2), ProveFrom::Genesis);
    assert!(matches!(back, Err(ProveError::NotAfter { .. })));
    let back = snapshot.prove_extends(Height(1), Height(2), ProveFrom::Checkpoint(Height(2)));
    assert!(matches!(back, Err(ProveError::NotAfter { .. })));
    let unknown = snapshot.prove_extends(Height(1), Height(10), ProveFrom::Genesis);
    assert!(matches!(unknown, Err(ProveError::NoCheckpoint(Height(10)))));
}

#[test]
fn states_are_proved_however_old() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("a"));
    let heights = KEPT_TREES + 3;
    for height in 1..=heights {
        put(&ledger, "k", height.to_string().as_bytes());
        certify(&ledger);
    }
    let snapshot = ledger.snapshot().unwrap();
    let genesis = Trust::Genesis(ledger.id());
    for height in [1, 2, 3, 4, heights - 1, heights] {
        let prove =
            |name| snapshot.prove_key(key(name), Some(Height(height)), ProveFrom::Genesis).unwrap();
        let (at, facts_of) = facts(&prove("k"), genesis);
        assert_eq!((at, facts_of.present), (Height(height), vec![LeafKind::Register]));
        let value = Shown::Bytes(height.to_string().into_bytes());
        assert_eq!(facts_of.writes[0].value, value, "height {height}");
        assert!(facts(&prove("nothing"), genesis).1.present.is_empty());
    }
    let beyond = Some(Height(heights + 1));
    let beyond = snapshot.prove_key(key("k"), beyond, ProveFrom::Genesis);
    assert!(matches!(beyond, Err(ProveError::NoCheckpoint(_))));
}

#[test]
fn what_is_erased_is_not_shown() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("a"));
    let event = put(&ledger, "k", b"secret");
    certify(&ledger);
    let genesis = Trust::Genesis(ledger.id());
    let prove = || {
        let snapshot = ledger.snapshot().unwrap();
        snapshot.prove_key(key("k"), None, ProveFrom::Genesis).unwrap()
    };
    let value = |proof: &Proof| facts(proof, genesis).1.writes[0].value.clone();
    assert_eq!(value(&prove()), Shown::Bytes(b"secret".to_vec()));
    ledger.redact(event).unwrap();
    let proof = prove();
    assert_eq!(value(&proof), Shown::Nothing);
    assert!(!proof.encode().unwrap().windows(6).any(|bytes| bytes == b"secret"));
    assert!(matches!(proof.start, ProofStart::Genesis { .. }));
}

fn change(store: &Path, key: &[u8], value: Option<&[u8]>) {
    let db = raw(store);
    let family = db.cf_handle("final").unwrap();
    match value {
        Some(value) => db.put_cf(family, key, value).unwrap(),
        None => db.delete_cf(family, key).unwrap(),
    }
}

fn tagged(tag: u8, height: u64) -> Vec<u8> {
    [&[tag], height.to_be_bytes().as_slice()].concat()
}

#[test]
fn marks_of_new_validators_are_verified() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("a");
    history(&create(&store));
    for (height, value) in [(3, None), (4, Some(&[][..])), (99, Some(&[]))] {
        let undo = match value {
            None => Some(&[][..]),
            Some(_) => None,
        };
        change(&store, &tagged(b't', height), value);
        let report = options().open(&store).unwrap().verify(&mut |_, _| {}).unwrap();
        assert!(!report.is_sound(), "{height}");
        change(&store, &tagged(b't', height), undo);
    }
    let ledger = options().open(&store).unwrap();
    let report = ledger.verify(&mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
    for height in [1, 5, 9] {
        let report = ledger.verify_checkpoints(Height(height)).unwrap();
        let size = ledger.snapshot().unwrap().checkpoint(Height(height)).unwrap().unwrap();
        assert_eq!((report.findings.len(), report.events), (0, size.checkpoint.size));
    }
}

fn repair(store: &Path, from: &[&Path]) -> RepairReport {
    let from = from.iter().map(|path| path.to_path_buf()).collect();
    options().repair(store, &RepairOptions { from, force: true }, &mut |_, _| {}).unwrap()
}

#[test]
fn a_repair_keeps_what_is_certified() {
    let dir = TempDir::new().unwrap();
    let (store, twin) = (dir.path().join("a"), dir.path().join("b"));
    let ledger = create(&store);
    history(&ledger);
    drop(options().clone_ledger(&twin, &ledger, &Cut::Everything, &mut |_, _| {}).unwrap());
    let (last, dump) = {
        let snapshot = ledger.snapshot().unwrap();
        (snapshot.certified_tip(), format!("{:?}", snapshot.dump(&[]).unwrap()))
    };
    drop(ledger);
    let assert_whole = || {
        let ledger = options().open(&store).unwrap();
        let snapshot = ledger.snapshot().unwrap();
        assert_eq!(snapshot.certified_tip(), last);
        assert_eq!(format!("{:?}", snapshot.dump(&[]).unwrap()), dump);
    };
    let report = repair(&store, &[]);
    assert!(report.is_whole(), "{report:?}");
    assert_whole();
    // Of a chain with a gap, what comes before it is kept.
    change(&store, &[&tagged(b'k', 6)[..], b"c"].concat(), None);
    let report = repair(&store, &[]);
    assert_eq!((report.lost_checkpoints, report.is_whole()), (4, false));
    let report = repair(&store, &[&twin]);
    assert!(report.is_whole(), "{report:?}");
    assert_whole();
}

/// A replica of what a checkpoint of another store holds.
fn clone_at(ledger: &Ledger, height: u64, dir: &Path) -> Ledger {
    let snapshot = ledger.snapshot().unwrap();
    let certified = snapshot.checkpoint(Height(height)).unwrap().unwrap();
    let cut = Cut::Heads(certified.cut.heads().to_vec());
    let (clone, _) = options().clone_ledger(dir, ledger, &cut, &mut |_, _| {}).unwrap();
    assert_eq!(clone.certification().height, Some(Height(height)));
    clone
}

fn export(ledger: &Ledger, since: Option<&Cut>, file: &Path) -> File {
    let mut out = File::create(file).unwrap();
    ledger.export(&mut out, &Cut::Everything, since, &mut |_, _| {}).unwrap();
    File::open(file).unwrap()
}

#[test]
fn two_histories_are_told_of_when_they_meet() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let validators = Some(keys()[..4].iter().map(author_of).collect());
    let new = NewLedger { validators, policy: Policy::Open, ..NewLedger::default() };
    let one = options().create(path("one"), &new).unwrap();
    put(&one, "k", b"1");
    certify(&one);
    let two = clone_at(&one, 1, &path("two"));
    let three = clone_at(&one, 1, &path("three"));
    for (ledger, heights) in [(&one, 3), (&two, 2)] {
        for height in 2..=heights {
            put(ledger, "k", &[height]);
            certify(ledger);
        }
    }
    let id = |ledger: &Ledger, height| {
        ledger.snapshot().unwrap().checkpoint(Height(height)).unwrap().unwrap().id()
    };
    let (kept, other) = (id(&one, 2), id(&two, 2));
    let file = export(&two, None, &path("two.car"));
    let report = one.merge(&two, &mut |_, _| {}).unwrap();
    assert_eq!((report.new_events, report.new_checkpoints, report.diverged), (1, 0, true));
    let told = |ledger: &Ledger| {
        let diverged = ledger.certification().diverged;
        assert_eq!(diverged.len(), 1);
        let Divergence::Certificates { kept, other } = diverged[0].clone() else {
            unreachable!("two certificates")
        };
        (kept, other.id())
    };
    assert_eq!(told(&one), (kept, other));
    // Again, it brings nothing new, and it is said again.
    assert!(one.import(file, &mut |_, _| {}).unwrap().diverged);
    assert_eq!(told(&one), (kept, other));
    let file = export(&two, None, &path("two.car"));
    three.merge(&one, &mut |_, _| {}).unwrap();
    assert_eq!(three.certification().height, Some(Height(3)));
    assert!(three.import(file, &mut |_, _| {}).unwrap().diverged);
    assert_eq!(told(&three), (kept, other));
}

#[test]
fn checkpoints_after_a_gap_are_passed_over() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let ledger = create(&path("a"));
    history(&ledger);
    let snapshot = ledger.snapshot().unwrap();
    let since = snapshot.find_cut(&CutExpression::Checkpoint(5)).unwrap();
    drop(snapshot);
    let news = export(&ledger, Some(&since), &path("news.car"));
    let next = clone_at(&ledger, 5, &path("next"));
    let preview = next.import_preview(news.try_clone().unwrap()).unwrap();
    assert_eq!(preview.new_checkpoints, 4);
    let report = next.import(news.try_clone().unwrap(), &mut |_, _| {}).unwrap();
    assert_eq!((report.new_checkpoints, report.pending_checkpoints), (4, 0));
    let behind = clone_at(&ledger, 3, &path("behind"));
    let report = behind.import(news.try_clone().unwrap(), &mut |_, _| {}).unwrap();
    assert_eq!((report.new_checkpoints, report.pending_checkpoints), (0, 0));
    assert!(!report.waiting.is_empty() && !report.diverged);
    let other = create(&path("other"));
    let refused = other.import(news, &mut |_, _| {});
    assert!(matches!(refused, Err(MergeError::OtherLedger { .. })), "{refused:?}");
}
