//! What a store says at a cut, compared with the model and with its own dump.

use std::collections::{BTreeMap, BTreeSet};

use quipu_fuzz::{Dice, Model, ModelCut};
use quipu_merge::{Cut, EventId, Micros, Operation, Shown};
use quipu_store::{EventInfo, KeyKind, Ledger, LogFilter, ReadError, Snapshot, Value as Held};
use serde_json::{Value, json};

/// A key that nothing writes.
const ABSENT: &str = "nothing";

/// The same cut, as the store calls it.
pub fn store_cut(cut: &ModelCut) -> Cut {
    match cut {
        ModelCut::All => Cut::Everything,
        ModelCut::Heads(heads) => Cut::Heads(heads.clone()),
        ModelCut::Clock(clock) => Cut::Clock(clock.clone()),
        ModelCut::Time(time) => Cut::Time(Micros(*time)),
    }
}

/// Random cuts of what a model holds: everything, heads, a clock and a time.
pub fn cuts(ledger: &Ledger, model: &Model, dice: &mut Dice) -> Vec<ModelCut> {
    let all = model.order(&ModelCut::All, &[]);
    let mut some = || *dice.pick(&all).unwrap();
    let heads = ModelCut::Heads(vec![some(), some()]);
    let mut clock = model.clocks(some());
    for (author, seq) in model.clocks(some()) {
        let largest = clock.entry(author).or_insert(0);
        *largest = seq.max(*largest);
    }
    let authors = clock.keys().copied().collect::<Vec<_>>();
    if let Some(author) = dice.pick(&authors) {
        clock.entry(*author).and_modify(|seq| *seq = seq.saturating_sub(1));
    }
    let snapshot = ledger.snapshot().unwrap();
    let time = |id: EventId| snapshot.event(id).unwrap().time.0;
    let (first, last) = (time(all[0]), time(all[all.len() - 1]));
    let time = first + dice.below((last - first + 1) as usize) as u64;
    vec![ModelCut::All, heads, ModelCut::Clock(clock), ModelCut::Time(time)]
}

/// Compares a store with the model at some cuts.
pub fn check(ledger: &Ledger, model: &Model, cuts: &[ModelCut], what: &str) {
    verify(ledger, what);
    for cut in cuts {
        let what = &format!("{what}, {cut:?}");
        let snapshot = ledger.at(&store_cut(cut)).unwrap();
        let dump = json!(snapshot.dump(&[]).unwrap());
        let want = model.dump(cut, &[]);
        for (field, want) in want.as_object().unwrap() {
            assert_eq!(&dump[field], want, "{field} of {what}");
        }
        check_overview(&snapshot, model, (cut, &[]), &want, what);
        check_indexes(&snapshot, &want, *cut == ModelCut::All, what);
        check_log(&snapshot, model, cut, &[], what);
    }
}

/// Compares all but values, which may be erased or not at hand, and the indexes with the dump.
pub fn check_but_values(ledger: &Ledger, model: &Model, cuts: &[ModelCut], what: &str) {
    check_certified(ledger, model, cuts, &[], what);
}

/// Does what [`check_but_values`] does with a store in which these certified cuts count.
pub fn check_certified(
    ledger: &Ledger,
    model: &Model,
    cuts: &[ModelCut],
    certified: &[Vec<EventId>],
    what: &str,
) {
    verify(ledger, what);
    for cut in cuts {
        let what = &format!("{what}, {cut:?}");
        let snapshot = ledger.at(&store_cut(cut)).unwrap();
        let dump = json!(snapshot.dump(&[]).unwrap());
        let want = model.dump(cut, certified);
        assert_eq!(without_values(&dump), without_values(&want), "{what}");
        check_overview(&snapshot, model, (cut, certified), &want, what);
        check_indexes(&snapshot, &dump, *cut == ModelCut::All, what);
        check_log(&snapshot, model, cut, certified, what);
    }
}

fn check_overview(
    snapshot: &Snapshot<'_>,
    model: &Model,
    (cut, certified): (&ModelCut, &[Vec<EventId>]),
    want: &Value,
    what: &str,
) {
    assert_eq!(snapshot.heads().unwrap(), model.heads(cut), "{what}");
    assert_eq!(snapshot.len().unwrap(), want["events"].as_u64().unwrap(), "{what}");
    assert_eq!(text(&snapshot.version().unwrap()), want["version"], "{what}");
    assert_eq!(text(&snapshot.forks().unwrap()), want["forks"], "{what}");
    assert_eq!(text(&snapshot.roles().unwrap()), want["roles"], "{what}");
    assert_eq!(snapshot.void().unwrap(), model.void(cut, certified), "{what}");
}

pub fn without_values(dump: &Value) -> Value {
    let mut dump = dump.clone();
    let registers = dump["registers"].as_object_mut().unwrap().values_mut();
    let writes = registers.flat_map(|writes| writes.as_array_mut().unwrap());
    writes.for_each(|write| write["value"] = Value::Null);
    let lists = dump["lists"].as_object_mut().unwrap().values_mut();
    lists.for_each(|list| list.as_array_mut().unwrap().fill(Value::Null));
    dump
}

/// Has the store check itself.
pub fn verify(ledger: &Ledger, what: &str) {
    let report = ledger.verify(&mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{what}: {:?}", report.findings);
}

fn text<K: ToString, V: Clone + Into<Value>>(map: &BTreeMap<K, V>) -> Value {
    let entries = map.iter().map(|(key, value)| (key.to_string(), value.clone().into()));
    Value::Object(entries.collect())
}

fn shown(value: Held) -> Value {
    json!(Shown::from(value))
}

/// Compares what is read through the indexes with the dump of the same cut.
pub fn check_indexes(snapshot: &Snapshot<'_>, dump: &Value, everything: bool, what: &str) {
    let kinds = kinds_of(dump);
    for prefix in ["", "k", ABSENT] {
        let mut keys = Vec::new();
        let note = |key: &str, kinds: &[KeyKind]| {
            keys.push((key.to_owned(), kinds.to_vec()));
            true
        };
        snapshot.keys(prefix, note).unwrap();
        let want = kinds.iter().filter(|(key, _)| key.starts_with(prefix));
        let want = want.map(|(key, kinds)| (key.clone(), kinds.clone())).collect::<Vec<_>>();
        assert_eq!(keys, want, "keys {prefix:?} of {what}");
        let conflicting =
            |key: &&String| dump["registers"][*key].as_array().map_or(0, Vec::len) > 1;
        let want = want.iter().map(|(key, _)| key).filter(conflicting).collect::<Vec<&String>>();
        assert_eq!(snapshot.conflicts(prefix).unwrap().iter().collect::<Vec<_>>(), want, "{what}");
    }
    for key in kinds.keys().map(String::as_str).chain([ABSENT]) {
        check_key(snapshot, dump, key, &format!("{key:?} of {what}"));
        assert_eq!(
            snapshot.kinds(key).unwrap(),
            kinds.get(key).cloned().unwrap_or_default(),
            "{what}"
        );
        if everything {
            let counted = |field: &str| dump[field][key].as_array().map_or(0, Vec::len) as u64;
            for (kind, field) in
                [(KeyKind::Register, "registers"), (KeyKind::Set, "sets"), (KeyKind::List, "lists")]
            {
                assert_eq!(snapshot.count(kind, key).unwrap(), counted(field), "{key:?} of {what}");
            }
        }
    }
}

fn kinds_of(dump: &Value) -> BTreeMap<String, Vec<KeyKind>> {
    let mut kinds = BTreeMap::<String, Vec<KeyKind>>::new();
    for (field, kind) in [
        ("registers", KeyKind::Register),
        ("counters", KeyKind::Counter),
        ("sets", KeyKind::Set),
        ("lists", KeyKind::List),
    ] {
        for key in dump[field].as_object().unwrap().keys() {
            kinds.entry(key.clone()).or_default().push(kind);
        }
    }
    kinds
}

fn check_key(snapshot: &Snapshot<'_>, dump: &Value, key: &str, what: &str) {
    let writes = snapshot.register(key).unwrap();
    assert!(writes.iter().all(|write| !write.void), "{what}");
    let shown_write = |write: quipu_store::RegisterWrite| json!({ "event": write.event.to_string(), "value": write.value.map(shown) });
    let writes = writes.into_iter().map(shown_write).collect::<Vec<Value>>();
    assert_eq!(json!(writes), or_empty(&dump["registers"][key]), "register {what}");
    let value = snapshot.get(key).unwrap().map(shown);
    assert_eq!(value, dump["registers"][key].get(0).map(|w| w["value"].clone()), "get {what}");
    let sum = snapshot.counter(key).unwrap().map_or(Value::Null, |sum| json!(sum.to_string()));
    assert_eq!(sum, dump["counters"].get(key).cloned().unwrap_or_default(), "counter {what}");
    let mut members = Vec::new();
    let exists = snapshot.set(key, |member| {
        members.push(member.to_vec());
        true
    });
    let shown_members = members.iter().map(|m| shown(Held::Bytes(m.clone()))).collect::<Value>();
    assert_eq!(shown_members, or_empty(&dump["sets"][key]), "set {what}");
    assert_eq!(exists.unwrap(), !members.is_empty(), "set {what}");
    for member in &members {
        assert!(snapshot.has_member(key, member).unwrap(), "{what}");
        assert!(!snapshot.member_adds(key, member).unwrap().is_empty(), "{what}");
    }
    assert!(!snapshot.has_member(key, b"never").unwrap(), "{what}");
    let (mut values, mut places) = (Vec::new(), Vec::new());
    let exists = snapshot.list(key, |element| {
        places.push((element.event, element.slot));
        values.push(shown(element.value));
        true
    });
    assert_eq!(exists.unwrap(), !values.is_empty(), "list {what}");
    for at in (0..places.len()).step_by(1 + places.len() / 4) {
        let mut rest = Vec::new();
        let exists = snapshot.list_after(key, Some(places[at]), |element| {
            rest.push((element.event, element.slot));
            true
        });
        assert!(exists.unwrap(), "list {what}");
        assert_eq!(rest, places[at + 1..], "list after {:?} of {what}", places[at]);
    }
    assert_eq!(json!(values), or_empty(&dump["lists"][key]), "list {what}");
}

fn or_empty(value: &Value) -> Value {
    if value.is_null() { json!([]) } else { value.clone() }
}

/// Compares orders, filters, clocks and single events.
fn check_log(
    snapshot: &Snapshot<'_>,
    model: &Model,
    cut: &ModelCut,
    certified: &[Vec<EventId>],
    what: &str,
) {
    let log = |filter: LogFilter| {
        let events = snapshot.log(filter).unwrap();
        events.map(Result::unwrap).collect::<Vec<EventInfo>>()
    };
    let ids = |events: &[&EventInfo]| events.iter().map(|e| e.id).collect::<Vec<EventId>>();
    let all = log(LogFilter::default());
    let mut order = model.order(cut, certified);
    order.reverse();
    assert_eq!(ids(&all.iter().collect::<Vec<_>>()), order, "log of {what}");
    for id in model.order(&ModelCut::All, &[]).into_iter().filter(|id| !order.contains(id)) {
        assert!(matches!(snapshot.event(id), Err(ReadError::NoSuchEvent(_))), "{id} of {what}");
    }
    check_pages(snapshot, &order, what);
    let void = model.void(cut, certified);
    let mut keys = BTreeSet::from([ABSENT.to_owned()]);
    let mut authors = BTreeSet::new();
    for event in &all {
        assert_eq!(event.void, void.contains(&event.id), "{} of {what}", event.id);
        let same = snapshot.event(event.id).unwrap();
        assert_eq!(format!("{same:?}"), format!("{event:?}"), "{what}");
        keys.extend(event.operations().iter().map(|operation| operation.key().to_string()));
        authors.insert(event.author);
    }
    for author in authors {
        let want = all.iter().filter(|event| event.author == author).collect::<Vec<_>>();
        let got = log(LogFilter { author: Some(author), ..LogFilter::default() });
        assert_eq!(ids(&got.iter().collect::<Vec<_>>()), ids(&want), "{author} of {what}");
    }
    for key in keys {
        let of_key = |o: &&Operation| o.key().as_str() == key;
        let on = |event: &&EventInfo| event.operations().iter().any(|o| of_key(&o));
        let want = all.iter().filter(on).collect::<Vec<_>>();
        let got = log(LogFilter { key: Some(key.clone()), ..LogFilter::default() });
        assert_eq!(ids(&got.iter().collect::<Vec<_>>()), ids(&want), "log of {key:?} of {what}");
        let writes = |o: &Operation| matches!(o, Operation::Put { .. } | Operation::Del { .. });
        let written =
            |event: &&EventInfo| event.operations().iter().any(|o| of_key(&o) && writes(o));
        let want = all.iter().filter(written).map(|event| event.id).collect::<Vec<EventId>>();
        let history = snapshot.register_history(&key).unwrap();
        let got = history.iter().map(|write| write.event).collect::<Vec<EventId>>();
        assert_eq!(got, want, "history of {key:?} of {what}");
        assert!(history.iter().all(|write| write.void == void.contains(&write.event)), "{what}");
    }
    for pair in order.chunks(2) {
        let (a, b) = (pair[0], *pair.last().unwrap());
        assert_eq!(snapshot.clock(a).unwrap(), model.clocks(a), "clock of {a} of {what}");
        for (a, b) in [(a, b), (b, a), (order[order.len() - 1], a)] {
            let precedes = model.ancestors(b).contains(&a);
            assert_eq!(snapshot.precedes(a, b).unwrap(), precedes, "{a} {b} of {what}");
        }
    }
}

/// Compares what comes after each event, either way, with the order, whose latest is first.
fn check_pages(snapshot: &Snapshot<'_>, order: &[EventId], what: &str) {
    for at in (0..order.len()).step_by(1 + order.len() / 5) {
        for ascending in [false, true] {
            let filter = LogFilter { after: Some(order[at]), ascending, ..LogFilter::default() };
            let log = snapshot.log(filter).unwrap();
            let got = log.map(|event| event.unwrap().id).collect::<Vec<EventId>>();
            let mut want = order.to_vec();
            if ascending {
                want.truncate(at);
                want.reverse();
            } else {
                want.drain(..=at);
            }
            assert_eq!(got, want, "after {}, ascending {ascending}, of {what}", order[at]);
        }
    }
}
