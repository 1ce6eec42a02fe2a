//! What can be read of a store.

use std::collections::BTreeMap;

use quipu_merge::{EventId, Key, ProvedKey, Shown, Trust};
use quipu_store::{Ledger, ProveFrom, ReadError, Snapshot};
use serde_json::{Map, Value, json};

/// What a store says.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The state, read key by key; in the shape of a dump, void events and the root aside.
    pub state: Value,
    /// The same, folded from the events; null where a shallow store cannot tell which are void.
    folded: Value,
    /// What is certified last.
    certified: String,
    /// What proofs show of each key under the trust in genesis alone, values aside.
    proofs: BTreeMap<String, Value>,
    /// What else is read of each key.
    details: BTreeMap<String, String>,
}

impl Reading {
    /// Reads all there is, by every way that leads to it.
    pub fn of(ledger: &Ledger) -> Self {
        let snapshot = ledger.snapshot().expect("a snapshot");
        let folded = match snapshot.dump(&[]) {
            Ok(dump) => json!(dump),
            Err(ReadError::VoidUnknown { .. }) => Value::Null,
            Err(error) => panic!("the state cannot be folded: {error}"),
        };
        let tip = (snapshot.certified_tip(), snapshot.certified_len(), snapshot.next_validators());
        let certified = format!("{tip:?}");
        let state = overview(&snapshot, ledger.id());
        let (proofs, details) = (BTreeMap::new(), BTreeMap::new());
        let mut this = Self { state, folded, certified, proofs, details };
        let mut names = vec!["nothing".to_owned()];
        let listed = snapshot.keys("", |name, _| {
            names.push(name.to_owned());
            true
        });
        listed.expect("keys can be listed");
        for name in names {
            this.proofs.insert(name.clone(), proof(&snapshot, ledger.id(), &name));
            this.details.insert(name.clone(), key(&snapshot, &name, &mut this.state));
        }
        this
    }

    /// Fails where another reading says something else; of all that there is, it shows that.
    pub fn assert_same(&self, other: &Self) {
        assert_eq!(self.certified, other.certified);
        for (own, other) in [(&self.state, &other.state), (&self.folded, &other.folded)] {
            let fields = own.as_object().into_iter().flatten();
            fields.for_each(|(name, own)| assert_eq!(*own, other[name], "{name}"));
        }
        for (name, own) in &self.details {
            assert_eq!(Some(own), other.details.get(name), "{name}");
        }
        for (name, own) in &self.proofs {
            assert_eq!(Some(own), other.proofs.get(name), "{name}");
        }
        assert!(self == other, "something more");
    }

    /// Takes out what only the events below can show.
    pub fn hide_said(&mut self) {
        hide_values(&mut self.state);
        self.folded = Value::Null;
        for field in ["version", "forks"] {
            self.state[field] = Value::Null;
        }
    }

    /// Takes out the values that another reading lacks.
    pub fn hide_lacking(&mut self, other: &mut Self) {
        let states = [(&mut self.state, &mut other.state), (&mut self.folded, &mut other.folded)];
        for (own, other) in states {
            for (own, other) in values_of(own).into_iter().zip(values_of(other)) {
                if other.is_null() {
                    *own = Value::Null;
                }
            }
        }
    }
}

/// Takes out of a state what is not certified, but can only be lost.
pub fn hide_values(state: &mut Value) {
    values_of(state).into_iter().for_each(|value| *value = Value::Null);
}

/// The values in a state, in its order.
fn values_of(state: &mut Value) -> Vec<&mut Value> {
    let mut values = Vec::new();
    for (field, content) in state.as_object_mut().into_iter().flatten() {
        let entries = content.as_object_mut().into_iter().flatten();
        let entries = entries.flat_map(|(_, entries)| entries.as_array_mut().into_iter().flatten());
        match field.as_str() {
            "registers" => values.extend(entries.filter_map(|entry| entry.get_mut("value"))),
            "lists" => values.extend(entries),
            _ => {}
        }
    }
    values
}

fn overview(snapshot: &Snapshot<'_>, ledger: EventId) -> Value {
    let heads = snapshot.heads().expect("readable");
    json!({
        "ledger": ledger.to_string(),
        "heads": heads.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "events": snapshot.len().expect("readable"),
        "version": object(snapshot.version()),
        "forks": object(snapshot.forks()),
        "roles": object(snapshot.roles()),
        "registers": {},
        "counters": {},
        "sets": {},
        "lists": {},
    })
}

fn object<K: ToString, V: Into<Value>>(map: Result<BTreeMap<K, V>, ReadError>) -> Value {
    let entries = map.expect("readable").into_iter();
    Value::Object(
        entries.map(|(key, value)| (key.to_string(), value.into())).collect::<Map<_, _>>(),
    )
}

fn proof(snapshot: &Snapshot<'_>, ledger: EventId, name: &str) -> Value {
    let name = ProvedKey::Key(Key::new(name).expect("a key"));
    let proof = snapshot.prove_key(name, None, ProveFrom::Genesis).expect("a proof");
    let proven = proof.check(Trust::Genesis(ledger)).expect("a proof that holds");
    let mut shown = serde_json::to_value(&proven).expect("what is shown can be printed");
    // It shows those whose openings are at hand.
    hide_named_value(&mut shown);
    shown
}

fn hide_named_value(shown: &mut Value) {
    match shown {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, content)| match &**name {
            "value" => *content = Value::Null,
            _ => hide_named_value(content),
        }),
        Value::Array(entries) => entries.iter_mut().for_each(hide_named_value),
        _ => {}
    }
}

/// Reads a key into a state, and tells what has no place there.
fn key(snapshot: &Snapshot<'_>, name: &str, state: &mut Value) -> String {
    let (mut members, mut entries, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let visited = snapshot.set(name, |member| {
        members.push(member.to_vec());
        true
    });
    if visited.expect("readable") {
        let shown = members.iter().map(|member| json!(Shown::Bytes(member.clone())));
        state["sets"][name] = shown.collect();
    }
    let adds = members.iter().map(|member| snapshot.member_adds(name, member).expect("readable"));
    let adds = adds.collect::<Vec<_>>();
    let writes = snapshot.register(name).expect("readable");
    let times = writes.iter().map(|write| (write.time, write.void)).collect::<Vec<_>>();
    if !writes.is_empty() {
        let shown = writes.into_iter().map(|write| {
            let value = write.value.map_or(Value::Null, |value| json!(Shown::from(value)));
            json!({ "event": write.event.to_string(), "value": value })
        });
        state["registers"][name] = shown.collect();
    }
    let visited = snapshot.list(name, |element| {
        entries.push(element.event);
        values.push(json!(Shown::from(element.value)));
        true
    });
    if visited.expect("readable") {
        state["lists"][name] = values.into();
    }
    if let Some(sum) = snapshot.counter(name).expect("readable") {
        state["counters"][name] = sum.to_string().into();
    }
    let conflicts = snapshot.conflicts(name).expect("readable");
    format!("{adds:?} {times:?} {conflicts:?} {entries:?}")
}
