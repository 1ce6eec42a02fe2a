//! Taking in a CAR file: all that its roots refer to and that is new, or nothing.
//!
//! The file is read once to check every block against its id and to note where each one is. Its
//! events are then checked in memory, as far as they are new, before the first is taken in.

mod checkpoints;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use quipu_merge::{
    Ancestor, Ancestors, BlockId, BodyId, CarFault, CarReader, Certificate, Control, EventId,
    OpeningId, ParsedEvent, admit, admit_genesis, check_body, check_follows,
};

use crate::blocks::{self, BlockSink};
use crate::error::{MergeError, OpenError, StorageError};
use crate::incoming::{Checked, Incoming, check_all};
use crate::ingest::{BATCH, MergeOptions, MergeReport};
use crate::ledger::Ledger;
use crate::load;
use crate::lookup::{self, Known};
use crate::merge::Progress;
use crate::missing::ValueSource;
use crate::opening;
use crate::options::Options;
use crate::schema::Family;

/// How many new events are taken in from one file at most.
pub const MAX_FILE_EVENTS: usize = 4_000_000;
/// How many blocks a file has at most.
pub const MAX_FILE_BLOCKS: usize = 16_000_000;

impl Ledger {
    /// Takes in the events of a CAR file that are new, with the values and the certified checkpoints
    /// that come along. The file must be one that can be read at any place.
    ///
    /// # Errors
    /// [`MergeError::Refused`], [`MergeError::OtherLedger`], [`MergeError::Certificate`],
    /// [`MergeError::Corrupt`]: nothing has been taken in.
    pub fn import(&self, file: File, progress: Progress<'_>) -> Result<MergeReport, MergeError> {
        self.import_with(file, MergeOptions::default(), progress)
    }

    /// Does what [`Self::import`] does, with options.
    ///
    /// # Errors
    /// Those of [`Self::import`].
    pub fn import_with(
        &self,
        file: File,
        options: MergeOptions,
        progress: Progress<'_>,
    ) -> Result<MergeReport, MergeError> {
        if let Some(floor) = self.floor.as_ref().filter(|_| options.refill) {
            return Err(MergeError::Shallow(floor.height()));
        }
        let mut source = FileSource::open(file)?;
        self.admit_due()?;
        let order = source.new_events(self)?;
        let certificates = source.certificates()?;
        let (_, passed_over_checkpoints) = self.rehearse_checkpoints(&mut source, &certificates)?;
        self.rehearse(&mut source, &order)?;
        fail::fail_point!("after-rehearsal");
        let before = self.baseline()?;
        let known_events = source.held;
        let mut report =
            MergeReport { known_events, passed_over_checkpoints, ..MergeReport::default() };
        let total = order.len() as u64;
        for (batch, number) in order.chunks(BATCH).zip(1..) {
            let mut checked = Vec::with_capacity(batch.len());
            let mut sink = BlockSink::new(self);
            for id in batch {
                checked.push(Ok(source.checked_before(&mut sink, *id)?));
            }
            sink.commit()?;
            self.take_in_all(checked, true, &mut report)?;
            fail::fail_point!("between-import-batches");
            progress((number * BATCH as u64).min(total), total);
        }
        self.fill(&mut source, options, &mut report)?;
        self.take_checkpoints(&mut source, &certificates)?;
        self.sync()?;
        Ok(self.report_since(&before, report)?)
    }

    /// Tells what [`Self::import`] would take in, and takes in nothing.
    ///
    /// # Errors
    /// Those of [`Self::import`].
    pub fn import_preview(&self, file: File) -> Result<MergeReport, MergeError> {
        let mut source = FileSource::open(file)?;
        let order = source.new_events(self)?;
        let certificates = source.certificates()?;
        let (new_checkpoints, passed_over_checkpoints) =
            self.rehearse_checkpoints(&mut source, &certificates)?;
        let waiting = self.rehearse(&mut source, &order)?;
        Ok(MergeReport {
            new_checkpoints,
            passed_over_checkpoints,
            new_events: order.len() as u64 - waiting,
            known_events: source.held,
            waiting: self.waiting(),
            ..MergeReport::default()
        })
    }

    /// Goes through the rules for every event without taking it in. Tells how many have to wait.
    fn rehearse(&self, source: &mut FileSource, order: &[EventId]) -> Result<u64, MergeError> {
        let (mut lanes, mut authority) = {
            let writer = self.lock_writer();
            (writer.lanes.clone(), (*writer.authority).clone())
        };
        let mut staged = HashMap::<EventId, Ancestor>::new();
        let mut waiting = 0;
        for batch in order.chunks(BATCH) {
            let mut incoming = Vec::with_capacity(batch.len());
            for id in batch {
                incoming.push(source.event(*id)?);
            }
            for checked in check_all(incoming) {
                let checked = checked?;
                let event = &checked.event;
                self.check_ledger(&checked)?;
                let find = |id: EventId| match staged.get(&id) {
                    Some(ancestor) => Ok(Some(ancestor.clone())),
                    None => Ok::<_, StorageError>(self.held(id)?.map(Ancestor::from)),
                };
                let (Ok(ancestors), Some(body)) =
                    (Ancestors::find(event.event(), find)?, &checked.body)
                else {
                    waiting += 1;
                    continue;
                };
                let mut targets = BTreeMap::new();
                for operation in body.iter().flat_map(|body| body.control()) {
                    if let Control::Redact { event } = operation
                        && let Some(found) = find(*event)?
                    {
                        targets.insert(*event, found);
                    }
                }
                if self.needs_history(&checked, &ancestors, &targets) {
                    waiting += 1;
                    continue;
                }
                let admission =
                    admit(event, body.as_ref(), &ancestors, &authority, &lanes, &targets)?;
                if let Some(control) = admission.control(event) {
                    authority.insert(control);
                }
                let content = event.event();
                lanes.insert(content.author, admission.placement);
                let (dot, clock) = (admission.placement.dot, admission.clock);
                staged.insert(
                    event.id(),
                    Ancestor { author: content.author, dot, time: content.time, clock },
                );
            }
        }
        Ok(waiting)
    }

    /// Tells a file of another ledger from one with a bad event.
    fn check_ledger(&self, checked: &Checked) -> Result<(), MergeError> {
        let Err(refusal) = check_follows(&checked.event) else { return Ok(()) };
        let genesis = checked.body_bytes.as_deref().map(|body| admit_genesis(&checked.event, body));
        match genesis {
            Some(Ok(_)) => {
                Err(MergeError::OtherLedger { own: self.id(), found: checked.event.id() })
            }
            _ => Err(refusal.into()),
        }
    }

    fn held(&self, id: EventId) -> Result<Option<Known>, StorageError> {
        let dot = lookup::dot_of(self.latest(), id)?;
        dot.map(|dot| lookup::known_at(self.latest(), dot)).transpose()
    }
}

impl Options {
    /// Makes a replica in `dir` from a CAR file, with a key of its own. It writes no event.
    ///
    /// # Errors
    /// Those of [`Options::create`] and [`Ledger::import`], and [`MergeError::NoGenesis`]. What
    /// was made is removed again.
    pub fn clone_file(
        &self,
        dir: impl AsRef<Path>,
        file: File,
        progress: Progress<'_>,
    ) -> Result<(Ledger, MergeReport), OpenError> {
        let (event, body) = genesis_of(file.try_clone().map_err(MergeError::Input)?)?;
        let signed =
            ParsedEvent::decode(&event).and_then(ParsedEvent::verify).map_err(MergeError::from)?;
        self.build_filled(
            dir.as_ref(),
            |_, db| load::first(db, &signed, &body),
            |ledger| {
                let mut report = ledger.import(file, progress)?;
                report.new_events += 1;
                report.known_events = report.known_events.saturating_sub(1);
                Ok(report)
            },
        )
    }
}

/// The first event that the roots of a CAR file descend from, and its body.
pub fn genesis_of(file: File) -> Result<(Vec<u8>, Vec<u8>), MergeError> {
    FileSource::open(file)?.genesis()
}

/// A CAR file whose blocks are known to be what their ids say, and where they are.
struct FileSource {
    file: BufReader<File>,
    roots: Vec<BlockId>,
    index: HashMap<BlockId, (u64, u32)>,
    /// How many events of the file are held already.
    held: u64,
}

impl FileSource {
    /// Reads the whole file once.
    fn open(mut file: File) -> Result<Self, MergeError> {
        file.seek(SeekFrom::Start(0)).map_err(MergeError::Input)?;
        let corrupt = |error: quipu_merge::CarError| match error.fault {
            CarFault::Io(error) => MergeError::Input(error),
            _ => MergeError::Corrupt(error.to_string()),
        };
        let mut index = HashMap::new();
        let mut reader =
            CarReader::new(BufReader::with_capacity(1 << 18, &file)).map_err(corrupt)?;
        let roots = reader.roots().to_vec();
        for block in reader.by_ref() {
            let block = block.map_err(corrupt)?;
            let len = u32::try_from(block.bytes.len()).unwrap_or(u32::MAX);
            index.insert(block.id, (block.offset, len));
            if index.len() > MAX_FILE_BLOCKS {
                return Err(MergeError::Corrupt(format!("more than {MAX_FILE_BLOCKS} blocks")));
            }
        }
        drop(reader);
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(Self { file, roots, index, held: 0 })
    }

    /// The bytes of a block, if the file has it. They are checked again: files change.
    fn block(&mut self, id: BlockId) -> Result<Option<Vec<u8>>, MergeError> {
        let Some(&(offset, len)) = self.index.get(&id) else { return Ok(None) };
        let mut bytes = vec![0; len as usize];
        let here = self.file.stream_position().map_err(MergeError::Input)?;
        self.file
            .seek_relative(offset.cast_signed() - here.cast_signed())
            .map_err(MergeError::Input)?;
        self.file.read_exact(&mut bytes).map_err(MergeError::Input)?;
        if BlockId::of(id.codec, &bytes) == id {
            return Ok(Some(bytes));
        }
        Err(MergeError::Corrupt(format!("block {id} changed while it was read")))
    }

    /// The events among the roots; the others are certificates.
    fn heads(&mut self) -> Result<Vec<EventId>, MergeError> {
        let mut heads = Vec::new();
        for root in self.roots.clone() {
            let Some(id) = EventId::from_block(root) else {
                return Err(MergeError::Corrupt(format!("root {root} is a raw block")));
            };
            if !self.block(root)?.is_some_and(|bytes| Certificate::is_one(&bytes)) {
                heads.push(id);
            }
        }
        Ok(heads)
    }

    /// The first event that the roots descend from, with its body.
    fn genesis(&mut self) -> Result<(Vec<u8>, Vec<u8>), MergeError> {
        let mut open = self.heads()?;
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(bytes) = self.block(id.block())? else { continue };
            let parsed = ParsedEvent::decode(&bytes)?;
            let mut follows = parsed.event().follows().peekable();
            if follows.peek().is_none() {
                let body = self.block(parsed.event().body.block())?.ok_or(MergeError::NoGenesis)?;
                return Ok((bytes, body));
            }
            open.extend(follows);
        }
        Err(MergeError::NoGenesis)
    }

    /// The events that the roots refer to and the ledger lacks, each after those that it follows.
    fn new_events(&mut self, ledger: &Ledger) -> Result<Vec<EventId>, MergeError> {
        enum Step {
            Enter(EventId),
            Leave(EventId),
        }
        let heads = self.heads()?;
        for head in &heads {
            // A file that was cut off between two blocks has lost its heads first.
            if !self.index.contains_key(&head.block())
                && !ledger.latest().has(Family::Ids, &head.0)?
            {
                return Err(MergeError::Corrupt(format!("its root {head} is missing")));
            }
        }
        let mut stack: Vec<_> = heads.into_iter().map(Step::Enter).collect();
        let mut seen = BTreeSet::new();
        let mut order = Vec::new();
        while let Some(step) = stack.pop() {
            let id = match step {
                Step::Leave(id) => {
                    order.push(id);
                    continue;
                }
                Step::Enter(id) if !seen.insert(id) => continue,
                Step::Enter(id) => id,
            };
            let held = ledger.latest().has(Family::Ids, &id.0)?;
            // What the file lacks may be missing: what follows it will wait.
            let Some(bytes) = self.block(id.block())? else { continue };
            let parsed = ParsedEvent::decode(&bytes)?;
            if held || ledger.may_be_below(parsed.event())? {
                self.held += 1;
            } else {
                stack.push(Step::Leave(id));
            }
            stack.extend(parsed.event().follows().map(Step::Enter));
            if seen.len() as u64 > MAX_FILE_EVENTS as u64 + self.held {
                return Err(MergeError::TooMany { limit: MAX_FILE_EVENTS });
            }
        }
        Ok(order)
    }

    /// An event with its body, without its values.
    fn event(&mut self, id: EventId) -> Result<Incoming, MergeError> {
        let missing = || MergeError::Corrupt(format!("event {id} is gone"));
        let event = self.block(id.block())?.ok_or_else(missing)?;
        let body = ParsedEvent::decode(&event)?.event().body.block();
        Ok(Incoming { event, body: self.block(body)?, openings: Vec::new() })
    }

    /// An event that has been checked once, with its body and its values. Long values go to the
    /// store as they are read: without the event they are of no consequence.
    fn checked_before(
        &mut self,
        sink: &mut BlockSink<'_>,
        id: EventId,
    ) -> Result<Checked, MergeError> {
        let incoming = self.event(id)?;
        let event = ParsedEvent::decode(&incoming.event)?.verified_before();
        let body = incoming.body.as_deref().map(|bytes| check_body(&event, bytes));
        let mut openings = Vec::new();
        for (slot, operation) in (0_u16..).zip(body.iter().flatten().flat_map(|body| body.data())) {
            if let Some(value) = operation.value()
                && let Some(opening) = self.block(value.block())?
            {
                self.copy_blocks(sink, &opening)?;
                openings.push((slot, opening::pack(event.event().author, &opening)));
            }
        }
        Ok(Checked { event, body, body_bytes: incoming.body, openings })
    }
}

impl ValueSource for FileSource {
    fn body(&mut self, _event: EventId, id: BodyId) -> Result<Option<Vec<u8>>, MergeError> {
        self.block(id.block())
    }

    fn opening(
        &mut self,
        _event: EventId,
        _slot: u16,
        id: OpeningId,
    ) -> Result<Option<Vec<u8>>, MergeError> {
        self.block(id.block())
    }

    fn copy_blocks(&mut self, to: &mut BlockSink<'_>, opening: &[u8]) -> Result<(), MergeError> {
        let Some(link) = blocks::link_of(opening) else { return Ok(()) };
        to.copy(link, |id| self.block(id))
    }
}
