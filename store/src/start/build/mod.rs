//! Making a shallow store of a start file: everything is written to a database that nobody reads before
//! all of it has been checked.

mod cells;
mod chain;
mod held;
mod listed;
mod state;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use quipu_merge::{
    Authority, CertifiedCuts, Clock, CutNumber, Dot, EventId, LaneInfo, Lanes, LogTree, Seq,
    StoredHashes, Verdicts,
};
use rocksdb::WriteBatch;

use self::chain::Head;
use super::format::Totals;
use super::frames::{FrameReader, Tag};
use super::{StartError, StartInfo, StartOptions};
use crate::bodies::pack_values;
use crate::db::Db;
use crate::error::StorageError;
use crate::lookup::Stored;
use crate::merge::Progress;
use crate::record::{EventRecord, put_dot, put_number};
use crate::schema::{FORMAT, Family, certified, dot_key, meta};
use crate::shallow::Shallow;

/// A batch is written when it is at least this long, in bytes.
const BATCH_LEN: usize = 4 << 20;

/// Fills a new database from a file.
pub fn build(
    db: &Db,
    file: &mut dyn Read,
    options: &StartOptions,
    progress: Progress<'_>,
) -> Result<StartInfo, StartError> {
    let frames = FrameReader::begin(file)?;
    let batch = WriteBatch::default();
    let mut input = Input { frames, next: None, progress };
    let head = Head::read(&mut input, options)?;
    let mut build = Build {
        out: Out { db, batch },
        head,
        lanes: Lanes::default(),
        special: BTreeMap::new(),
        ids: BTreeMap::new(),
        numbers: BTreeMap::new(),
    };
    build.write_head()?;
    build.take_lanes(&mut input)?;
    build.take_listed(&mut input)?;
    build.take_peaks(&mut input)?;
    build.write_meta(options)?;
    let judged = build.judge()?;
    let totals = build.take_state(&mut input, &judged)?;
    build.out.flush()?;
    build.check_held()?;
    build.out.flush()?;
    let content = input.expect(Tag::End)?;
    if Totals::decode(&content)? != totals {
        return Err(StartError::contradiction("it says that there is more, or less"));
    }
    let len = input.frames.end()?;
    let last = &build.head.last;
    let (height, events) = (last.checkpoint.height, last.checkpoint.size);
    let checkpoint = last.certificate.checkpoint;
    Ok(StartInfo { height, checkpoint, events, keys: totals.keys, len })
}

/// The frames of a file, one ahead.
struct Input<'i> {
    frames: FrameReader<'i>,
    next: Option<(Tag, Vec<u8>)>,
    progress: Progress<'i>,
}

impl Input<'_> {
    /// The next frame, if it is of this kind.
    fn take(&mut self, tag: Tag) -> Result<Option<Vec<u8>>, StartError> {
        let next = match self.next.take() {
            Some(next) => next,
            None => {
                (self.progress)(self.frames.len(), 0);
                self.frames.next()?
            }
        };
        if next.0 == tag {
            return Ok(Some(next.1));
        }
        self.next = Some(next);
        Ok(None)
    }

    fn expect(&mut self, tag: Tag) -> Result<Vec<u8>, StartError> {
        self.take(tag)?.ok_or_else(|| StartError::corrupt(format!("it lacks a frame: {tag:?}")))
    }
}

/// Where everything goes.
struct Out<'d> {
    db: &'d Db,
    batch: WriteBatch,
}

impl Out<'_> {
    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.db.put(&mut self.batch, family, key, value)
    }

    fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), StorageError> {
        self.db.delete(&mut self.batch, family, key)
    }

    /// Writes what there is, where it is much.
    fn flush_some(&mut self) -> Result<(), StorageError> {
        if self.batch.size_in_bytes() < BATCH_LEN { Ok(()) } else { self.flush() }
    }

    /// Writes what there is.
    fn flush(&mut self) -> Result<(), StorageError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.db.write(std::mem::take(&mut self.batch), false)
    }
}

/// An event that comes before the state.
#[derive(Clone, Debug)]
struct Special {
    id: EventId,
    void: bool,
    number: CutNumber,
    kind: SpecialKind,
}

/// What is known of the body of an event that comes before the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpecialKind {
    /// Nothing.
    Other,
    /// It has control operations, and is all here.
    Control,
    /// It is redacted, and what it named is known.
    Redacted,
}

/// A store on its way.
struct Build<'d> {
    out: Out<'d>,
    head: Head,
    lanes: Lanes,
    special: BTreeMap<Dot, Special>,
    /// Where these are.
    ids: BTreeMap<EventId, Dot>,
    /// Numbers of certified cuts, by the last event that is known to be held by each first.
    numbers: BTreeMap<Dot, CutNumber>,
}

/// What the events with control operations come to.
struct Judged {
    verdicts: Verdicts,
    redacted: crate::judge::Redacted,
}

impl Build<'_> {
    /// How far the cut goes on each lane.
    fn floor(&self) -> Clock {
        self.lanes.tips().collect()
    }

    fn lane(&self, dot: Dot) -> Result<&LaneInfo, StartError> {
        let info = self.lanes.table().get(dot.lane);
        let info =
            info.filter(|info| info.first() <= dot.seq && dot.seq.0 <= self.lanes.tip(dot.lane));
        info.ok_or_else(|| {
            StartError::contradiction(format!(
                "event {} on branch {} is not in the cut",
                dot.seq, dot.lane.0
            ))
        })
    }

    /// Writes what says what kind of store it is, and whose branches and heads it has.
    fn write_meta(&mut self, options: &StartOptions) -> Result<(), StartError> {
        let height = self.head.last.checkpoint.height;
        let floor = self.floor();
        let held = self.lanes.table().count(&|lane| floor.seq(lane));
        if held != self.head.last.checkpoint.size {
            return Err(StartError::contradiction(format!(
                "its branches have {held} events, and {} are certified",
                self.head.last.checkpoint.size
            )));
        }
        let mut heads = Vec::new();
        put_number(&mut heads, 1);
        for head in self.head.cut.heads() {
            let dot = self.ids.get(head).filter(|dot| self.lanes.tip(dot.lane) == dot.seq.0);
            let dot = dot
                .ok_or_else(|| StartError::contradiction(format!("head {head} ends no branch")))?;
            put_dot(&mut heads, *dot);
        }
        let ledger = self.head.last.checkpoint.ledger;
        let shallow = Shallow { height, below: options.below, floor };
        self.out.put(Family::Meta, meta::FORMAT, &FORMAT.to_be_bytes())?;
        self.out.put(Family::Meta, meta::LEDGER, &ledger.0)?;
        self.out.put(Family::Meta, meta::HEADS, &heads)?;
        self.out.put(Family::Meta, meta::SHALLOW, &shallow.encode())?;
        self.out.put(Family::Meta, meta::BODIES, &height.0.to_be_bytes())?;
        self.out.put(Family::Meta, meta::REGROWN, &[])?;
        Ok(self.out.flush()?)
    }

    /// Derives what everybody holds, and which events are void, from the events with control operations.
    fn judge(&mut self) -> Result<Judged, StartError> {
        let reader = self.out.db.latest();
        let authority: Authority = crate::load::read_authority(reader, &self.lanes)?;
        let count = self.head.number() + 1;
        let cuts = CertifiedCuts::restore(count, self.numbers.iter().map(|(dot, n)| (*dot, *n)));
        let within = |lane| self.lanes.tip(lane);
        let verdicts = Verdicts::new(&authority, self.lanes.table(), &within, &cuts);
        for (dot, special) in &self.special {
            if special.kind == SpecialKind::Control
                && special.void != verdicts.is_void_control(*dot)
            {
                let what = format!("event {} is not void, or is", special.id);
                return Err(StartError::contradiction(what));
            }
            if special.void {
                self.out.put(Family::Meta, &meta::void(*dot), &[])?;
            }
        }
        let redacted = crate::judge::redacted(&authority, &verdicts);
        self.forget_spared(&redacted)?;
        Ok(Judged { verdicts, redacted })
    }

    /// Forgets what events named that only void redacts name: of theirs, as of others, it matters what
    /// stands, and nobody has marked the rest as missing.
    fn forget_spared(&mut self, redacted: &crate::judge::Redacted) -> Result<(), StartError> {
        let erased: BTreeSet<Dot> = redacted.keys().map(|(.., dot)| *dot).collect();
        let spared = self.special.iter_mut().filter(|(dot, special)| {
            special.kind == SpecialKind::Redacted && !erased.contains(dot)
        });
        for (dot, special) in spared {
            special.kind = SpecialKind::Other;
            let stored = Stored::read(self.out.db.latest(), *dot)?;
            let record = stored.record()?;
            let record = EventRecord { body: &pack_values(&[]), ..record };
            self.out.put(Family::Events, &dot_key(*dot), &record.encode())?;
        }
        Ok(self.out.flush()?)
    }

    /// Reads the hashes of the certified log, of which its tree grows on.
    fn take_peaks(&mut self, input: &mut Input<'_>) -> Result<(), StartError> {
        let peaks = super::format::read_peaks(&input.expect(Tag::Peaks)?)?;
        let checkpoint = &self.head.last.checkpoint;
        let tree = LogTree::restore(checkpoint.size, peaks.clone());
        if tree.is_none_or(|tree| tree.root() != checkpoint.root) {
            return Err(StartError::Log);
        }
        let asked = Asked { peaks: &peaks, places: std::cell::RefCell::default() };
        LogTree::resume(checkpoint.size, &asked).map_err(|_| StartError::Log)?;
        for (place, peak) in asked.places.into_inner().into_iter().zip(peaks) {
            self.out.put(Family::Final, &certified::floor_hash(place), &peak)?;
        }
        Ok(())
    }

    /// Says which cut holds an event first.
    fn number(&mut self, dot: Dot, number: CutNumber) -> Result<(), StartError> {
        if number > self.head.number() {
            return Err(StartError::contradiction("the number of a cut that is not certified"));
        }
        match self.numbers.insert(dot, number) {
            Some(other) if other != number => {
                Err(StartError::contradiction("two numbers of cuts for one event"))
            }
            _ => Ok(()),
        }
    }
}

/// Tells where a tree looks for its hashes: in the order in which it has them.
struct Asked<'p> {
    peaks: &'p [quipu_merge::LogHash],
    places: std::cell::RefCell<Vec<u64>>,
}

impl StoredHashes for Asked<'_> {
    type Error = std::convert::Infallible;

    fn read(&self, index: u64) -> Result<Option<quipu_merge::LogHash>, Self::Error> {
        let mut places = self.places.borrow_mut();
        places.push(index);
        Ok(self.peaks.get(places.len() - 1).copied())
    }
}

/// The first position of a lane.
const FIRST: Dot = Dot { lane: quipu_merge::Lane(0), seq: Seq::FIRST };

/// Events are told apart by where they are and by their ids.
fn twice(id: EventId) -> StartError {
    StartError::contradiction(format!("event {id} is in two places"))
}

impl Out<'_> {
    /// Writes where an event is found by its id and by its time.
    fn write_place(
        &mut self,
        dot: Dot,
        id: EventId,
        time: quipu_merge::Micros,
    ) -> Result<(), StorageError> {
        let (mut place, mut seq) = (Vec::with_capacity(12), Vec::with_capacity(8));
        put_dot(&mut place, dot);
        put_number(&mut seq, dot.seq.0);
        self.put(Family::Ids, &id.0, &place)?;
        self.put(Family::Order, &crate::schema::order_key(time, dot.lane), &seq)
    }
}
