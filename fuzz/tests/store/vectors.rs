//! The golden files, read by the store.

use std::fs::File;

use quipu_merge::{BlockId, Certificate, Checkpoint, Cut, CutBlock, EventId, ValidatorsBlock};
use quipu_store::{
    AcceptError, Acceptance, CertifiedCheckpoint, Divergence, LogFilter, MergeError, Value as Held,
};
use serde_json::{Value, json};

use crate::compare::{check_indexes, store_cut};
use crate::files::{Place, car, import, relaxed};
use crate::support;

#[test]
fn valid_files_mean_what_they_should() {
    let place = Place::new();
    for name in support::valid_names() {
        let doc = support::json(&name);
        let file = File::open(support::vectors().join(doc["car"].as_str().unwrap())).unwrap();
        let clone = relaxed().clone_file(place.path(&name), file, &mut |_, _| {});
        let (ledger, report) = clone.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(report.waiting.is_empty(), "{name}: {:?}", report.waiting);
        let order = support::ids(&doc["order"]);
        assert_eq!(report.new_events, order.len() as u64, "{name}");
        let certified = support::certified(&doc).into_iter().map(Cut::Heads).collect::<Vec<Cut>>();
        for case in doc["cases"].as_array().unwrap() {
            let at = &case["at"];
            let snapshot = ledger.at(&store_cut(&support::cut(at))).unwrap();
            let dump = json!(snapshot.dump(&certified).unwrap());
            let want = case["dump"].as_object().unwrap();
            for (field, want) in want {
                assert_eq!(&dump[field], want, "{field} of {name} at {at}");
            }
            assert_eq!(dump.as_object().unwrap().len(), want.len());
            // And with those that count here: the first of `checkpoints.car`, and no others.
            let plain = json!(snapshot.dump(&[]).unwrap());
            check_indexes(&snapshot, &plain, at.is_null(), &format!("{name} at {at}"));
        }
        let snapshot = ledger.snapshot().unwrap();
        let log = snapshot.log(LogFilter::default()).unwrap();
        let log = log.map(|event| event.unwrap().id).collect::<Vec<EventId>>();
        assert_eq!(log, order.into_iter().rev().collect::<Vec<EventId>>(), "log of {name}");
        for (key, want) in doc["blake3"].as_object().into_iter().flatten() {
            let Some(Held::Long(link)) = snapshot.get(key).unwrap() else { panic!("{key}") };
            let mut bytes = Vec::new();
            let read = snapshot.read_long(link, |part| {
                bytes.extend_from_slice(part);
                Ok(())
            });
            assert_eq!(read.unwrap(), Ok(()));
            let hash = BlockId::of(quipu_merge::Codec::Raw, &bytes).digest;
            assert_eq!(data_encoding::HEXLOWER.encode(&hash), want.as_str().unwrap(), "{key}");
        }
    }
}

/// The certified chain of the vectors: what others have certified is derived here.
#[test]
fn certified_checkpoints_count() {
    let doc = support::json("checkpoints.json");
    let place = Place::new();
    // The file without its certificates.
    let archive = support::archive("checkpoints.car");
    let is_event = |root: &&BlockId| !Certificate::is_one(&archive.blocks[*root]);
    let heads = archive.roots.iter().filter(is_event).filter_map(|root| EventId::from_block(*root));
    let blocks = archive.blocks.clone().into_iter().collect::<Vec<_>>();
    let file = car(&heads.collect::<Vec<_>>(), &blocks);
    let (ledger, report) = relaxed().clone_file(place.path("a"), file, &mut |_, _| {}).unwrap();
    assert_eq!((report.new_checkpoints, report.diverged), (0, false));
    let links = doc["chain"].as_array().unwrap().iter().map(|link| CertifiedCheckpoint {
        checkpoint: Checkpoint::decode(&support::hex(&link["checkpoint"])).unwrap(),
        certificate: Certificate::decode(&support::hex(&link["certificate"])).unwrap(),
        cut: CutBlock::decode(&support::hex(&link["cut"])).unwrap(),
        validators: ValidatorsBlock::decode(&support::hex(&link["next_validators"])).unwrap(),
    });
    let [first, second, third] = &links.collect::<Vec<_>>()[..] else { panic!("not three") };
    let derived = ledger.derive(first.cut.heads()).unwrap();
    assert_eq!(derived.checkpoint, first.checkpoint);
    assert!(matches!(ledger.accept(second.clone()), Err(AcceptError::Chain(_))));
    assert_eq!(ledger.accept(first.clone()).unwrap(), Acceptance::Counted);
    // The cut of the second leaves out an event of the first, against section 7.
    assert_eq!(ledger.accept(second.clone()).unwrap(), Acceptance::Diverged);
    let certified = Box::new(second.clone());
    let diverged = [Divergence::Derived { certified, derived: None }];
    assert_eq!(ledger.certification().diverged, diverged);
    assert!(ledger.accept(third.clone()).is_err());
    // A file brings the same about.
    let file = File::open(support::vectors().join("checkpoints.car")).unwrap();
    let (other, report) = relaxed().clone_file(place.path("b"), file, &mut |_, _| {}).unwrap();
    assert_eq!((report.new_checkpoints, report.diverged), (1, true));
    assert_eq!(other.certification(), ledger.certification());
    let certified = [Cut::Heads(first.cut.heads().to_vec())];
    for case in doc["cases"].as_array().unwrap() {
        let at = &case["at"];
        let snapshot = ledger.at(&store_cut(&support::cut(at))).unwrap();
        let dump = json!(snapshot.dump(&[]).unwrap());
        assert_eq!(dump, json!(snapshot.dump(&certified).unwrap()));
        check_indexes(&snapshot, &dump, at.is_null(), &format!("checkpoints at {at}"));
    }
}

#[test]
fn invalid_events_change_nothing() {
    let doc = support::json("invalid.json");
    let base = support::archive(doc["car"].as_str().unwrap());
    let place = Place::new();
    for (number, case) in doc["events"].as_array().unwrap().iter().enumerate() {
        let name = case["name"].as_str().unwrap();
        let file = File::open(support::vectors().join(doc["car"].as_str().unwrap())).unwrap();
        let dir = place.path(&number.to_string());
        let (ledger, _) = relaxed().clone_file(&dir, file, &mut |_, _| {}).unwrap();
        let overview = || {
            let mut status = ledger.status().unwrap();
            status.disk_bytes = 0;
            (json!(ledger.snapshot().unwrap().dump(&[]).unwrap()), format!("{status:?}"))
        };
        let before = overview();
        let (event, body) = (support::hex(&case["event"]), support::hex(&case["body"]));
        let mut blocks = base.blocks.clone().into_iter().collect::<Vec<_>>();
        blocks.push((EventId::of(&event).block(), event.clone()));
        blocks.push((cid(&case["body_cid"]), body));
        let result = import(&ledger, car(&[EventId::of(&event)], &blocks));
        match (case["reason"].as_str(), result) {
            (None, Ok(report)) => {
                assert_eq!(report.new_events, 1, "{name}");
                assert_eq!(before.0["events"].as_u64().unwrap() + 1, overview().0["events"]);
                continue;
            }
            (Some("missing"), Ok(report)) => {
                assert_eq!((report.new_events, report.waiting.len()), (0, 1), "{name}");
                assert_eq!(before.0, overview().0, "{name}");
                continue;
            }
            // Bytes that are not what their id says are no file at all.
            (Some("body"), Err(MergeError::Corrupt(_))) if name.contains("another hash") => {}
            (Some(want), Err(MergeError::Refused(refusal))) => {
                assert_eq!(refusal.reason.word(), want, "{name}: {refusal}");
                assert_eq!(refusal.event, EventId::of(&event), "{name}");
            }
            // All that such a file holds is another ledger.
            (Some("genesis"), Err(MergeError::OtherLedger { found, .. })) => {
                assert_eq!(found, EventId::of(&event), "{name}");
            }
            (want, got) => panic!("{name}: {want:?} expected, not {got:?}"),
        }
        assert_eq!(before, overview(), "{name}");
        let preview = ledger.import_preview(car(&[EventId::of(&event)], &blocks));
        assert!(preview.is_err(), "{name}");
    }
}

/// The block id in the hex of a binary CID.
fn cid(hex: &Value) -> BlockId {
    BlockId::from_bytes(&support::hex(hex)).unwrap()
}
