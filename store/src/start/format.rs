//! What the frames of a start file hold, the state aside: see [`super::chapter`].

use quipu_merge::{
    Certificate, Checkpoint, Clock, CutBlock, CutNumber, Dot, LogHash, MAX_BODY_LEN,
    MAX_CERTIFICATE_LEN, MAX_EVENT_LEN, MAX_PROOF_LEN, ProofStep, UNCERTIFIED, ValidatorsBlock,
};

use super::StartError;
use crate::record::{Reader, put_dot, put_number};

/// Longest encoding of a checkpoint, of a block of heads or of a block of validators, in bytes.
const MAX_LIST_LEN: usize = 512 << 10;

/// Reads one record to its end.
pub fn read<T>(
    bytes: &[u8],
    what: &'static str,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, StartError> {
    let mut r = Reader(bytes);
    let value = read(&mut r).filter(|_| r.0.is_empty());
    value.ok_or_else(|| StartError::corrupt(what))
}

/// Appends bytes with their length.
pub fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    put_number(out, part.len() as u64);
    out.extend_from_slice(part);
}

/// Reads bytes of at most so many.
pub fn part<'b>(r: &mut Reader<'b>, limit: usize) -> Option<&'b [u8]> {
    let len = usize::try_from(r.number()?).ok().filter(|len| *len <= limit)?;
    r.take(len)
}

/// Reads the number of a cut.
pub fn cut_number(r: &mut Reader<'_>) -> Option<CutNumber> {
    CutNumber::try_from(r.number()?).ok().filter(|number| *number != UNCERTIFIED)
}

/// The first event.
pub struct GenesisRecord {
    pub event: Vec<u8>,
    pub body: Vec<u8>,
}

impl GenesisRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_part(&mut out, &self.event);
        put_part(&mut out, &self.body);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StartError> {
        read(bytes, "the first event", |r| {
            let event = part(r, MAX_EVENT_LEN)?.to_vec();
            Some(Self { event, body: part(r, MAX_BODY_LEN)?.to_vec() })
        })
    }
}

/// A checkpoint on the way from genesis, as in a proof, with the heads of its cut.
pub struct StepRecord {
    pub step: ProofStep,
    pub cut: CutBlock,
}

impl StepRecord {
    pub fn encode(&self) -> Result<Vec<u8>, StartError> {
        let ProofStep { checkpoint, certificate, before, validators } = &self.step;
        let mut out = Vec::new();
        let corrupt = StartError::Corrupt;
        put_part(&mut out, &checkpoint.encode().map_err(corrupt)?);
        put_part(&mut out, &certificate.encode().map_err(corrupt)?);
        let before = before.as_ref().map(Checkpoint::encode).transpose().map_err(corrupt)?;
        put_part(&mut out, &before.unwrap_or_default());
        let validators = validators.as_ref().map(ValidatorsBlock::encode);
        put_part(&mut out, &validators.unwrap_or_default());
        put_part(&mut out, &self.cut.encode());
        Ok(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StartError> {
        read(bytes, "a checkpoint", |r| {
            let mut list = |limit| part(r, limit);
            let checkpoint = Checkpoint::decode(list(MAX_LIST_LEN)?).ok()?;
            let certificate = Certificate::decode(list(MAX_CERTIFICATE_LEN)?).ok()?;
            let before = list(MAX_LIST_LEN)?;
            let before = some(before).map(Checkpoint::decode).transpose().ok()?;
            let validators = list(MAX_LIST_LEN)?;
            let validators = some(validators).map(ValidatorsBlock::decode).transpose().ok()?;
            let cut = CutBlock::decode(list(MAX_LIST_LEN)?).ok()?;
            let step = ProofStep { checkpoint, certificate, before, validators };
            Some(Self { step, cut })
        })
    }
}

fn some(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

/// An event of the certified log, and what is said of it.
pub struct LogEvent {
    /// Its block.
    pub event: Vec<u8>,
    /// The number of the first certified cut that holds it.
    pub number: CutNumber,
    /// Whether it is void.
    pub void: bool,
    /// Where it is in the log, and what shows it.
    pub index: u64,
    pub path: Vec<LogHash>,
}

impl LogEvent {
    fn put(&self, out: &mut Vec<u8>) {
        put_part(out, &self.event);
        put_number(out, u64::from(self.number));
        out.push(u8::from(self.void));
        put_number(out, self.index);
        put_number(out, self.path.len() as u64);
        out.extend_from_slice(self.path.as_flattened());
    }

    fn read(r: &mut Reader<'_>) -> Option<Self> {
        let event = part(r, MAX_EVENT_LEN)?.to_vec();
        let number = cut_number(r)?;
        let void = flag(r)?;
        let index = r.number()?;
        let len = usize::try_from(r.number()?).ok().filter(|len| *len <= MAX_PROOF_LEN)?;
        let (path, _) = r.take(32 * len)?.as_chunks::<32>();
        Some(Self { event, number, void, index, path: path.to_vec() })
    }
}

fn flag(r: &mut Reader<'_>) -> Option<bool> {
    match r.take(1)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

/// A branch of an author, with its last event.
pub struct LaneRecord {
    /// The event that it leaves another at.
    pub leaves: Option<Dot>,
    /// Of a forked author: the numbers of the first certified cuts that hold the first event of the
    /// branch, and the one that comes on the other branch after that at which this one leaves it.
    pub forks: Option<(CutNumber, Option<CutNumber>)>,
    /// The last event.
    pub tip: LogEvent,
}

impl LaneRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(u8::from(self.leaves.is_some()));
        self.leaves.iter().for_each(|dot| put_dot(&mut out, *dot));
        out.push(u8::from(self.forks.is_some()));
        if let Some((first, after)) = self.forks {
            put_number(&mut out, u64::from(first));
            after.iter().for_each(|after| put_number(&mut out, u64::from(*after)));
        }
        self.tip.put(&mut out);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StartError> {
        read(bytes, "a branch", |r| {
            let leaves = if flag(r)? { Some(r.dot()?) } else { None };
            let forks = if flag(r)? {
                let first = cut_number(r)?;
                Some((first, if leaves.is_some() { Some(cut_number(r)?) } else { None }))
            } else {
                None
            };
            Some(Self { leaves, forks, tip: LogEvent::read(r)? })
        })
    }
}

/// An event with control operations, or one that is redacted.
pub struct ListedRecord {
    pub dot: Dot,
    pub event: LogEvent,
    /// Its body; empty where that of a redacted event is gone.
    pub body: Vec<u8>,
    /// What an event with control operations has seen, itself included; nothing for others.
    pub clock: Vec<Dot>,
}

impl ListedRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_dot(&mut out, self.dot);
        self.event.put(&mut out);
        put_part(&mut out, &self.body);
        self.clock.iter().for_each(|dot| put_dot(&mut out, *dot));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StartError> {
        read(bytes, "an event with control operations, or one that they redact", |r| {
            let dot = r.dot()?;
            let event = LogEvent::read(r)?;
            let body = part(r, MAX_BODY_LEN)?.to_vec();
            let mut clock = Vec::<Dot>::new();
            while !r.0.is_empty() {
                let next = r.dot()?;
                if clock.last().is_some_and(|last| last.lane >= next.lane) {
                    return None;
                }
                clock.push(next);
            }
            Some(Self { dot, event, body, clock })
        })
    }

    /// What it has seen.
    pub fn seen(&self) -> Clock {
        self.clock.iter().copied().collect()
    }
}

/// Writes the hashes of the log.
pub fn put_peaks(peaks: &[LogHash]) -> Vec<u8> {
    peaks.as_flattened().to_vec()
}

/// Reads the hashes of the log.
pub fn read_peaks(bytes: &[u8]) -> Result<Vec<LogHash>, StartError> {
    let (peaks, rest) = bytes.as_chunks::<32>();
    let peaks = Some(peaks.to_vec()).filter(|_| rest.is_empty());
    peaks.ok_or_else(|| StartError::corrupt("the hashes of the log"))
}

/// How much a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Keys of the state.
    pub keys: u64,
    /// Events, each counted once.
    pub events: u64,
}

impl Totals {
    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, self.keys);
        put_number(&mut out, self.events);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, StartError> {
        read(bytes, "how much there is", |r| Some(Self { keys: r.number()?, events: r.number()? }))
    }
}
