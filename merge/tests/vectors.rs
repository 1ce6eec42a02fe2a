//! Histories in memory against what an independent implementation of the format wrote down.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has done its work"
)]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use quipu_merge::{
    AuthorKey, BlockId, CarReader, Cut, Dot, EventId, History, Lane, LogTree, Micros, OpeningId,
    ParsedEvent, Seq, Shown, UnknownEvent, ValueRef, View, event_leaf_hash,
};
use serde_json::{Value, json};

/// A file of the vectors: the history in it, and its other blocks.
struct Ledger {
    history: History,
    blocks: BTreeMap<BlockId, Vec<u8>>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn document(name: &str) -> Value {
    serde_json::from_slice(&fs::read(directory().join(name)).unwrap()).unwrap()
}

/// Reads what the roots of a file refer to, as an import does.
fn ledger(car: &str) -> Ledger {
    let mut reader = CarReader::new(fs::File::open(directory().join(car)).unwrap()).unwrap();
    let mut wanted = reader.roots().to_vec();
    let blocks = reader.by_ref().map(|block| block.map(|b| (b.id, b.bytes)));
    let blocks: BTreeMap<_, _> = blocks.collect::<Result<_, _>>().unwrap();
    let mut events = BTreeMap::new();
    while let Some(id) = wanted.pop() {
        // A root that is no event is a certificate.
        let Ok(parsed) = ParsedEvent::decode(&blocks[&id]) else { continue };
        wanted.extend(parsed.event().follows().map(EventId::block));
        events.insert((parsed.event().time, id), parsed.verify().unwrap());
    }
    // What follows an event is later than it, so this order is causal.
    let mut events = events.into_values().map(|event| {
        let body = blocks[&event.event().body.block()].as_slice();
        (event, body)
    });
    let (genesis, body) = events.next().unwrap();
    let mut history = History::new(&genesis, body).unwrap();
    for (event, body) in events {
        history.admit(&event, body).unwrap();
    }
    Ledger { history, blocks }
}

/// Runs `check` on every valid ledger.
fn on_each(check: impl Fn(&str, &Value, &Ledger)) {
    let mut checked = 0;
    for file in fs::read_dir(directory()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".json") && name != "invalid.json" {
            let doc = document(&name);
            check(&name, &doc, &ledger(doc["car"].as_str().unwrap()));
            checked += 1;
        }
    }
    assert!(checked >= 17, "the vectors are not all there");
}

fn ids(list: &Value) -> Vec<EventId> {
    list.as_array().unwrap().iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect()
}

fn clock(map: &Value) -> BTreeMap<AuthorKey, u64> {
    let entries = map.as_object().unwrap().iter();
    entries.map(|(author, seq)| (author.parse().unwrap(), seq.as_u64().unwrap())).collect()
}

fn hex(text: &Value) -> Vec<u8> {
    HEXLOWER.decode(text.as_str().unwrap().as_bytes()).unwrap()
}

/// The cut that a case is about.
fn cut(at: &Value) -> Cut {
    if at.is_null() {
        Cut::Everything
    } else if let Some(heads) = at.get("heads") {
        Cut::Heads(ids(heads))
    } else if let Some(limit) = at.get("clock") {
        Cut::Clock(clock(limit))
    } else {
        Cut::Time(Micros(at["time"].as_u64().unwrap()))
    }
}

fn certified(doc: &Value) -> Vec<Cut> {
    doc["certified"].as_array().unwrap().iter().map(cut).collect()
}

fn order(view: &View<'_>) -> Vec<EventId> {
    view.order().keys().map(|place| place.id).collect()
}

impl Ledger {
    fn dump(&self, at: &Cut, certified: &[Cut]) -> Value {
        let erased = self.history.erased(certified).unwrap();
        let view = self.history.view(at, certified).unwrap();
        let mut show = |value: ValueRef| {
            let ValueRef { author, opening, .. } = value;
            match self.blocks.get(&opening.block()) {
                Some(block) if !erased.contains(&(author, opening)) => Shown::of(value, block),
                _ => Shown::Nothing,
            }
        };
        serde_json::to_value(view.dump(&mut show).unwrap()).unwrap()
    }
}

#[test]
fn dumps() {
    on_each(|name, doc, ledger| {
        for case in doc["cases"].as_array().unwrap() {
            let dump = ledger.dump(&cut(&case["at"]), &certified(doc));
            let want = case["dump"].as_object().unwrap();
            assert_eq!(dump.as_object().unwrap().len(), want.len(), "fields in {name}");
            for (field, want) in want {
                assert_eq!(&dump[field], want, "{field} of {name} at {}", case["at"]);
            }
        }
    });
}

#[test]
fn orders_and_clocks() {
    on_each(|name, doc, ledger| {
        let history = &ledger.history;
        for (certified, want) in [(Vec::new(), "order"), (certified(doc), "certified_order")] {
            let view = history.view(&Cut::Everything, &certified).unwrap();
            assert_eq!(order(&view), ids(&doc[want]), "{want} of {name}");
        }
        let clocks = doc["clocks"].as_object().unwrap();
        assert_eq!(clocks.len(), history.len(), "events of {name}");
        for (id, want) in clocks {
            let entry = history.get(id.parse().unwrap()).unwrap();
            assert_eq!(history.lanes().version(&entry.clock), clock(want), "{id} in {name}");
        }
    });
}

/// What single questions answer must be what the dump says; nothing but tests asks them alone.
#[test]
fn forks_void_events_and_roles() {
    on_each(|name, doc, ledger| {
        for case in doc["cases"].as_array().unwrap() {
            let view = ledger.history.view(&cut(&case["at"]), &certified(doc)).unwrap();
            let within = |lane: Lane| view.frontier().seq(lane);
            let forks = ledger.history.lanes().forks(&within);
            assert_eq!(forks, clock(&case["dump"]["forks"]), "forks of {name}");
            // Ascending as text, which binary ids do not.
            let void: BTreeSet<_> = view.void().iter().map(ToString::to_string).collect();
            assert_eq!(json!(void), case["dump"]["void"], "void events of {name}");
            let roles = view.verdicts().roles().into_iter();
            let roles: BTreeMap<_, _> = roles.map(|(a, held)| (a.to_string(), held)).collect();
            assert_eq!(json!(roles), case["dump"]["roles"], "roles of {name}");
        }
    });
}

#[test]
fn validators() {
    on_each(|name, doc, ledger| {
        let view = ledger.history.view(&Cut::Everything, &certified(doc)).unwrap();
        let got = view.verdicts().validators();
        let got: Vec<_> = got.iter().map(ToString::to_string).collect();
        assert_eq!(json!(got), doc["validators"], "validators of {name}");
    });
}

#[test]
fn logs() {
    on_each(|name, doc, ledger| {
        let certified = certified(doc);
        let order = order(&ledger.history.view(&Cut::Everything, &certified).unwrap());
        let mut tree = LogTree::new();
        let roots = order.iter().map(|&id| {
            tree.append(event_leaf_hash(id));
            HEXLOWER.encode(&tree.root())
        });
        let roots: Vec<_> = roots.collect();
        let sizes = doc["log"]["sizes"].as_array().unwrap().iter();
        let got = sizes.map(|size| &roots[size.as_u64().unwrap() as usize - 1]);
        assert_eq!(json!(got.collect::<Vec<_>>()), doc["log"]["roots"], "roots of {name}");
    });
}

#[test]
fn refusals() {
    let doc = document("invalid.json");
    let base = ledger(doc["car"].as_str().unwrap()).history;
    for case in doc["events"].as_array().unwrap() {
        let (event, body, name) = (hex(&case["event"]), hex(&case["body"]), &case["name"]);
        let mut history = base.clone();
        let got = ParsedEvent::decode(&event)
            .and_then(ParsedEvent::verify)
            .and_then(|event| history.admit(&event, &body));
        let got = got.map_err(|refusal| {
            assert_eq!(refusal.event, EventId::of(&event), "{name}");
            refusal.reason.word()
        });
        assert_eq!(got.err(), case["reason"].as_str(), "{name}");
        let held = usize::from(case["reason"].is_null());
        assert_eq!(history.len(), base.len() + held, "{name}");
        assert_eq!(history.get(EventId::of(&event)).is_some(), held == 1, "{name}");
    }
}

#[test]
fn heads_that_are_not_held_are_named() {
    let history = ledger("one-author.car").history;
    let id = EventId([7; 32]);
    for (cut, certified) in [
        (Cut::Heads(vec![id]), vec![]),
        (Cut::Everything, vec![Cut::Everything, Cut::Heads(vec![id])]),
    ] {
        assert_eq!(history.view(&cut, &certified).err(), Some(UnknownEvent(id)));
    }
    assert_eq!(history.erased(&[Cut::Heads(vec![id])]).err(), Some(UnknownEvent(id)));
}

/// Section 1: a value that is missing, malformed or another author's cannot be read.
#[test]
fn openings_of_others_show_nothing() {
    let author = AuthorKey([1; 32]);
    let opening = quipu_merge::Opening {
        author,
        salt: [0; 16],
        content: quipu_merge::Content::Inline(b"x".to_vec()),
    };
    let (id, mut block) = opening.seal();
    let dot = Dot { lane: Lane(0), seq: Seq::FIRST };
    let value = |author| ValueRef { dot, slot: 0, author, opening: id };
    assert_eq!(Shown::of(value(author), &block), Shown::Bytes(b"x".to_vec()));
    assert_eq!(Shown::of(value(AuthorKey([2; 32])), &block), Shown::Nothing);
    block.push(0);
    let malformed = ValueRef { opening: OpeningId::of(&block), ..value(author) };
    assert_eq!(Shown::of(malformed, &block), Shown::Nothing);
}
