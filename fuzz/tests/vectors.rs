//! The model against what an independent implementation of the specification wrote down.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has done its work"
)]

mod support;

use data_encoding::HEXLOWER;
use ipld_core::ipld::Ipld;
use quipu_fuzz::{Model, ModelCut, log_root};
use quipu_merge::EventId;
use serde_json::{Value, json};
use support::{certified, clock, cut, hex, ids, keys};

/// The checkpoint (file, place in its chain) whose cut does not contain the one before.
const SHRINKS: (&str, usize) = ("checkpoints.json", 1);

/// Runs `check` on every valid ledger.
fn on_each(check: impl Fn(&str, &Value, &Model)) {
    for name in support::valid_names() {
        let doc = support::json(&name);
        check(&name, &doc, &support::model(doc["car"].as_str().unwrap()));
    }
}

#[test]
fn dumps() {
    on_each(|name, doc, model| {
        for case in doc["cases"].as_array().unwrap() {
            let dump = model.dump(&cut(&case["at"]), &certified(doc));
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
    on_each(|name, doc, model| {
        // `order` is what a replica without any certificate sees.
        assert_eq!(model.order(&ModelCut::All, &[]), ids(&doc["order"]), "order of {name}");
        let order = model.order(&ModelCut::All, &certified(doc));
        assert_eq!(order, ids(&doc["certified_order"]), "certified order of {name}");
        for (id, want) in doc["clocks"].as_object().unwrap() {
            let got = model.clocks(id.parse().unwrap());
            assert_eq!(got, clock(want), "clock of {id} in {name}");
        }
    });
}

#[test]
fn validators() {
    on_each(|name, doc, model| {
        let got = model.validators(&ModelCut::All, &certified(doc));
        assert_eq!(got, keys(&doc["validators"]), "validators of {name}");
    });
}

#[test]
fn logs() {
    on_each(|name, doc, model| {
        // One size per certified cut, then that of everything held. What is certified stays, so
        // a cut counts with all cuts before it.
        let order = model.order(&ModelCut::All, &certified(doc));
        let cuts = certified(doc);
        let until = (1..=cuts.len()).map(|i| ModelCut::Heads(cuts[..i].concat()));
        let sizes = until.chain([ModelCut::All]).map(|cut| model.order(&cut, &[]).len());
        let sizes = sizes.collect::<Vec<usize>>();
        assert_eq!(json!(sizes), doc["log"]["sizes"], "sizes of {name}");
        let roots = sizes.iter().map(|&size| HEXLOWER.encode(&log_root(&order[..size])));
        assert_eq!(json!(roots.collect::<Vec<String>>()), doc["log"]["roots"], "roots of {name}");
    });
}

#[test]
fn checkpoints() {
    on_each(|name, doc, model| {
        let certified = certified(doc);
        let mut current = Vec::new();
        for (height, checkpoint) in doc["chain"].as_array().into_iter().flatten().enumerate() {
            let heads = ids(&checkpoint["heads"]);
            let at = ModelCut::Heads(heads.clone());
            let before = &certified[..height];
            let order = model.order(&at, before);
            let log = ModelCut::Heads(certified[..=height].concat());
            let log = model.order(&log, &certified[..=height]);
            // Section 7 wants each cut to contain the one before, so that its size is the log's
            // length. One checkpoint here does not: it counts its own cut, but its root is that
            // of the log, which is longer.
            let contains = log.len() == order.len();
            assert_eq!(contains, (name, height) != SHRINKS, "{name} at {height}");
            let block = serde_ipld_dagcbor::from_slice(&hex(&checkpoint["checkpoint"])).unwrap();
            let Ipld::Map(block) = block else { panic!("a checkpoint of {name} is not a map") };
            assert_eq!(model.heads(&at), heads);
            assert_eq!(block["size"], Ipld::Integer(order.len() as i128));
            assert_eq!(block["root"], Ipld::Bytes(log_root(&log).to_vec()));
            assert_eq!(block["state"], Ipld::Bytes(model.root(&at, before).to_vec()));
            // What a cut's own certificate says about it, its state does not depend on.
            assert_eq!(model.root(&at, before), model.root(&at, &certified[..=height]));
            if height == 0 {
                let genesis = model.order(&ModelCut::All, &[]).into_iter().take(1).collect();
                current = model.validators(&ModelCut::Heads(genesis), &[]);
            }
            assert_eq!(current, keys(&checkpoint["validators"]), "{name} at {height}");
            current = model.next_validators(&at, before, current);
            let next = current.iter().map(|key| Ipld::Bytes(key.0.to_vec())).collect();
            let next = serde_ipld_dagcbor::to_vec(&Ipld::List(next)).unwrap();
            assert_eq!(next, hex(&checkpoint["next_validators"]), "{name} at {height}");
        }
    });
}

#[test]
fn refusals() {
    let doc = support::json("invalid.json");
    let base = support::model(doc["car"].as_str().unwrap());
    for case in doc["events"].as_array().unwrap() {
        let mut model = base.clone();
        let got = support::admit(&mut model, &hex(&case["event"]), &hex(&case["body"]));
        let want = case["reason"].as_str();
        assert_eq!(got.err().map(|reason| reason.word()), want, "{}", case["name"]);
        let grown = model.order(&ModelCut::All, &[]).len() - base.order(&ModelCut::All, &[]).len();
        assert_eq!(grown, usize::from(want.is_none()), "{}", case["name"]);
        let id = EventId::of(&hex(&case["event"]));
        assert_eq!(model.holds_event(id), want.is_none(), "{}", case["name"]);
    }
}
