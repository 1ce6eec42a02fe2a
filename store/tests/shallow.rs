//! A store that starts from a checkpoint, beside one that has everything: from there on they are the same,
//! and what lies before, the one says that it does not have.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use quipu_merge::{
    Cut, CutExpression, EventId, ForkPolicy, Height, Key, LeafKind, ProvedKey, Role,
};
use quipu_store::{
    Below, Derivation, ExportError, GcOptions, Ledger, LogFilter, MergeError, MergeOptions,
    MissingValue, NewLedger, OpenError, Outcome, ProveError, ProveFrom, PruneOptions, ReadError,
    RepairError, RepairOptions, StartOptions, StorageError, Value, WaitingReason,
};
use support::certified::{author, certify, options};
use support::{assert_sound, copy, merge, raw, records, some};
use tempfile::TempDir;

const NOW: GcOptions = GcOptions { dry_run: false, grace: std::time::Duration::ZERO };

/// Starts from the last checkpoint of a ledger.
fn start(ledger: &Ledger, dir: &Path) -> Ledger {
    let mut file = Vec::new();
    ledger.write_start(&mut file).unwrap();
    let start = StartOptions { below: Below::Never, ledger: Some(ledger.id()) };
    let started = options().start_from(dir, &mut file.as_slice(), &start, &mut |_, _| {});
    let ledger = started.unwrap().0;
    assert!(ledger.shallow().is_some());
    ledger
}

fn create(dir: &Path, forks: ForkPolicy) -> Ledger {
    let new = NewLedger { validators: Some(vec![author()]), forks, ..NewLedger::default() };
    options().create(dir, &new).unwrap()
}

fn clone_of(ledger: &Ledger, dir: &Path) -> Ledger {
    options().clone_ledger(dir, ledger, &Cut::Everything, &mut |_, _| {}).unwrap().0
}

/// Every key as it is read, one by one.
fn read(ledger: &Ledger, cut: &Cut) -> Result<String, ReadError> {
    let snapshot = ledger.at(cut)?;
    let mut text = String::new();
    let mut keys = Vec::new();
    snapshot.keys("", |name, kinds| {
        keys.push((name.to_owned(), kinds.to_vec()));
        true
    })?;
    for (name, kinds) in keys {
        let mut members = Vec::new();
        snapshot.set(&name, |member| {
            members.push(member.to_vec());
            true
        })?;
        let adds: Vec<_> =
            members.iter().map(|member| snapshot.member_adds(&name, member).unwrap()).collect();
        let mut values = Vec::new();
        snapshot.list(&name, |element| {
            values.push(element);
            true
        })?;
        // From the middle on, as pages are read.
        if let Some(at) = values.get(values.len() / 2) {
            let mut rest = Vec::new();
            snapshot.list_after(&name, Some((at.event, at.slot)), |element| {
                rest.push(element);
                true
            })?;
            assert_eq!(rest, values[values.len() / 2 + 1..]);
        }
        let (writes, sum) = (snapshot.register(&name)?, snapshot.counter(&name)?);
        text += &format!("{name} {kinds:?} {writes:?} {sum:?} {members:?} {adds:?} {values:?}\n");
    }
    let (roles, heads) = (snapshot.roles()?, snapshot.heads()?);
    let (version, len, forks) = (snapshot.version()?, snapshot.len()?, snapshot.forks()?);
    text += &format!("{:?} {roles:?} {heads:?} ", snapshot.conflicts("")?);
    text += &format!("{version:?} {len} {forks:?} {:?}", snapshot.certified_within()?);
    Ok(text)
}

/// The events of the log, the latest first, and whether it says that there are others before.
fn log(ledger: &Ledger, ascending: bool) -> (Vec<(EventId, bool, Option<Height>)>, bool) {
    let snapshot = ledger.snapshot().unwrap();
    let filter = LogFilter { ascending, ..LogFilter::default() };
    let (mut events, mut pruned) = (Vec::new(), false);
    for event in snapshot.log(filter).unwrap() {
        match event {
            Ok(event) => events.push((event.id, event.void, event.certified)),
            Err(ReadError::Pruned(_)) => pruned = true,
            Err(other) => panic!("{other}"),
        }
    }
    (events, pruned)
}

/// Gives `to` what `from` has and it lacks, as peers do.
fn pull(to: &Ledger, from: &Ledger) {
    let wants = to.plan(&from.frontier().unwrap()).unwrap();
    let mut feed = from.feed(&wants).unwrap();
    loop {
        let portion = feed.read(from, 2_000).unwrap();
        // Without its body nobody can admit an event: it is not sent.
        let events = portion.events.into_iter().filter(|event| event.body.is_some()).collect();
        let report = to.admit(events).unwrap();
        let refused: Vec<_> = report.outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
        assert!(refused.is_empty(), "{refused:?}");
        if portion.last {
            return;
        }
    }
}

/// Reproducible choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Writes some operations on a few keys.
fn write(ledger: &Ledger, dice: &mut Dice) -> Option<EventId> {
    let mut transaction = ledger.transaction();
    for _ in 0..=dice.below(3) {
        let name = format!("k{}", dice.below(5));
        let member = [u8::try_from(dice.below(3)).unwrap()];
        match dice.below(13) {
            0..4 => transaction.put(&name, &dice.0.to_be_bytes()).map(drop),
            4 => transaction.put(&name, &[7; 1000]).map(drop),
            5 => transaction.put(&name, &dice.0.to_be_bytes().repeat(2_000)).map(drop),
            6 => transaction.del(&name).map(drop),
            7..9 => transaction.add(&name, &member).map(drop),
            9 => transaction.rem(&name, &member).map(drop),
            10 => transaction.inc(&name, 3).map(drop),
            _ => transaction.append(&name, &dice.0.to_be_bytes()).map(drop),
        }
        .unwrap();
    }
    // Whoever was revoked writes nothing.
    transaction.commit().ok().map(|committed| committed.event)
}

/// A ledger that several have written, with forks, revokes and redacts, certified at every turn.
fn history(dir: &Path, dice: &mut Dice, forks: ForkPolicy) -> (Ledger, Ledger) {
    let first = create(&dir.join("first"), forks);
    let second = clone_of(&first, &dir.join("second"));
    let third = clone_of(&first, &dir.join("third"));
    first.grant(second.author(), Role::Admin).unwrap();
    first.grant(third.author(), Role::Writer).unwrap();
    merge(&second, &first);
    merge(&third, &first);
    let mut events = Vec::new();
    for round in 0..4 {
        for ledger in [&first, &second, &third] {
            for _ in 0..=dice.below(6) {
                events.extend(write(ledger, dice).map(|event| (event, ledger.author())));
            }
        }
        if round == 1 {
            // A copy with the same key, which forks its author.
            drop(options());
            copy(third.dir(), &dir.join("copy"));
        }
        merge(&second, &third);
        if round == 2 {
            let (target, _) = events[usize::try_from(dice.below(events.len() as u64)).unwrap()];
            let _ = second.redact(target);
            let copied = options().open(dir.join("copy")).unwrap();
            copied.keep_place().unwrap();
            write(&copied, dice);
            write(&copied, dice);
            merge(&first, &copied);
        }
        merge(&first, &second);
        if round == 2 && dice.below(2) == 0 {
            first.revoke(third.author()).unwrap();
        }
        certify(&first);
        merge(&second, &first);
        if dice.below(2) == 0 {
            merge(&third, &first);
        }
    }
    merge(&second, &first);
    assert_sound(&first);
    (first, second)
}

fn derived(ledger: &Ledger) -> Derivation {
    ledger.derive(&ledger.snapshot().unwrap().heads().unwrap()).unwrap()
}

fn assert_same(shallow: &Ledger, whole: &Ledger) {
    let waiting = shallow.waiting();
    assert!(waiting.is_empty(), "{waiting:?}");
    let everything = Cut::Everything;
    assert_eq!(read(shallow, &everything).unwrap(), read(whole, &everything).unwrap());
    assert_eq!(shallow.frontier().unwrap(), whole.frontier().unwrap());
    match shallow.snapshot().unwrap().dump(&[]) {
        Ok(dump) => assert_eq!(dump, whole.snapshot().unwrap().dump(&[]).unwrap()),
        // What is void below is not known, where something may be.
        Err(ReadError::Pruned(_)) => {
            let status = whole.status().unwrap();
            let roles = whole.snapshot().unwrap().roles().unwrap();
            let revoked = roles.values().any(|roles| roles.contains(&"revoked"));
            assert!(status.void > 0 || revoked || !status.forks.is_empty());
        }
        Err(other) => panic!("{other}"),
    }
    for ascending in [false, true] {
        let ((ours, pruned), (mut theirs, _)) = (log(shallow, ascending), log(whole, ascending));
        assert!(pruned);
        let below = theirs.len() - ours.len();
        if ascending {
            theirs.drain(..below);
        } else {
            theirs.truncate(ours.len());
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn from_the_checkpoint_on_they_are_the_same() {
    for seed in 1..=8_u64 {
        let dir = TempDir::new().unwrap();
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let forks = if seed % 2 == 0 { ForkPolicy::Exclude } else { ForkPolicy::Keep };
        let (whole, other) = history(dir.path(), &mut dice, forks);
        let shallow = start(&whole, &dir.path().join("shallow"));
        assert_sound(&shallow);
        assert_same(&shallow, &whole);
        let height = shallow.certification().height.unwrap();
        whole.grant(shallow.author(), Role::Writer).unwrap();
        for round in 0..4 {
            for ledger in [&whole, &other, &shallow] {
                for _ in 0..=dice.below(4) {
                    write(ledger, &mut dice);
                }
            }
            if round % 2 == 0 {
                merge(&shallow, &whole);
                merge(&shallow, &other);
                merge(&whole, &shallow);
                merge(&other, &shallow);
                merge(&other, &whole);
            } else {
                pull(&shallow, &whole);
                pull(&shallow, &other);
                pull(&whole, &shallow);
                pull(&other, &shallow);
                pull(&other, &whole);
            }
            assert_same(&shallow, &whole);
            assert_eq!(derived(&shallow).id, derived(&whole).id);
            let certified = certify(&whole);
            shallow.accept(certified.clone()).unwrap();
            other.accept(certified).unwrap();
            assert_same(&shallow, &whole);
            assert_sound(&shallow);
        }
        let last = shallow.certification().height.unwrap();
        assert_eq!(last.0, height.0 + 4);
        for height in height.0..=last.0 {
            let cut = checkpoint(&whole, height);
            assert_eq!(read(&shallow, &cut).unwrap(), read(&whole, &cut).unwrap());
        }
        drop(shallow);
        let shallow = options().open(dir.path().join("shallow")).unwrap();
        assert_same(&shallow, &whole);
    }
}

fn checkpoint(ledger: &Ledger, height: u64) -> Cut {
    let checkpoint = ledger.snapshot().unwrap().checkpoint(Height(height)).unwrap().unwrap();
    Cut::Heads(checkpoint.cut.heads().to_vec())
}

/// A ledger with three checkpoints and an event after the last, and a store that starts from that.
struct Pair {
    _dir: TempDir,
    whole: Ledger,
    shallow: Ledger,
    /// The last event of each cut.
    events: Vec<EventId>,
    /// An event in the middle of the first cut.
    below: EventId,
    last: EventId,
}

fn put(ledger: &Ledger, name: &str, value: &[u8]) -> EventId {
    let mut transaction = ledger.transaction();
    transaction.put(name, value).unwrap();
    transaction.commit().unwrap().event
}

fn pair() -> Pair {
    let dir = TempDir::new().unwrap();
    let whole = create(&dir.path().join("whole"), ForkPolicy::Keep);
    let (mut events, mut below) = (Vec::new(), Vec::new());
    for height in 1..=3_u8 {
        below.push(put(&whole, "a", &[height]));
        let mut transaction = whole.transaction();
        transaction.inc("n", 1).unwrap().append("l", &[height]).unwrap();
        transaction.put("b", &[height]).unwrap().add("s", &[height]).unwrap();
        events.push(transaction.commit().unwrap().event);
        certify(&whole);
    }
    let shallow = start(&whole, &dir.path().join("shallow"));
    let last = put(&whole, "a", b"later");
    merge(&shallow, &whole);
    Pair { whole, shallow, events, below: below[0], last, _dir: dir }
}

#[track_caller]
fn assert_pruned<T>(answer: Result<T, impl Into<ReadError>>) {
    match answer.map_err(Into::into) {
        Err(ReadError::Pruned(Height(3))) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is answered"),
    }
}

fn of_proof(error: ProveError) -> ReadError {
    match error {
        ProveError::Read(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn what_lies_below_is_said_not_to_be_here() {
    let Pair { whole, shallow, events, below, last, _dir } = pair();
    let time = |event| whole.snapshot().unwrap().event(event).unwrap().time;
    let snapshot = shallow.snapshot().unwrap();
    for cut in [
        Cut::Heads(vec![shallow.id()]),
        Cut::Heads(Vec::new()),
        Cut::Time(time(events[1])),
        Cut::Clock(BTreeMap::from([(whole.author(), 6)])),
        Cut::Clock(BTreeMap::new()),
    ] {
        assert_pruned(shallow.at(&cut).map(drop));
    }
    for cut in [
        Cut::Heads(vec![events[2]]),
        Cut::Time(time(events[2])),
        Cut::Clock(BTreeMap::from([(whole.author(), 7)])),
    ] {
        assert_eq!(read(&shallow, &cut).unwrap(), read(&whole, &cut).unwrap());
        let dump = |ledger: &Ledger| ledger.at(&cut).unwrap().dump(&[]).unwrap();
        assert_eq!(dump(&shallow), dump(&whole));
    }
    assert!(matches!(shallow.at(&Cut::Heads(vec![below])), Err(ReadError::NoSuchEvent(_))));
    for height in 1..=2 {
        assert_pruned(snapshot.checkpoint(Height(height)));
        assert_pruned(snapshot.find_cut(&CutExpression::Checkpoint(height)));
        assert_pruned(shallow.verify_checkpoints(Height(height)));
        assert_eq!(snapshot.validators_of(Height(height)).unwrap().unwrap(), [author()]);
    }
    let mut heights = Vec::new();
    let visit = |checkpoint: &quipu_merge::Checkpoint| {
        heights.push(checkpoint.height.0);
        true
    };
    assert_eq!(snapshot.first_checkpoint(), Height(3));
    snapshot.checkpoints(Height(3), visit).unwrap();
    assert_eq!(heights, [3]);
    assert_pruned(snapshot.checkpoints(Height(2), |_| true));
    assert!(shallow.verify_checkpoints(Height(3)).unwrap().is_sound());
    assert_pruned(snapshot.log_index(events[2]));
    assert_pruned(snapshot.log_entry(0));
    assert_pruned(snapshot.register_history("a"));
    assert_pruned(snapshot.clock(events[2]));
    assert_pruned(
        snapshot
            .precedes(events[2], events[2])
            .map(|_| ())
            .and(snapshot.precedes(shallow.id(), events[2])),
    );
    assert!(snapshot.precedes(events[2], last).unwrap());
    assert!(!snapshot.precedes(last, events[2]).unwrap());
    assert_eq!(snapshot.clock(last).unwrap(), whole.snapshot().unwrap().clock(last).unwrap());
    let filter = LogFilter { after: Some(events[2]), ..LogFilter::default() };
    assert_pruned(snapshot.log(filter).map(drop));
}

#[test]
fn what_lies_below_is_neither_proved_nor_exported() {
    let Pair { whole, shallow, events, _dir, .. } = pair();
    let snapshot = shallow.snapshot().unwrap();
    let genesis = ProveFrom::Genesis;
    assert_pruned(snapshot.prove_event(events[2], genesis).map_err(of_proof));
    assert_pruned(snapshot.prove_extends(Height(1), Height(3), genesis).map_err(of_proof));
    let key = || ProvedKey::Key(Key::new("a").unwrap());
    let prove = |height| {
        let proof = snapshot.prove_key(key(), &[LeafKind::Register], Some(Height(height)), genesis);
        proof.map_err(of_proof)
    };
    assert_pruned(prove(2));
    assert!(prove(3).is_ok());
    let export = |since: Option<&Cut>| {
        shallow.export(std::io::sink(), &Cut::Everything, since, &mut |_, _| {})
    };
    let exported = export(None).map_err(|error| match error {
        ExportError::Read(error) => error,
        other => panic!("{other}"),
    });
    assert_pruned(exported);
    assert_eq!(export(Some(&checkpoint(&whole, 3))).unwrap().events, 1);
}

#[test]
fn what_is_certified_later_is_proved_as_anywhere() {
    let Pair { whole, shallow, last, _dir, .. } = pair();
    certify(&whole);
    put(&whole, "b", b"even later");
    certify(&whole);
    merge(&shallow, &whole);
    let prove = |ledger: &Ledger| {
        let snapshot = ledger.snapshot().unwrap();
        let (genesis, kinds) = (ProveFrom::Genesis, [LeafKind::Register, LeafKind::List]);
        let key = |name| ProvedKey::Key(Key::new(name).unwrap());
        let mut proofs = vec![
            snapshot.prove_event(last, genesis).unwrap().encode(),
            snapshot.prove_extends(Height(3), Height(5), genesis).unwrap().encode(),
        ];
        for height in 3..=5 {
            for name in ["a", "b", "l"] {
                let proof = snapshot.prove_key(key(name), &kinds, Some(Height(height)), genesis);
                proofs.push(proof.unwrap().encode());
            }
        }
        proofs
    };
    assert_eq!(prove(&shallow), prove(&whole));
    assert_sound(&shallow);
}

fn kinds(report: &quipu_store::MergeReport) -> Vec<WaitingReason> {
    report.waiting.iter().map(|waiting| waiting.reason.clone()).collect()
}

/// Who wrote without knowing all of the cut is not forgotten, is not asked for again and again, and does
/// not stand in the way.
#[test]
fn what_does_not_follow_the_cut_waits_for_what_lies_below() {
    let dir = TempDir::new().unwrap();
    let whole = create(&dir.path().join("whole"), ForkPolicy::Keep);
    let aside = clone_of(&whole, &dir.path().join("aside"));
    whole.grant(aside.author(), Role::Writer).unwrap();
    put(&whole, "a", b"1");
    merge(&aside, &whole);
    put(&aside, "b", b"known");
    merge(&whole, &aside);
    put(&whole, "a", b"2");
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    // It follows its author's last event in the cut, and no head.
    let first = put(&aside, "b", b"not knowing");
    let second = put(&aside, "b", b"nor this");
    for _ in 0..2 {
        let report = shallow.merge(&aside, &mut |_, _| {});
        assert!(matches!(report, Err(MergeError::Behind { height: Height(1), .. })), "{report:?}");
    }
    for _ in 0..2 {
        pull(&shallow, &aside);
        let waiting = shallow.waiting();
        let reason = |id| waiting.iter().find(|info| info.event == id).unwrap().reason.clone();
        assert_eq!(reason(first), WaitingReason::History);
        assert_eq!(reason(second), WaitingReason::Missing(vec![first]));
        assert_eq!(shallow.plan(&aside.frontier().unwrap()).unwrap(), []);
    }
    drop(shallow);
    let shallow = options().open(dir.path().join("shallow")).unwrap();
    assert_eq!(shallow.waiting().len(), 2);
    assert_eq!(shallow.plan(&aside.frontier().unwrap()).unwrap(), []);
    // What follows both sides waits for it, and what does not is taken in.
    put(&whole, "a", b"3");
    merge(&shallow, &whole);
    assert_eq!(shallow.waiting().len(), 2);
    merge(&whole, &aside);
    let tie = put(&whole, "a", b"4");
    let report = shallow.merge(&whole, &mut |_, _| {}).unwrap();
    assert_eq!(report.new_events, 0);
    assert!(kinds(&report).contains(&WaitingReason::Missing(vec![second])), "{report:?}");
    assert_eq!(shallow.plan(&whole.frontier().unwrap()).unwrap(), []);
    assert!(!shallow.snapshot().unwrap().contains(tie).unwrap());
    assert_sound(&shallow);
}

/// An event that names something in the cut that is not here.
#[test]
fn what_follows_an_event_below_waits_too() {
    let dir = TempDir::new().unwrap();
    let whole = create(&dir.path().join("whole"), ForkPolicy::Keep);
    let aside = clone_of(&whole, &dir.path().join("aside"));
    whole.grant(aside.author(), Role::Writer).unwrap();
    put(&whole, "a", b"1");
    merge(&aside, &whole);
    put(&aside, "b", b"known");
    merge(&whole, &aside);
    let hidden = put(&whole, "a", b"2");
    merge(&aside, &whole);
    put(&whole, "a", b"3");
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    assert!(!shallow.snapshot().unwrap().contains(hidden).unwrap());
    let event = put(&aside, "b", b"after 2");
    pull(&shallow, &aside);
    let reasons: Vec<_> = shallow.waiting().into_iter().map(|info| info.reason).collect();
    assert_eq!(reasons, [WaitingReason::Missing(vec![hidden])]);
    // When what it follows is offered, that is found to lie below.
    let events = aside.events(&[hidden], usize::MAX).unwrap();
    assert_eq!(shallow.admit(events).unwrap().outcomes, [Ok(Outcome::Known)]);
    let reasons: Vec<_> = shallow.waiting().into_iter().map(|info| info.reason).collect();
    assert_eq!(reasons, [WaitingReason::History]);
    assert_eq!(shallow.plan(&aside.frontier().unwrap()).unwrap(), []);
    assert!(!shallow.snapshot().unwrap().contains(event).unwrap());
    // A redact of what is not here waits as well.
    let redact = whole.redact(hidden).unwrap().event;
    let report = shallow.merge(&whole, &mut |_, _| {}).unwrap();
    let waits = report.waiting.iter().find(|info| info.event == redact).unwrap();
    assert_eq!(waits.reason, WaitingReason::History);
    assert_sound(&shallow);
}

#[test]
fn between_stores_that_start_somewhere_goes_what_comes_later() {
    let Pair { whole, shallow, last, _dir, .. } = pair();
    let dir = _dir.path();
    // A replica that was left behind has nothing to start on here.
    let file = dir.join("old.car");
    let output = std::fs::File::create(&file).unwrap();
    whole.export(output, &checkpoint(&whole, 2), None, &mut |_, _| {}).unwrap();
    let behind = std::fs::File::open(&file).unwrap();
    let behind = options().clone_file(dir.join("behind"), behind, &mut |_, _| {}).unwrap().0;
    let report = behind.merge(&shallow, &mut |_, _| {});
    let pruned = |error: &MergeError| match error {
        MergeError::Source(why) => matches!(**why, ReadError::Pruned(Height(3))),
        _ => false,
    };
    assert!(report.as_ref().is_err_and(pruned), "{report:?}");
    assert!(behind.merge_preview(&shallow).is_err_and(|error| pruned(&error)));
    let cloned = options().clone_ledger(dir.join("c"), &shallow, &Cut::Everything, &mut |_, _| {});
    assert!(matches!(cloned, Err(OpenError::Merge(error)) if pruned(&error)));
    let report = shallow.merge(&behind, &mut |_, _| {});
    assert!(matches!(report, Err(MergeError::Behind { height: Height(3), .. })), "{report:?}");
    // One that starts later takes from it, and gives to it.
    let fourth = certify(&whole);
    shallow.accept(fourth).unwrap();
    let later = start(&whole, &dir.join("later"));
    let event = put(&whole, "c", b"5");
    merge(&later, &whole);
    merge(&shallow, &later);
    assert!(shallow.snapshot().unwrap().contains(event).unwrap());
    let event = put(&whole, "c", b"6");
    merge(&shallow, &whole);
    merge(&later, &shallow);
    assert!(later.snapshot().unwrap().contains(event).unwrap());
    assert_eq!(read(&shallow, &Cut::Everything).unwrap(), read(&later, &Cut::Everything).unwrap());
    // Whoever has all that it starts with takes from it.
    merge(&behind, &whole);
    let event = put(&whole, "c", b"7");
    certify(&whole);
    merge(&shallow, &whole);
    merge(&behind, &shallow);
    assert!(behind.snapshot().unwrap().contains(event).unwrap());
    assert_eq!(behind.certification().height, Some(Height(5)));
    assert!(later.snapshot().unwrap().contains(last).unwrap());
    [&shallow, &later, &behind].into_iter().for_each(|ledger| drop(assert_sound(ledger)));
}

#[test]
fn a_file_of_everything_is_taken_in_from_the_checkpoint_on() {
    let Pair { whole, shallow, _dir, .. } = pair();
    for number in 0..4 {
        put(&whole, "a", &[number]);
        if number % 2 == 0 {
            certify(&whole);
        }
    }
    let path = _dir.path().join("all.car");
    let output = std::fs::File::create(&path).unwrap();
    let written = whole.export(output, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    let file = || std::fs::File::open(&path).unwrap();
    let preview = shallow.import_preview(file()).unwrap();
    assert_eq!((preview.new_events, preview.new_checkpoints), (4, 2));
    let report = shallow.import(file(), &mut |_, _| {}).unwrap();
    assert_eq!((report.new_events, report.new_checkpoints), (4, 2));
    assert_eq!(report.known_events, written.events - 4);
    assert_same(&shallow, &whole);
    assert_sound(&shallow);
    let refill = MergeOptions { refill: true };
    let refused = shallow.import_with(file(), refill, &mut |_, _| {});
    assert!(matches!(refused, Err(MergeError::Shallow(Height(3)))), "{refused:?}");
    let refused = shallow.merge_with(&whole, refill, &mut |_, _| {});
    assert!(matches!(refused, Err(MergeError::Shallow(Height(3)))), "{refused:?}");
}

#[test]
fn pruning_keeps_what_it_starts_with() {
    let Pair { whole, shallow, _dir, .. } = pair();
    for number in 0..4 {
        put(&whole, "a", &[number]);
        certify(&whole);
    }
    merge(&shallow, &whole);
    let cut = checkpoint(&whole, 6);
    let report = shallow.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap();
    assert!(report.bodies > 0 && report.values > 0, "{report:?}");
    shallow.gc(NOW, &mut |_, _| {}).unwrap();
    assert_eq!(read(&shallow, &Cut::Everything).unwrap(), read(&whole, &Cut::Everything).unwrap());
    assert_sound(&shallow);
    let below = shallow.at(&checkpoint(&whole, 4)).unwrap().get("a");
    assert!(matches!(below, Err(ReadError::Pruned(Height(6)))), "{below:?}");
    put(&whole, "a", b"last");
    certify(&whole);
    merge(&shallow, &whole);
    assert_same(&shallow, &whole);
}

/// Values that the start did not bring, and some that are erased later.
#[test]
fn values_come_and_go() {
    let dir = TempDir::new().unwrap();
    let whole = create(&dir.path().join("whole"), ForkPolicy::Keep);
    let long = support::values::noise(1, 100_000);
    let first = put(&whole, "long", &long);
    let second = put(&whole, "short", b"short");
    let mut transaction = whole.transaction();
    transaction.append("list", b"entry").unwrap();
    let third = transaction.commit().unwrap().event;
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    let missing = shallow.missing_values(None, 9).unwrap();
    let named = |value: &MissingValue| (value.event, value.key.clone());
    let long_key = Key::new("long").unwrap();
    assert_eq!(missing.iter().map(named).collect::<Vec<_>>(), [(first, Some(long_key))]);
    assert_eq!(shallow.status().unwrap().missing_values, 1);
    assert_sound(&shallow);
    merge(&shallow, &whole);
    assert_eq!(support::values::get(&shallow, "long"), long);
    assert_eq!(shallow.status().unwrap().missing_values, 0);
    assert_sound(&shallow);
    for event in [first, second, third] {
        whole.redact(event).unwrap();
    }
    merge(&shallow, &whole);
    assert_eq!(shallow.get("long").unwrap(), Some(Value::Erased));
    assert_eq!(shallow.get("short").unwrap(), Some(Value::Erased));
    assert_same(&shallow, &whole);
    assert_sound(&shallow);
    shallow.gc(NOW, &mut |_, _| {}).unwrap();
    assert_sound(&shallow);
}

/// A store that starts from a checkpoint, closed, with events and a checkpoint after that.
fn closed() -> (TempDir, std::path::PathBuf) {
    let dir = TempDir::new().unwrap();
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let (whole, _) = history(dir.path(), &mut dice, ForkPolicy::Keep);
    let path = dir.path().join("shallow");
    let shallow = start(&whole, &path);
    put(&whole, "k0", b"later");
    certify(&whole);
    merge(&shallow, &whole);
    assert_sound(&shallow);
    drop(shallow);
    (dir, path)
}

/// Whether a store cannot be opened, or something is found that is wrong with it.
fn is_found(path: &Path) -> bool {
    match options().open(path) {
        Ok(ledger) => !support::verify(&ledger).is_sound(),
        Err(error) => matches!(error, OpenError::Storage(StorageError::Damaged { .. })),
    }
}

/// What a shallow store starts with is checked record by record: one that is gone, and one that is
/// another, are found. Only which earlier cut first held an event, the events below alone can tell.
#[test]
fn a_change_of_what_it_starts_with_is_found() {
    let (dir, path) = closed();
    let copy_to = |name: String| {
        let to = dir.path().join(name);
        copy(&path, &to);
        to
    };
    let mut tried = 0;
    let families = [
        ("state", ""),
        ("versions", ""),
        ("events", ""),
        ("ids", ""),
        ("order", ""),
        ("openings", ""),
        ("final", "s"),
        ("final", "e"),
        ("final", "f"),
        ("final", "k"),
        ("final", "m"),
        ("meta", "C"),
        ("meta", "L"),
        ("meta", "shallow"),
    ];
    for (family, prefix) in families {
        let found = records(&raw(&path), family, prefix.as_bytes());
        assert!(!found.is_empty(), "{family} {prefix}");
        for (at, (key, value)) in some(found, 2).into_iter().enumerate() {
            for change in ["gone", "other"] {
                if change == "other" && value.is_empty() {
                    continue;
                }
                let to = copy_to(format!("{family}-{prefix}-{at}-{change}"));
                {
                    let db = raw(&to);
                    let handle = db.cf_handle(family).unwrap();
                    let mut other = value.clone();
                    if let Some(last) = other.last_mut() {
                        *last ^= 1;
                    }
                    match change {
                        "gone" => db.delete_cf(handle, &key).unwrap(),
                        _ => db.put_cf(handle, &key, other).unwrap(),
                    }
                }
                assert!(is_found(&to), "{family} {prefix}: {key:02x?} {change}");
                std::fs::remove_dir_all(&to).unwrap();
                tried += 1;
            }
        }
    }
    assert!(tried > 35, "{tried}");
}

#[test]
fn a_store_that_starts_somewhere_is_not_repaired() {
    let (_dir, path) = closed();
    let forced = RepairOptions { force: true, ..RepairOptions::default() };
    let refused = options().repair(&path, &forced, &mut |_, _| {});
    assert!(matches!(refused, Err(RepairError::Shallow(Height(4)))), "{refused:?}");
    // It is as it was.
    let ledger = options().open(&path).unwrap();
    assert_eq!(ledger.shallow().unwrap().height, Height(4));
    assert_sound(&ledger);
    let status = ledger.status().unwrap();
    assert_eq!(status.shallow.as_ref(), ledger.shallow());
}
