//! Proofs as files: one strict DAG-CBOR block.

use minicbor::data::Type;
use minicbor::{Decoder, encode};

use super::claim::{Claim, KeyEntry, ProvedKey, ProvedWrite};
use super::{MAX_PROOF_FILE_LEN, MAX_PROOF_STEPS, Proof, ProofError, ProofStart, ProofStep};
use crate::body::Key;
use crate::cbor::{self, Malformed, Read, Writer};
use crate::certificate::Certificate;
use crate::checkpoint::{Checkpoint, Height, ValidatorsBlock};
use crate::log_tree::{LogHash, MAX_PROOF_LEN};
use crate::state_root::LeafKind;
use crate::state_tree::{MAX_STATE_PROOF_LEN, StateProof};

const KINDS: [LeafKind; 5] =
    [LeafKind::Register, LeafKind::Counter, LeafKind::Set, LeafKind::List, LeafKind::Member];

/// Bytes of a register's leaf for each write that stands in it: two links.
const WRITE_LEN: usize = 83;

type Written = Result<(), encode::Error<std::convert::Infallible>>;

impl Proof {
    /// Reads the strict encoding of a proof.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        read(bytes).map_err(ProofError::Malformed)
    }

    /// Encodes the proof.
    ///
    /// # Errors
    /// Says which limit is broken: by the proof, or by a block in it.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        self.limits()?;
        let start = match &self.start {
            ProofStart::Genesis { event, body } => ("genesis", event.clone(), body.clone()),
            ProofStart::Checkpoint { checkpoint, validators } => {
                ("checkpoint", checkpoint.encode()?, validators.encode())
            }
        };
        let steps = self.steps.iter().map(StepBlocks::of).collect::<Read<Vec<_>>>()?;
        let bytes = cbor::encode(4096, |w| {
            w.map(5)?.str("v")?.u8(1)?.str("type")?.str(self.claim.word())?.str("claim")?;
            self.claim.write(w)?;
            w.str("start")?.array(3)?.str(start.0)?.bytes(&start.1)?.bytes(&start.2)?;
            w.str("steps")?.array(steps.len() as u64)?;
            steps.iter().try_for_each(|step| step.write(w))
        });
        if bytes.len() > MAX_PROOF_FILE_LEN {
            return Err("longer than 16 MiB".into());
        }
        Ok(bytes)
    }

    fn limits(&self) -> Read<()> {
        if self.steps.len() > MAX_PROOF_STEPS {
            return Err("more than 16,384 checkpoints".into());
        }
        match &self.claim {
            Claim::Event { path, .. } | Claim::Extends { path, .. } => {
                if path.len() > MAX_PROOF_LEN {
                    return Err("more hashes than any log needs".into());
                }
            }
            Claim::Key { key, entries } => {
                if !key.is_told_of_by(entries) {
                    return Err("a kind of the key is left out, or out of order".into());
                }
                entries.iter().try_for_each(KeyEntry::limits)?;
            }
        }
        Ok(())
    }
}

/// A step as it is written.
struct StepBlocks {
    checkpoint: Vec<u8>,
    certificate: Vec<u8>,
    before: Option<Vec<u8>>,
    validators: Option<Vec<u8>>,
}

impl StepBlocks {
    fn of(step: &ProofStep) -> Read<Self> {
        Ok(Self {
            checkpoint: step.checkpoint.encode()?,
            certificate: step.certificate.encode()?,
            before: step.before.as_ref().map(Checkpoint::encode).transpose()?,
            validators: step.validators.as_ref().map(ValidatorsBlock::encode),
        })
    }

    fn write(&self, w: &mut Writer) -> Written {
        w.array(4)?.bytes(&self.checkpoint)?.bytes(&self.certificate)?;
        put_option(w, self.before.as_deref())?;
        put_option(w, self.validators.as_deref())
    }
}

impl Claim {
    const fn word(&self) -> &'static str {
        match self {
            Self::Event { .. } => "event",
            Self::Key { .. } => "key",
            Self::Extends { .. } => "extends",
        }
    }

    fn write(&self, w: &mut Writer) -> Written {
        match self {
            Self::Event { event, index, path } => {
                w.array(3)?.bytes(event)?.u64(*index)?.bytes(path.as_flattened())?.ok()
            }
            Self::Key { key, entries } => {
                w.array(2)?;
                match key {
                    ProvedKey::Key(key) => w.str(key.as_str())?.ok()?,
                    ProvedKey::Author(author) => w.bytes(&author.0)?.ok()?,
                }
                w.array(entries.len() as u64)?;
                entries.iter().try_for_each(|entry| entry.write(w))
            }
            Self::Extends { from, path } => {
                w.array(2)?.u64(from.0)?.bytes(path.as_flattened())?.ok()
            }
        }
    }
}

impl KeyEntry {
    fn limits(&self) -> Read<()> {
        if self.path.siblings.len() > MAX_STATE_PROOF_LEN {
            return Err("more hashes than any state needs".into());
        }
        if self.writes.len() > most_writes(self.kind, self.value.as_deref()) {
            return Err("more writes than the register has".into());
        }
        Ok(())
    }

    fn write(&self, w: &mut Writer) -> Written {
        w.array(5)?.str(letter(self.kind))?;
        put_option(w, self.value.as_deref())?;
        let other = self.path.other.map(|(key_hash, value_hash)| [key_hash, value_hash].concat());
        put_option(w, other.as_deref())?;
        w.bytes(self.path.siblings.as_flattened())?;
        w.array(self.writes.len() as u64)?;
        self.writes.iter().try_for_each(|write| match write {
            Some(ProvedWrite { event, opening }) => w.array(2)?.bytes(event)?.bytes(opening)?.ok(),
            None => w.null()?.ok(),
        })
    }
}

fn read(bytes: &[u8]) -> Read<Proof> {
    if bytes.len() > MAX_PROOF_FILE_LEN {
        return Err("longer than 16 MiB".into());
    }
    let d = &mut Decoder::new(bytes);
    cbor::map(d, 5)?;
    cbor::version(d)?;
    cbor::key(d, "type")?;
    let word = d.str().map_err(cbor::malformed)?;
    cbor::key(d, "claim")?;
    let claim = read_claim(d, word)?;
    cbor::key(d, "start")?;
    let start = read_start(d)?;
    cbor::key(d, "steps")?;
    let count = cbor::list(d)?;
    if count > MAX_PROOF_STEPS as u64 {
        return Err("more than 16,384 checkpoints".into());
    }
    let steps = (0..count).map(|_| read_step(d)).collect::<Read<Vec<_>>>()?;
    cbor::end(d)?;
    let proof = Proof { start, steps, claim };
    cbor::canonical(bytes, &proof.encode()?)?;
    Ok(proof)
}

fn read_claim(d: &mut Decoder<'_>, word: &str) -> Read<Claim> {
    match word {
        "event" => {
            expect(d, 3)?;
            let event = blob(d)?;
            let index = d.u64().map_err(cbor::malformed)?;
            Ok(Claim::Event { event, index, path: hashes(d, MAX_PROOF_LEN)? })
        }
        "key" => {
            expect(d, 2)?;
            let key = match d.datatype().map_err(cbor::malformed)? {
                Type::Bytes => ProvedKey::Author(cbor::author(d)?),
                _ => ProvedKey::Key(Key::new(d.str().map_err(cbor::malformed)?)?),
            };
            let count = cbor::list(d)?;
            if count > KINDS.len() as u64 {
                return Err("more kinds than there are".into());
            }
            let entries = (0..count).map(|_| read_entry(d)).collect::<Read<Vec<_>>>()?;
            Ok(Claim::Key { key, entries })
        }
        "extends" => {
            expect(d, 2)?;
            let from = Height(d.u64().map_err(cbor::malformed)?);
            Ok(Claim::Extends { from, path: hashes(d, MAX_PROOF_LEN)? })
        }
        other => Err(format!("a proof of type {}", cbor::word(other)).into()),
    }
}

fn read_entry(d: &mut Decoder<'_>) -> Read<KeyEntry> {
    expect(d, 5)?;
    let word = d.str().map_err(cbor::malformed)?;
    let kind = KINDS.into_iter().find(|kind| letter(*kind) == word);
    let kind = kind.ok_or_else(|| format!("a kind {}", cbor::word(word)))?;
    let value = option(d, blob)?;
    let other = option(d, |d| {
        let bytes = cbor::array::<64>(d)?;
        let (key_hash, value_hash) = bytes.split_at(32);
        let halves = key_hash.try_into().ok().zip(value_hash.try_into().ok());
        halves.ok_or_else(|| "not two hashes".into())
    })?;
    let siblings = hashes(d, MAX_STATE_PROOF_LEN)?;
    let count = cbor::list(d)?;
    // A byte of the file would be enough for each, and memory takes far more.
    if count > most_writes(kind, value.as_deref()) as u64 {
        return Err("more writes than the register has".into());
    }
    let writes = (0..count).map(|_| option(d, read_write)).collect::<Read<Vec<_>>>()?;
    Ok(KeyEntry { kind, value, path: StateProof { siblings, other }, writes })
}

/// How many writes there can be to tell of.
fn most_writes(kind: LeafKind, value: Option<&[u8]>) -> usize {
    match (kind, value) {
        (LeafKind::Register, Some(value)) => value.len() / WRITE_LEN,
        _ => 0,
    }
}

fn read_write(d: &mut Decoder<'_>) -> Read<ProvedWrite> {
    expect(d, 2)?;
    Ok(ProvedWrite { event: blob(d)?, opening: blob(d)? })
}

fn read_start(d: &mut Decoder<'_>) -> Read<ProofStart> {
    expect(d, 3)?;
    let word = d.str().map_err(cbor::malformed)?;
    let (first, second) = (blob(d)?, blob(d)?);
    match word {
        "genesis" => Ok(ProofStart::Genesis { event: first, body: second }),
        "checkpoint" => Ok(ProofStart::Checkpoint {
            checkpoint: Checkpoint::decode(&first)?,
            validators: ValidatorsBlock::decode(&second)?,
        }),
        other => Err(format!("a start {}", cbor::word(other)).into()),
    }
}

fn read_step(d: &mut Decoder<'_>) -> Read<ProofStep> {
    expect(d, 4)?;
    let checkpoint = Checkpoint::decode(&blob(d)?)?;
    let certificate = Certificate::decode(&blob(d)?)?;
    let before = option(d, |d| Checkpoint::decode(&blob(d)?))?;
    let validators = option(d, |d| ValidatorsBlock::decode(&blob(d)?))?;
    Ok(ProofStep { checkpoint, certificate, before, validators })
}

fn expect(d: &mut Decoder<'_>, len: u64) -> Read<()> {
    let found = cbor::list(d)?;
    if found == len { Ok(()) } else { Err(format!("a list of {found}, not of {len}").into()) }
}

fn blob(d: &mut Decoder<'_>) -> Read<Vec<u8>> {
    d.bytes().map(<[u8]>::to_vec).map_err(cbor::malformed)
}

fn hashes(d: &mut Decoder<'_>, limit: usize) -> Read<Vec<LogHash>> {
    let bytes = d.bytes().map_err(cbor::malformed)?;
    let (hashes, []) = bytes.as_chunks::<32>() else { return Err("not whole hashes".into()) };
    if hashes.len() > limit {
        return Err(format!("{} hashes, not {limit} at most", hashes.len()).into());
    }
    Ok(hashes.to_vec())
}

fn option<'b, T>(
    d: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Read<T>,
) -> Read<Option<T>> {
    match d.datatype().map_err(cbor::malformed)? {
        Type::Null => d.null().map(|()| None).map_err(cbor::malformed),
        _ => read(d).map(Some),
    }
}

fn put_option(w: &mut Writer, bytes: Option<&[u8]>) -> Written {
    match bytes {
        Some(bytes) => w.bytes(bytes)?.ok(),
        None => w.null()?.ok(),
    }
}

const fn letter(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::Register => "r",
        LeafKind::Counter => "c",
        LeafKind::Set => "s",
        LeafKind::List => "l",
        LeafKind::Member => "m",
    }
}
