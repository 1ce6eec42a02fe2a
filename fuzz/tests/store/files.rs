//! Stores in directories that go away, and CAR files made by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use quipu_fuzz::{Dice, GeneratedEvent, History, Model, ModelCut};
use quipu_merge::{BlockId, Body, CarWriter, Control, EventId, OpeningId};
use quipu_store::{Durability, Ledger, MergeError, MergeReport, Options};
use tempfile::TempDir;

/// Fast enough for many seeds: nothing here pulls the plug.
pub fn relaxed() -> Options {
    Options::new().durability(Durability::Relaxed).cache(1 << 20).write_buffer(1 << 20)
}

/// A directory for stores, which goes away with it.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A file with these bytes, to be read from its beginning.
pub fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// A CAR with these roots and blocks, whether they are what their ids say or not.
pub fn car(roots: &[EventId], blocks: &[(BlockId, Vec<u8>)]) -> File {
    let roots = roots.iter().map(|root| root.block()).collect::<Vec<BlockId>>();
    let mut car = CarWriter::new(Vec::new(), &roots).unwrap().finish().unwrap();
    for (id, bytes) in blocks {
        let id = id.to_bytes();
        let mut len = id.len() + bytes.len();
        while len > 127 {
            car.push(len as u8 | 128);
            len >>= 7;
        }
        car.push(len as u8);
        car.extend_from_slice(&id);
        car.extend_from_slice(bytes);
    }
    file_of(&car)
}

pub fn import(ledger: &Ledger, file: File) -> Result<MergeReport, MergeError> {
    ledger.import(file, &mut |_, _| {})
}

pub fn merge(to: &Ledger, from: &Ledger) -> MergeReport {
    to.merge(from, &mut |_, _| {}).unwrap()
}

/// Copies a closed store as people copy directories.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Files cut out of a history.
pub struct Archive<'h> {
    history: &'h History,
    by_id: BTreeMap<EventId, &'h GeneratedEvent>,
    /// The openings that exist; the others never come.
    openings: BTreeMap<OpeningId, Vec<u8>>,
}

impl<'h> Archive<'h> {
    /// Leaves some openings out of every file.
    pub fn new(history: &'h History, dice: &mut Dice) -> Self {
        let by_id = history.events().iter().map(|event| (event.signed.id(), event)).collect();
        let all = history.events().iter().flat_map(|event| event.openings.iter().cloned());
        let mut openings = all.collect::<BTreeMap<OpeningId, Vec<u8>>>();
        openings.retain(|_, _| !dice.chance(10));
        for id in perhaps_dropped(history) {
            openings.remove(&id);
        }
        Self { history, by_id, openings }
    }

    /// Some heads and all that they follow.
    pub fn some_events(&self, dice: &mut Dice) -> (Vec<EventId>, BTreeSet<EventId>) {
        let heads = (0..=dice.below(2)).filter_map(|_| dice.pick(self.history.events()));
        let heads = heads.map(|event| event.signed.id()).collect::<BTreeSet<EventId>>();
        let mut events = heads.clone();
        for &head in &heads {
            events.extend(self.history.model().ancestors(head));
        }
        (heads.into_iter().collect(), events)
    }

    /// The blocks of these events in random order, with the openings that exist.
    pub fn blocks(&self, events: &BTreeSet<EventId>, dice: &mut Dice) -> Vec<(BlockId, Vec<u8>)> {
        let mut blocks = BTreeMap::<BlockId, Vec<u8>>::new();
        for event in events.iter().map(|id| self.by_id[id]) {
            blocks.insert(event.signed.id().block(), event.signed.bytes().to_vec());
            blocks.insert(event.signed.event().body.block(), event.body.clone());
            for id in values(&event.body) {
                blocks.extend(self.openings.get(&id).map(|bytes| (id.block(), bytes.clone())));
            }
        }
        let mut blocks = blocks.into_iter().collect::<Vec<_>>();
        for at in (1..blocks.len()).rev() {
            blocks.swap(at, dice.below(at + 1));
        }
        blocks
    }

    /// A file of these events.
    pub fn car(&self, heads: &[EventId], events: &BTreeSet<EventId>, dice: &mut Dice) -> File {
        car(heads, &self.blocks(events, dice))
    }

    /// The model that has been given these events.
    pub fn model(&self, events: &BTreeSet<EventId>) -> Model {
        let mut model = Model::new();
        for event in self.history.events().iter().filter(|e| events.contains(&e.signed.id())) {
            assert_eq!(model.admit(&event.signed, &event.body), Ok(()));
            for id in values(&event.body) {
                if let Some(bytes) = self.openings.get(&id) {
                    model.opening(bytes);
                }
            }
        }
        model
    }
}

/// What a redact erases for good wherever it comes before the revoke that makes it void: whether
/// the bytes are still at hand then depends on the order in which things come.
fn perhaps_dropped(history: &History) -> Vec<OpeningId> {
    let void = history.model().void(&ModelCut::All, &[]);
    let by_id = |id: &EventId| history.events().iter().find(|e| e.signed.id() == *id).unwrap();
    let genesis = Body::decode(&history.events()[0].body).unwrap();
    let uncertifiable = matches!(genesis, Body::Genesis(genesis) if genesis.validators.is_empty());
    let mut dropped = Vec::new();
    for id in void {
        let redacting = by_id(&id);
        for control in Body::decode(&redacting.body).unwrap().control() {
            let Control::Redact { event } = control else { continue };
            let target = by_id(event);
            if uncertifiable || target.signed.event().author == redacting.signed.event().author {
                dropped.extend(values(&target.body));
            }
        }
    }
    dropped
}

fn values(body: &[u8]) -> Vec<OpeningId> {
    let body = Body::decode(body).unwrap();
    body.data().iter().filter_map(|operation| operation.value()).collect()
}
