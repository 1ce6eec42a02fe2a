//! Reads the vectors: files of blocks, and what an independent implementation made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ipld_core::ipld::Ipld;
use quipu_fuzz::{Model, ModelCut};
use quipu_merge::{AuthorKey, BlockId, Body, EventId, Genesis, ParsedEvent, Reason};
use serde_json::Value;

/// Files whose genesis the specification refuses.
const UNSORTED: [&str; 2] = ["members.car", "members-uncertified.car"];

/// The blocks of an archive, and its roots.
pub struct Archive {
    pub roots: Vec<BlockId>,
    pub blocks: BTreeMap<BlockId, Vec<u8>>,
}

pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../merge/tests/vectors")
}

pub fn json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(vectors().join(name)).unwrap()).unwrap()
}

/// The names of the files that describe valid ledgers.
pub fn valid_names() -> Vec<String> {
    let files = fs::read_dir(vectors()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names = names
        .filter(|name| name.ends_with(".json") && name != "invalid.json")
        .collect::<Vec<String>>();
    names.sort();
    assert!(names.len() >= 17, "the vectors are not all there");
    names
}

pub fn archive(name: &str) -> Archive {
    let bytes = fs::read(vectors().join(name)).unwrap();
    let mut rest = bytes.as_slice();
    let header: Ipld = serde_ipld_dagcbor::from_slice(section(&mut rest)).unwrap();
    let Ipld::Map(header) = header else { panic!("the header of {name} is not a map") };
    let Some(Ipld::List(roots)) = header.get("roots") else { panic!("{name} has no roots") };
    let roots = roots.iter().map(|root| match root {
        Ipld::Link(cid) => BlockId::from_bytes(&cid.to_bytes()).unwrap(),
        _ => panic!("a root of {name} is not a link"),
    });
    let roots = roots.collect();
    let mut blocks = BTreeMap::new();
    while !rest.is_empty() {
        let (cid, block) = section(&mut rest).split_at(36);
        let id = BlockId::from_bytes(cid).unwrap();
        assert_eq!(BlockId::of(id.codec, block), id, "a corrupt block in {name}");
        blocks.insert(id, block.to_vec());
    }
    Archive { roots, blocks }
}

/// A model of everything that the roots of an archive refer to.
pub fn model(name: &str) -> Model {
    let Archive { roots, blocks } = archive(name);
    let mut model = Model::new();
    let mut events = BTreeMap::new();
    let mut wanted = roots;
    while let Some(id) = wanted.pop() {
        // A root that is no event is a certificate.
        let Ok(parsed) = ParsedEvent::decode(&blocks[&id]) else { continue };
        let time = parsed.event().time;
        wanted.extend(parsed.event().follows().map(EventId::block));
        events.insert((time, id), parsed.verify().unwrap());
    }
    for block in blocks.values() {
        model.opening(block);
    }
    // What follows an event is later than it, so this order is causal.
    for ((_, id), signed) in events {
        let body = &blocks[&signed.event().body.block()];
        let admitted = match unsorted_genesis(name, body) {
            Some(genesis) => {
                assert_eq!(model.admit(&signed, body), Err(Reason::Body), "{id} in {name}");
                model.admit_read(&signed, genesis)
            }
            None => model.admit(&signed, body),
        };
        assert_eq!(admitted, Ok(()), "{id} in {name}");
    }
    model
}

/// The genesis of the two files whose validators descend, against section 1 ("strictly
/// ascending"): the codec refuses it by rule `body`. What the rest of these files says about
/// members holds all the same, so their genesis is read here without that rule.
fn unsorted_genesis(name: &str, body: &[u8]) -> Option<Body> {
    if !UNSORTED.contains(&name) {
        return None;
    }
    let body: Ipld = serde_ipld_dagcbor::from_slice(body).unwrap();
    let Ipld::List(operations) = body else { panic!("a body of {name} is not a list") };
    let Some(Ipld::Map(map)) = operations.first() else { panic!("no operation in {name}") };
    if map["op"] != Ipld::String("genesis".to_owned()) {
        return None;
    }
    let text = |field: &str| match &map[field] {
        Ipld::String(text) => text.clone(),
        _ => panic!("{field} of {name} is not text"),
    };
    let author = |key: &Ipld| match key {
        Ipld::Bytes(key) => AuthorKey(key.as_slice().try_into().unwrap()),
        _ => panic!("an author of {name} is not a key"),
    };
    let authors = |field: &str| match &map[field] {
        Ipld::List(keys) => keys.iter().map(author).collect::<Vec<AuthorKey>>(),
        _ => panic!("{field} of {name} is not a list"),
    };
    let validators = authors("validators");
    assert!(!validators.is_sorted(), "{name} keeps to section 1 by now");
    Some(Body::Genesis(Genesis {
        name: text("name"),
        policy: text("policy").parse().unwrap(),
        forks: text("forks").parse().unwrap(),
        admins: authors("admins"),
        validators,
    }))
}

pub fn ids(list: &Value) -> Vec<EventId> {
    let list = list.as_array().unwrap().iter();
    list.map(|id| id.as_str().unwrap().parse().unwrap()).collect()
}

pub fn keys(list: &Value) -> Vec<AuthorKey> {
    let list = list.as_array().unwrap().iter();
    list.map(|key| key.as_str().unwrap().parse().unwrap()).collect()
}

pub fn clock(map: &Value) -> BTreeMap<AuthorKey, u64> {
    let map = map.as_object().unwrap().iter();
    map.map(|(author, seq)| (author.parse().unwrap(), seq.as_u64().unwrap())).collect()
}

/// The cut that a case is about.
pub fn cut(at: &Value) -> ModelCut {
    if at.is_null() {
        ModelCut::All
    } else if let Some(heads) = at.get("heads") {
        ModelCut::Heads(ids(heads))
    } else if let Some(limit) = at.get("clock") {
        ModelCut::Clock(clock(limit))
    } else {
        ModelCut::Time(at["time"].as_u64().unwrap())
    }
}

/// The certified cuts of a file.
pub fn certified(doc: &Value) -> Vec<Vec<EventId>> {
    doc["certified"].as_array().unwrap().iter().map(|cut| ids(&cut["heads"])).collect()
}

pub fn hex(text: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_str().unwrap().as_bytes()).unwrap()
}

/// Checks an event by every rule of section 2.
pub fn admit(model: &mut Model, event: &[u8], body: &[u8]) -> Result<(), Reason> {
    let parsed = ParsedEvent::decode(event).map_err(|refusal| refusal.reason)?;
    let signed = parsed.verify().map_err(|refusal| refusal.reason)?;
    model.admit(&signed, body)
}

/// The first `len` bytes of the rest, after their length.
fn section<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (mut len, mut shift) = (0, 0);
    loop {
        let (&byte, after) = rest.split_first().unwrap();
        *rest = after;
        len |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            break;
        }
    }
    let (section, after) = rest.split_at(len);
    *rest = after;
    section
}
