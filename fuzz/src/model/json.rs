//! Section 9: the state of a cut as one object.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64_NOPAD, HEXLOWER};
use quipu_merge::{AuthorKey, Content, EventId, Opening, OpeningId};
use serde_json::{Map, Value, json};

use super::cut::ModelCut;
use super::state::{Leaf, Written};
use super::tree::state_root;
use super::{Index, Model};

impl Model {
    /// The state of a cut, with these certified cuts known, as section 9 prints it.
    pub fn dump(&self, cut: &ModelCut, certified: &[Vec<EventId>]) -> Value {
        let set = self.events_of(cut);
        let numbers = self.numbers(certified);
        let verdicts = self.judge(&set, &numbers);
        let state = self.fold(&set, &numbers, &verdicts);
        let erased = self.erased(certified);
        let leaves = self.leaves_of(&state);
        let root = state_root(&leaves.iter().map(Leaf::hashes).collect::<Vec<_>>());
        let void = verdicts.void.iter().map(|&e| self.text(e)).collect::<BTreeSet<String>>();
        let entry = |&(e, opening): &Written| {
            let value = self.value(e, opening, &erased);
            json!({ "event": self.text(e), "value": value })
        };
        let value = |&(e, opening): &Written| self.value(e, opening, &erased);
        json!({
            "ledger": self.held.first().map(|genesis| genesis.id.to_string()),
            "heads": texts(self.heads_of(&set)),
            "events": set.len(),
            "version": object(&self.largest_seqs(&set), |seq| json!(seq)),
            "forks": object(&self.forks(cut), |seq| json!(seq)),
            "void": void,
            "roles": object(&state.roles, |words| json!(words)),
            "registers": object(&state.registers, |all| all.iter().map(entry).collect()),
            "counters": object(&state.counters, |sum| json!(sum.to_string())),
            "sets": object(&state.sets, |members| members.keys().map(|m| bytes(m)).collect()),
            "lists": object(&state.lists, |all| all.iter().map(value).collect()),
            "state_root": HEXLOWER.encode(&root),
        })
    }

    fn text(&self, e: Index) -> String {
        self.held[e].id.to_string()
    }

    /// What an opening says in event `e`: null when it is erased, cannot be read, or is not at
    /// hand.
    fn value(
        &self,
        e: Index,
        opening: OpeningId,
        erased: &BTreeSet<(AuthorKey, OpeningId)>,
    ) -> Value {
        let author = self.held[e].event.author;
        let read = self.openings.get(&opening).and_then(|bytes| Opening::decode(bytes).ok());
        match read {
            Some(read) if read.author == author && !erased.contains(&(author, opening)) => {
                match read.content {
                    Content::Inline(content) => bytes(&content),
                    Content::Linked(link) => json!({ "/": link.block.to_string() }),
                }
            }
            _ => Value::Null,
        }
    }
}

/// Bytes as text where they are UTF-8.
fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "/": { "bytes": BASE64_NOPAD.encode(bytes) } }),
    }
}

fn texts(ids: Vec<EventId>) -> Value {
    ids.into_iter().map(|id| id.to_string()).collect()
}

fn object<K: ToString, V>(map: &BTreeMap<K, V>, value: impl Fn(&V) -> Value) -> Value {
    Value::Object(map.iter().map(|(k, v)| (k.to_string(), value(v))).collect::<Map<_, _>>())
}
