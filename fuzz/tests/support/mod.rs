//! Reads the vectors: files of blocks, and what an independent implementation made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ipld_core::ipld::Ipld;
use quipu_fuzz::{Model, ModelCut};
use quipu_merge::{AuthorKey, BlockId, EventId, ParsedEvent, Reason};
use serde_json::Value;

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
        assert_eq!(model.admit(&signed, body), Ok(()), "{id} in {name}");
    }
    model
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
