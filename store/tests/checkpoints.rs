//! Certified checkpoints of a store that one test alone certifies.

#![expect(clippy::unwrap_used, reason = "a test that panics has done its work")]

mod support;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quipu_merge::{
    Body, BodyId, CarWriter, Certificate, Checkpoint, Cut, CutBlock, CutExpression, Event, EventId,
    Height, History, Key, LeafKind, LogTree, Micros, Operation, Seq, Shown, SignedEvent,
    ValidatorsBlock, event_leaf_hash,
};
use quipu_store::{
    AcceptError, Acceptance, CertifiedCheckpoint, Choice, Derivation, DeriveError, Incoming,
    KEPT_TREES, LogFilter, NewLedger, Outcome,
};
use support::certified::{author, certificate, certify, checkpoint, create, key, next, options};
use support::values::put;
use support::{assert_sound, raw, records};
use tempfile::TempDir;

#[test]
fn what_is_written_is_certified_height_by_height() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("store"));
    let genesis = ledger.id();
    let first = put(&ledger, "a", b"1");
    let one = certify(&ledger);
    assert_eq!((one.height(), one.checkpoint.size), (Height(1), 2));
    assert!(matches!(ledger.derive(&[first]), Err(DeriveError::NotBeyond)));
    assert!(matches!(ledger.derive(&[genesis]), Err(DeriveError::NotBeyond)));
    let unknown = EventId([9; 32]);
    assert!(matches!(ledger.derive(&[unknown]), Err(DeriveError::Missing(id)) if id == unknown));
    let second = put(&ledger, "a", b"2");
    let two = certify(&ledger);
    assert_eq!(two.checkpoint.prev, Some(one.id()));
    let third = put(&ledger, "b", b"3");
    let snapshot = ledger.snapshot().unwrap();
    for (event, height) in [(genesis, Some(1)), (first, Some(1)), (second, Some(2)), (third, None)]
    {
        assert_eq!(snapshot.certified_in(event).unwrap(), height.map(Height));
    }
    let at = |height| snapshot.find_cut(&CutExpression::Checkpoint(height)).unwrap();
    let value = |cut: &Cut| ledger.at(cut).unwrap().get("a").unwrap();
    assert_ne!(value(&at(1)), value(&at(2)));
    assert_eq!(value(&at(2)), value(&Cut::Everything));
    assert_eq!(ledger.wait_certified(Some(Height(1)), Duration::from_secs(9)), Some(Height(2)));
    assert_eq!(ledger.wait_certified(Some(Height(2)), Duration::ZERO), Some(Height(2)));
    let last = ledger.snapshot().unwrap().at_final().unwrap();
    assert_eq!(last.heads().unwrap(), [second]);
    let log: Vec<_> = last.log(LogFilter::default()).unwrap().map(|e| e.unwrap().id).collect();
    assert_eq!(log, [second, first, genesis]);
    assert!(snapshot.find_cut(&CutExpression::Checkpoint(3)).is_err());
    assert_eq!(snapshot.next_validators(), [author()]);
    assert_sound(&ledger);
}

#[test]
fn a_ledger_without_validators_certifies_nothing() {
    let dir = TempDir::new().unwrap();
    let new = NewLedger { validators: Some(Vec::new()), ..NewLedger::default() };
    let ledger = options().create(dir.path().join("store"), &new).unwrap();
    let id = ledger.id();
    assert!(matches!(ledger.derive(&[id]), Err(DeriveError::NoValidators)));
}

#[test]
fn a_quorum_of_reports_chooses_the_cut() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("store"));
    let events: Vec<_> = (0..4_u8).map(|n| put(&ledger, "a", &[n])).collect();
    let unknown = EventId([9; 32]);
    let reports = [vec![events[3]], vec![events[1], unknown], vec![events[0]], vec![unknown]];
    let choose = |quorum| ledger.choose(&reports, quorum).unwrap();
    assert_eq!(choose(1), Choice::Cut(vec![events[3]]));
    assert_eq!(choose(2), Choice::Cut(vec![events[1]]));
    assert_eq!(choose(3), Choice::Cut(vec![events[0]]));
    assert_eq!(choose(4), Choice::Nothing);
    let heads = [events[1]];
    let Derivation { checkpoint, cut, validators, .. } = ledger.derive(&heads).unwrap();
    let certificate = certificate(&checkpoint, &[author()]);
    ledger.accept(CertifiedCheckpoint { checkpoint, certificate, cut, validators }).unwrap();
    assert_eq!(choose(1), Choice::Cut(vec![events[3]]));
    // What is certified already is no cut to be certified.
    assert_eq!((choose(2), choose(3)), (Choice::Nothing, Choice::Nothing));
}

#[test]
fn of_several_derived_checkpoints_the_certified_one_counts() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("store"));
    let events: Vec<_> = (0..3_u8).map(|n| put(&ledger, "a", &[n])).collect();
    let derived = |event: EventId| {
        let Derivation { checkpoint, cut, validators, .. } = ledger.derive(&[event]).unwrap();
        let certificate = certificate(&checkpoint, &[author()]);
        CertifiedCheckpoint { checkpoint, certificate, cut, validators }
    };
    let [one, two, three] = [events[0], events[1], events[2]].map(derived);
    assert_eq!(derived(events[1]), two);
    assert_eq!(ledger.accept(two.clone()).unwrap(), Acceptance::Counted);
    let value = |cut: &Cut| ledger.at(cut).unwrap().get("a").unwrap();
    assert_eq!(value(&checkpoint(&ledger, 1)), value(&Cut::Heads(vec![events[1]])));
    // Others of that height contradict it, and what was derived for them changes nothing.
    for other in [one, three] {
        assert_eq!(ledger.accept(other).unwrap(), Acceptance::Diverged);
    }
    let next = derived(events[2]);
    assert_eq!((next.height(), next.checkpoint.prev), (Height(2), Some(two.id())));
    assert_eq!(ledger.accept(next).unwrap(), Acceptance::Counted);
    assert_eq!(value(&checkpoint(&ledger, 2)), value(&Cut::Everything));
    assert_sound(&ledger);
}

/// An event of the test's key that follows another.
fn event(seq: u64, prev: Option<EventId>, time: u64, body: &Body) -> (SignedEvent, Vec<u8>) {
    let body = body.encode().unwrap();
    let event = Event {
        author: author(),
        seq: Seq(seq),
        prev,
        parents: Vec::new(),
        time: Micros(time),
        body: BodyId::of(&body),
        size: u32::try_from(body.len()).unwrap(),
    };
    (event.sign(&key()).unwrap(), body)
}

fn incoming((event, body): &(SignedEvent, Vec<u8>)) -> Incoming {
    let (event, body) = (event.bytes().to_vec(), Some(body.clone()));
    Incoming { event, body, openings: Vec::new() }
}

/// A file of one event.
fn file_of(dir: &TempDir, (event, body): &(SignedEvent, Vec<u8>)) -> File {
    let path = dir.path().join("file");
    let mut car = CarWriter::new(File::create(&path).unwrap(), &[event.id().block()]).unwrap();
    car.block(event.id().block(), event.bytes()).unwrap();
    car.block(event.event().body.block(), body).unwrap();
    car.finish().unwrap();
    File::open(path).unwrap()
}

/// The first checkpoint over all of a history, as the reference in memory has it.
fn first_checkpoint(history: &History) -> CertifiedCheckpoint {
    let all = [Cut::Everything];
    let view = history.view(&Cut::Everything, &all).unwrap();
    let dump = view.dump(&mut |_| Shown::Nothing).unwrap();
    let digits =
        dump.state_root.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let state: Vec<_> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let mut tree = LogTree::new();
    let order = view.order();
    order.keys().for_each(|place| drop(tree.append(event_leaf_hash(place.id))));
    let validators = ValidatorsBlock::new(vec![author()]).unwrap();
    let cut = CutBlock::new(view.heads()).unwrap();
    let checkpoint = Checkpoint {
        ledger: history.authority().ledger(),
        height: Height::FIRST,
        prev: None,
        cut: cut.seal().0,
        size: order.len() as u64,
        root: tree.root(),
        state: state.try_into().unwrap(),
        validators: validators.seal().0,
        time: order.keys().map(|place| place.time).max().unwrap(),
    };
    CertifiedCheckpoint {
        certificate: certificate(&checkpoint, &[author()]),
        checkpoint,
        cut,
        validators,
    }
}

#[test]
fn certified_events_need_not_wait_for_their_time() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let now = u64::try_from(now).unwrap();
    let hour = 3_600_000_000;
    let genesis = quipu_merge::Genesis {
        name: String::new(),
        policy: quipu_merge::Policy::Open,
        forks: quipu_merge::ForkPolicy::Keep,
        admins: Vec::new(),
        validators: vec![author()],
    };
    let inc = |key: &str| {
        let key = Key::new(key).unwrap();
        Body::Data(vec![Operation::Inc { key, by: std::num::NonZeroI64::new(1).unwrap() }])
    };
    let first = event(1, None, now - hour, &Body::Genesis(genesis));
    let mut history = History::new(&first.0, &first.1).unwrap();
    let mut events = Vec::new();
    for (seq, time) in [(2, now), (3, now + hour), (4, now + hour + 1)] {
        let prev = events.last().map_or(first.0.id(), |(event, _): &(SignedEvent, _)| event.id());
        let next = event(seq, Some(prev), time, &inc("n"));
        history.admit(&next.0, &next.1).unwrap();
        events.push(next);
    }
    let checkpoint = first_checkpoint(&history);
    // The events come before the certificate, after it, or in parts.
    for early in 0..=events.len() {
        let dir = TempDir::new().unwrap();
        let (ledger, _) = options()
            .clone_file(dir.path().join("store"), file_of(&dir, &first), &mut |_, _| {})
            .unwrap();
        let admit = |events: &[(SignedEvent, Vec<u8>)]| {
            ledger.admit(events.iter().map(incoming).collect()).unwrap().outcomes
        };
        let outcomes = admit(&events[..early]);
        assert!(
            outcomes.iter().skip(1).all(|o| matches!(o, Ok(Outcome::Waits(_)))),
            "{outcomes:?}"
        );
        let accepted = ledger.accept(checkpoint.clone()).unwrap();
        let all = early == events.len();
        assert_eq!(accepted, if all { Acceptance::Counted } else { Acceptance::Pending });
        assert_eq!(ledger.certification().pending, u64::from(!all));
        drop(ledger);
        let ledger = options().open(dir.path().join("store")).unwrap();
        ledger.admit(events[early..].iter().map(incoming).collect()).unwrap();
        let status = ledger.certification();
        assert_eq!((status.height, status.pending, status.events), (Some(Height(1)), 0, 4));
        assert!(ledger.waiting().is_empty());
        assert_eq!(ledger.snapshot().unwrap().counter("n").unwrap(), Some(3));
        assert_eq!(ledger.accept(checkpoint.clone()).unwrap(), Acceptance::Known);
        assert_sound(&ledger);
        // What is not certified waits all the same.
        let after = event(5, Some(events[2].0.id()), now + 2 * hour, &inc("n"));
        let outcomes = ledger.admit(vec![incoming(&after)]).unwrap().outcomes;
        assert!(matches!(outcomes[0], Ok(Outcome::Waits(_))));
        // What follows a certified event is no earlier. It is held, and nobody votes for it yet.
        let late = put(&ledger, "late", b"1");
        let reports = [vec![late]];
        assert_eq!(ledger.choose(&reports, 1).unwrap(), Choice::NotDue);
        assert!(!ledger.derive(&reports[0]).unwrap().is_due());
    }
}

#[test]
fn old_trees_go_and_their_states_are_still_proven() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let ledger = create(&store);
    let mut headers = Vec::new();
    for number in 0..KEPT_TREES + 20 {
        let mut transaction = ledger.transaction();
        transaction.put(&format!("k/{}", number % 7), &number.to_be_bytes()).unwrap();
        transaction.add("set", &[u8::try_from(number % 3).unwrap()]).unwrap();
        transaction.append("list", b"x").unwrap().inc("n", 2).unwrap();
        transaction.commit().unwrap();
        headers.push(certify(&ledger).checkpoint);
    }
    let snapshot = ledger.snapshot().unwrap();
    for header in headers.iter().step_by(20).chain(headers.last()) {
        for (kind, key) in [
            (LeafKind::Register, "k/0"),
            (LeafKind::Register, "k/6"),
            (LeafKind::Set, "set"),
            (LeafKind::List, "list"),
            (LeafKind::Counter, "n"),
            (LeafKind::Counter, "none"),
        ] {
            let proven =
                snapshot.prove_state(header.height, kind, key.as_bytes()).unwrap().unwrap();
            let hash = kind.key_hash(key.as_bytes());
            let checked = proven.proof.check(header.state, hash, proven.value.as_deref());
            assert_eq!(checked, Ok(()), "{key} at {}", header.height);
            assert_eq!(
                proven.value.is_none(),
                key == "none" || (key == "k/6" && header.height.0 < 7)
            );
        }
    }
    assert_sound(&ledger);
    drop(snapshot);
    drop(ledger);
    // Nodes that no kept state has are gone: each change of a state adds a few, and as many go.
    let nodes = count(&store, "tree", b"n");
    assert!(nodes < 25 * KEPT_TREES, "{nodes} nodes");
    assert!(count(&store, "tree", b"x") < 25 * KEPT_TREES);
}

fn count(store: &Path, family: &str, tag: &[u8]) -> u64 {
    records(&raw(store), family, tag).len() as u64
}

#[test]
fn verify_finds_what_is_wrong_with_what_is_certified() {
    for (family, tag) in [
        ("final", b"l".as_slice()),
        ("final", b"b"),
        ("final", b"e"),
        ("final", b"sr"),
        ("final", b"sc"),
        ("final", b"sm"),
        ("final", b"sl"),
        ("final", b"m"),
        ("tree", b"n"),
        ("final", b"k"),
    ] {
        for change in ["gone", "changed"] {
            let dir = TempDir::new().unwrap();
            let store = dir.path().join("store");
            let ledger = create(&store);
            let mut transaction = ledger.transaction();
            transaction.put("k", b"v").unwrap().inc("n", 1).unwrap().add("s", b"m").unwrap();
            transaction.append("l", b"x").unwrap();
            transaction.commit().unwrap();
            certify(&ledger);
            assert_sound(&ledger);
            drop(ledger);
            let db = raw(&store);
            let handle = db.cf_handle(family).unwrap();
            let (key, mut value) = db.prefix_iterator_cf(handle, tag).next().unwrap().unwrap();
            assert!(key.starts_with(tag));
            if change == "gone" {
                db.delete_cf(handle, &key).unwrap();
            } else {
                *value.last_mut().unwrap() ^= 1;
                db.put_cf(handle, &key, &value).unwrap();
            }
            drop(db);
            // What is read when the store is opened may keep it from being opened.
            if let Ok(ledger) = options().open(&store) {
                let report = ledger.verify(&mut |_, _| {}).unwrap();
                assert!(!report.is_sound(), "{family} {tag:?} {change}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("store"));
    put(&ledger, "a", b"1");
    let good = next(&ledger);
    let cut = CutBlock::new(vec![ledger.id()]).unwrap();
    let refused = ledger.accept(CertifiedCheckpoint { cut, ..good.clone() });
    assert!(matches!(refused, Err(AcceptError::Cut(_))));
    let certificate = Certificate { signatures: Vec::new(), ..good.certificate.clone() };
    let refused = ledger.accept(CertifiedCheckpoint { certificate, ..good.clone() });
    assert!(matches!(refused, Err(AcceptError::Chain(_))));
    assert_eq!(ledger.certification(), quipu_store::CertificationStatus::default());
    assert_eq!(ledger.accept(good).unwrap(), Acceptance::Counted);
}
