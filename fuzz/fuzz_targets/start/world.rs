//! A small ledger that certifies, and an honest start file of each of its checkpoints.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use ed25519_dalek::SigningKey;
use quipu_fuzz::{Dice, History, Means, Model, ModelCut, Shape, StartFile};
use quipu_merge::{AuthorKey, Body, CarWriter, Certificate, EventId, Round, Vote, VoteType};
use quipu_store::{
    Acceptance, Below, CertifiedCheckpoint, Durability, Ledger, Options, StartInfo, StartOptions,
};
use tempfile::TempDir;

use super::reading::{Reading, hide_values};

/// Authors of a history, all of whose keys are known.
const AUTHORS: u8 = 8;

/// An honest file, and what comes of it.
pub struct Honest {
    pub file: StartFile,
    pub info: StartInfo,
    pub reading: Reading,
    /// The same, when all that the ledger has has come.
    pub after: Reading,
}

/// A ledger, without the store that it was in: whoever fuzzes is ended without a chance to tidy up.
pub struct World {
    pub ledger: EventId,
    /// By height, the first checkpoint first.
    pub honest: Vec<Honest>,
    pub means: Means,
    all: File,
}

pub fn options() -> Options {
    Options::new().durability(Durability::Relaxed).cache(1 << 20).write_buffer(1 << 20).min_free(0)
}

fn author(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}

fn keys() -> impl Iterator<Item = SigningKey> {
    (1..=AUTHORS).map(|number| SigningKey::from_bytes(&[number; 32]))
}

impl World {
    /// The ledger of a seed; the same one each time, but for the source's own key. `None` where nobody can
    /// certify in it.
    pub fn new(seed: u64) -> Option<Self> {
        let mut dice = Dice::seeded(seed);
        let history = History::generate(&mut dice, Shape { authors: 6, events: 45 });
        let cuts = history.certified(&mut dice);
        let (all, dir) = (car(&history), scratch());
        let file = all.try_clone().expect("a file");
        let (source, _) = options()
            .clone_file(dir.path().join("source"), file, &mut |_, _| {})
            .expect("a store of a history");
        let mut honest = Vec::new();
        let (mut forgers, mut room) = (keys().collect::<Vec<_>>(), usize::MAX);
        for (number, cut) in cuts.iter().enumerate() {
            let validators = source.snapshot().expect("readable").next_validators();
            let Some(certified) = next(&source, cut) else { break };
            room = room.min(validators.len().saturating_sub(1) / 3);
            forgers.retain(|key| !validators.contains(&author(key)));
            assert_eq!(source.accept(certified).expect("accepted"), Acceptance::Counted);
            let found = Honest::of(&source, &all);
            check_model(&found.reading, history.model(), &cuts[..=number]);
            honest.push(found);
        }
        // As many validators may lie as they are not enough with.
        let known = forgers.iter().map(author).collect::<Vec<_>>();
        forgers.extend(keys().filter(|key| !known.contains(&author(key))).take(room));
        forgers.push(SigningKey::from_bytes(&[AUTHORS + 1; 32]));
        let means = Means {
            files: honest.iter().map(|honest| honest.file.clone()).collect(),
            events: history.events().iter().map(|event| event.signed.bytes().to_vec()).collect(),
            keys: forgers,
        };
        let ledger = source.id();
        (!honest.is_empty()).then_some(Self { ledger, honest, means, all })
    }

    /// Has a store take in what the ledger has.
    pub fn complete(&self, ledger: &Ledger) {
        complete(ledger, &self.all);
    }
}

impl Honest {
    /// What the source gives, and what comes of it.
    fn of(source: &Ledger, all: &File) -> Self {
        let mut bytes = Vec::new();
        let info = source.write_start(&mut bytes).expect("a file");
        let file = StartFile::parse(&bytes).expect("a file as the page has it");
        assert_eq!(file.seal(), bytes, "put together as it was");
        let dir = scratch();
        let place = dir.path().join("store");
        let (ledger, found) = start(&place, &bytes, source.id()).expect("honest");
        assert_eq!(found, info);
        let reading = Reading::of(&ledger);
        complete(&ledger, all);
        Self { file, info, reading, after: Reading::of(&ledger) }
    }
}

fn complete(ledger: &Ledger, all: &File) {
    let file = all.try_clone().expect("a file");
    ledger.import(file, &mut |_, _| {}).expect("a file of the same ledger");
}
/// Makes a store of a file.
pub fn start(
    place: &Path,
    file: &[u8],
    ledger: EventId,
) -> Result<(Ledger, StartInfo), quipu_store::OpenError> {
    let start = StartOptions { below: Below::Pruned, ledger: Some(ledger) };
    options().start_from(place, &mut &file[..], &start, &mut |_, _| {})
}

/// Stores are made and thrown away by the thousand: in memory, where there is a place for that.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.or_else(|_| tempfile::tempdir()).expect("a scratch folder")
}

/// The next checkpoint over a cut, if enough of its validators have keys.
fn next(ledger: &Ledger, heads: &[EventId]) -> Option<CertifiedCheckpoint> {
    let validators = ledger.snapshot().expect("readable").next_validators();
    let derived = ledger.derive(heads).ok()?;
    let (id, height, round) = (derived.id, derived.checkpoint.height, Round(0));
    let (ledger, vote_type) = (derived.checkpoint.ledger, VoteType::Precommit);
    let vote = Vote { ledger, height, round, vote_type, value: Some(id) };
    let sign = |validator: &AuthorKey| {
        let key = keys().find(|key| author(key) == *validator)?;
        Some((*validator, vote.sign(&key).ok()?))
    };
    let signatures = validators.iter().filter_map(sign).collect::<Vec<_>>();
    let enough = 3 * signatures.len() > 2 * validators.len();
    let certificate = Certificate { checkpoint: id, height, round, signatures };
    let (checkpoint, cut, validators) = (derived.checkpoint, derived.cut, derived.validators);
    enough.then_some(CertifiedCheckpoint { checkpoint, certificate, cut, validators })
}

/// What an honest file comes to is what the model says of the cut; values may be erased by what is not
/// certified, and are then not in the file.
fn check_model(reading: &Reading, model: &Model, cuts: &[Vec<EventId>]) {
    let last = ModelCut::Heads(cuts.last().cloned().unwrap_or_default());
    let (mut want, mut found) = (model.dump(&last, cuts), reading.state.clone());
    for field in ["void", "state_root"] {
        want.as_object_mut().and_then(|state| state.remove(field));
    }
    hide_values(&mut want);
    hide_values(&mut found);
    assert_eq!(found, want);
}

/// All of a history as a file.
fn car(history: &History) -> File {
    let roots = history.model().heads(&ModelCut::All);
    let roots = roots.iter().map(|root| root.block()).collect::<Vec<_>>();
    let file = tempfile::tempfile().expect("a scratch file");
    let mut car = CarWriter::new(file, &roots).expect("a file");
    let mut known = BTreeSet::new();
    for event in history.events() {
        let values = Body::decode(&event.body).expect("a body");
        let values =
            values.data().iter().filter_map(|operation| operation.value()).collect::<Vec<_>>();
        let openings = event.openings.iter().filter(|(id, _)| values.contains(id));
        let openings = openings.map(|(id, opening)| (id.block(), opening));
        let own = [
            (event.signed.id().block(), &event.signed.bytes().to_vec()),
            (event.signed.event().body.block(), &event.body),
        ];
        for (id, block) in own.into_iter().chain(openings) {
            if known.insert(id) {
                car.block(id, block).expect("written");
            }
        }
    }
    let mut file = car.finish().expect("written");
    file.flush().and_then(|()| file.rewind()).expect("read again");
    file
}
