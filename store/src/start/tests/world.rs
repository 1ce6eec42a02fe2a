//! A small certified ledger, and its start file frame by frame.

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, Body, BodyId, Certificate, Content, Event, EventId, ForkPolicy, Key, Member, Micros,
    Opening, OpeningId, Operation, Policy, Role, Round, SALT_LEN, Seq, Vote, VoteType,
};

use super::super::chapter::{Chapter, Item};
use super::super::format::{LaneRecord, ListedRecord, StepRecord};
use super::super::frames::{FrameReader, FrameWriter, Tag};
use super::super::{StartError, StartInfo, StartOptions, build};
use crate::certify::{Acceptance, CertifiedCheckpoint, Derivation};
use crate::db::{Db, Tuning};
use crate::incoming::Incoming;
use crate::ledger::Ledger;
use crate::options::{Durability, NewLedger, Options};
use crate::shallow::Below;

pub const OPTIONS: StartOptions = StartOptions { below: Below::Pruned, ledger: None };

pub type Frames = Vec<(Tag, Vec<u8>)>;

/// An author whose events are signed by hand.
pub struct Hand {
    key: SigningKey,
    time: u64,
}

impl Hand {
    pub fn author(&self) -> AuthorKey {
        AuthorKey(self.key.verifying_key().to_bytes())
    }

    pub fn opening(&self, value: &[u8]) -> (OpeningId, Vec<u8>) {
        let content = Content::Inline(value.to_vec());
        Opening { author: self.author(), salt: [7; SALT_LEN], content }.seal()
    }

    /// Admits an event that puts or appends these values.
    pub fn write(
        &mut self,
        ledger: &Ledger,
        prev: Option<(EventId, u64)>,
        parents: &[EventId],
        writes: &[(&str, &str, &[u8])],
    ) -> EventId {
        let snapshot = ledger.snapshot().unwrap();
        let times = parents.iter().map(|parent| snapshot.event(*parent).unwrap().time.0);
        self.time = times.fold(self.time, u64::max) + 1;
        let (mut operations, mut openings) = (Vec::new(), Vec::new());
        for (slot, (kind, key, value)) in (0..).zip(writes) {
            let key = Key::new(key).unwrap();
            let (id, opening) = self.opening(value);
            operations.push(match *kind {
                "put" => Operation::Put { key, value: id },
                "append" => Operation::Append { key, value: id },
                _ => Operation::Add { key, member: Member::new(value).unwrap() },
            });
            if *kind != "add" {
                openings.push((slot, opening));
            }
        }
        let body = Body::Data(operations).encode().unwrap();
        let event = Event {
            author: self.author(),
            seq: Seq(prev.map_or(1, |(_, seq)| seq + 1)),
            prev: prev.map(|(id, _)| id),
            parents: parents.to_vec(),
            time: Micros(self.time),
            body: BodyId::of(&body),
            size: u32::try_from(body.len()).unwrap(),
        };
        let event = event.sign(&self.key).unwrap();
        let incoming = Incoming { event: event.bytes().to_vec(), body: Some(body), openings };
        let outcomes = ledger.admit(vec![incoming]).unwrap().outcomes;
        assert!(matches!(outcomes[..], [Ok(crate::Outcome::Admitted)]), "{outcomes:?}");
        event.id()
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub source: Ledger,
    pub hand: Hand,
    /// The hand's events: the first, then of the longer branch up to its last, then the other's.
    pub by_hand: Vec<EventId>,
    pub frames: Frames,
}

fn validators() -> [SigningKey; 2] {
    [1, 2].map(|number| SigningKey::from_bytes(&[number; 32]))
}

fn author(key: &SigningKey) -> AuthorKey {
    AuthorKey(key.verifying_key().to_bytes())
}

pub fn certify(ledger: &Ledger) {
    let snapshot = ledger.snapshot().unwrap();
    let derived = ledger.derive(&snapshot.heads().unwrap()).unwrap();
    let Derivation { checkpoint, cut, validators: named, .. } = derived;
    let (id, _) = checkpoint.seal().unwrap();
    let (height, round, value) = (checkpoint.height, Round(0), Some(id));
    let (of, vote_type) = (checkpoint.ledger, VoteType::Precommit);
    let vote = Vote { ledger: of, height, round, vote_type, value };
    let sign = |validator: &AuthorKey| {
        let key = validators().into_iter().find(|key| author(key) == *validator)?;
        Some((*validator, vote.sign(&key).unwrap()))
    };
    let signatures = snapshot.next_validators().iter().filter_map(sign).collect();
    let certificate = Certificate { checkpoint: id, height, round, signatures };
    let certified = CertifiedCheckpoint { checkpoint, certificate, cut, validators: named };
    assert_eq!(ledger.accept(certified).unwrap(), Acceptance::Counted);
}

fn put(ledger: &Ledger, key: &str, value: &[u8]) -> EventId {
    let mut transaction = ledger.transaction();
    transaction.put(key, value).unwrap();
    transaction.commit().unwrap().event
}

impl World {
    /// Two authors, one of which forks; something of every kind; four checkpoints, of which the second
    /// names another validator.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = validators();
        let new = NewLedger {
            policy: Policy::Members,
            forks: ForkPolicy::Keep,
            validators: Some(vec![author(&first)]),
            ..NewLedger::default()
        };
        let options = Options::new().durability(Durability::Relaxed).min_free(0);
        let source = options.create(dir.path().join("source"), &new).unwrap();
        let key = SigningKey::from_bytes(&[9; 32]);
        let granted = source.grant(author(&key), Role::Writer).unwrap().event;
        let time = source.snapshot().unwrap().event(granted).unwrap().time.0;
        let mut hand = Hand { key, time };
        let a = hand.write(&source, None, &[granted], &[("put", "shared", b"by hand")]);
        let secret = [("put", "secret", &b"secret"[..]), ("put", "gone", b"gone")];
        let b = hand.write(&source, Some((a, 1)), &[], &secret);
        certify(&source);
        source.grant(author(&second), Role::Validator).unwrap();
        put(&source, "plain", b"plain");
        certify(&source);
        source.redact(b).unwrap();
        let mut transaction = source.transaction();
        transaction.inc("count", 5).unwrap().append("list", b"one").unwrap();
        transaction.append("list", b"two").unwrap();
        transaction.add("set", b"m").unwrap().add("set", b"n").unwrap();
        transaction.put("medium", &[1; 500]).unwrap().put("long", &[2; 9000]).unwrap();
        transaction.commit().unwrap();
        certify(&source);
        // The hand forks: neither has seen the other, and both stand in one register.
        let seen = source.heads(9);
        let mine =
            [("put", "forked", &b"here"[..]), ("append", "list", b"three"), ("add", "set", b"m")];
        let c = hand.write(&source, Some((b, 2)), &seen, &mine);
        let d = hand.write(&source, Some((c, 3)), &[], &[("put", "other", b"d")]);
        let e = hand.write(
            &source,
            Some((b, 2)),
            &seen,
            &[("put", "forked", b"there"), ("add", "set", b"m")],
        );
        put(&source, "last", b"last");
        certify(&source);
        let mut file = Vec::new();
        source.write_start(&mut file).unwrap();
        let by_hand = vec![a, b, c, d, e];
        Self { dir, source, hand, by_hand, frames: frames_of(&file) }
    }

    /// What comes of these frames.
    pub fn start(&self, frames: &Frames) -> Result<(Db, StartInfo), StartError> {
        self.start_with(frames, &OPTIONS)
    }

    pub fn start_with(
        &self,
        frames: &Frames,
        options: &StartOptions,
    ) -> Result<(Db, StartInfo), StartError> {
        let place = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let tuning = Tuning { cache: 1 << 20, write_buffer: 1 << 20, min_free: Some(0) };
        let db = Db::open(&place.join("db"), true, tuning).unwrap();
        let info = build(&db, &mut file_of(frames).as_slice(), options, &mut |_, _| {})?;
        Ok((db, info))
    }
}

pub fn frames_of(mut file: &[u8]) -> Frames {
    let mut reader = FrameReader::begin(&mut file).unwrap();
    let mut frames = Frames::new();
    while frames.last().is_none_or(|(tag, _)| *tag != Tag::End) {
        frames.push(reader.next().unwrap());
    }
    reader.end().unwrap();
    frames
}

/// The file with these frames, the last of which ends it.
pub fn file_of(frames: &Frames) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = FrameWriter::begin(&mut file).unwrap();
    let (last, before) = frames.split_last().unwrap();
    before.iter().for_each(|(tag, content)| writer.frame(*tag, content).unwrap());
    writer.end(&last.1).unwrap();
    file
}

/// The frames of one kind.
pub fn of_kind(frames: &mut Frames, tag: Tag) -> Vec<&mut Vec<u8>> {
    frames.iter_mut().filter(|(of, _)| *of == tag).map(|(_, content)| content).collect()
}

pub fn step(frames: &mut Frames, at: usize, change: impl FnOnce(&mut StepRecord)) {
    let content = &mut *of_kind(frames, Tag::Step)[at];
    let mut record = StepRecord::decode(content).unwrap();
    change(&mut record);
    *content = record.encode().unwrap();
}

pub fn lane(frames: &mut Frames, at: usize, change: impl FnOnce(&mut LaneRecord)) {
    let content = &mut *of_kind(frames, Tag::Lane)[at];
    let mut record = LaneRecord::decode(content).unwrap();
    change(&mut record);
    *content = record.encode();
}

pub fn listed(frames: &mut Frames, tag: Tag, at: usize, change: impl FnOnce(&mut ListedRecord)) {
    let content = &mut *of_kind(frames, tag)[at];
    let mut record = ListedRecord::decode(content).unwrap();
    change(&mut record);
    *content = record.encode();
}

pub fn chapter(frames: &mut Frames, change: impl FnOnce(&mut Chapter)) {
    let content = &mut *of_kind(frames, Tag::Chapter)[0];
    let mut record = Chapter::decode(content).unwrap();
    change(&mut record);
    *content = record.encode();
}

/// Where a key begins in a chapter.
pub fn key_at(chapter: &Chapter, kind: u8, name: &str) -> usize {
    let is = |item: &Item| {
        let (of, key) = match item {
            Item::Counter { key, .. } => (b'c', key),
            Item::List { key } => (b'l', key),
            Item::Member { key, .. } => (b'm', key),
            Item::Register { key } => (b'r', key),
            _ => return false,
        };
        (of, key.as_str()) == (kind, name)
    };
    chapter.items.iter().position(is).unwrap()
}
