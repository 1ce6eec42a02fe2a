//! Certified checkpoints as the transparency ecosystem reads them: C2SP signed notes, with lines by
//! the validators.
//!
//! What certifies is the certificate alone. Precommits are signatures of votes, not of this text, so
//! a validator that has seen a checkpoint certified signs the note besides, once as the log
//! (`0x01`) and once as a cosigner (`0x04`), and these are kept and passed on beside the certificate.
//! The signed texts begin with the origin, or with `cosignature/v1`: no vote or event does.
//!
//! By <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint> and
//! <https://c2sp.org/tlog-cosignature>.

mod key;
mod signed;

use std::fmt;

use data_encoding::BASE64;

use crate::checkpoint::{Checkpoint, Height};
use crate::id::{AuthorKey, CheckpointId, EventId};
use crate::log_tree::LogHash;

pub use key::{NoteKey, NoteKeyKind};
pub use signed::{CheckpointSignature, NoteSignature, SignedNote, VerifiedLine};

/// Longest signed note, in bytes.
pub const MAX_NOTE_LEN: usize = 1024 * 1024;
/// Most signature lines of a note: two of each validator, and as many of others.
pub const MAX_NOTE_SIGNATURES: usize = 4096;

const ORIGIN: &str = "quipu/ledger/";
const EXTENSION: &str = "quipu checkpoint ";

/// A note, a line of it or a key is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The note breaks the format of signed notes, or a limit.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// The text is not that of a certified checkpoint of a ledger.
    #[error("not the note of a checkpoint: {0}")]
    NotCheckpoint(&'static str),
    /// A verifier key that breaks its format.
    #[error("not a verifier key of a kind that is known here: {0:?}")]
    Key(String),
    /// A signature by a known key does not hold.
    #[error("the signature of {0} does not hold")]
    Signature(String),
    /// No line is by a known key.
    #[error("no signature is by a known key")]
    Unknown,
    /// A time beyond 2^63 − 1 seconds.
    #[error("a time beyond 2^63 - 1 seconds")]
    Time,
}

/// The name of a ledger's certified log.
pub fn log_origin(ledger: EventId) -> String {
    format!("{ORIGIN}{ledger}")
}

/// What the note of a certified checkpoint says. Displays as its text, final newline included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointNote {
    /// The ledger, which is the log's origin.
    pub ledger: EventId,
    /// Events in the certified log.
    pub size: u64,
    /// The log's root.
    pub root: LogHash,
    /// The checkpoint's height.
    pub height: Height,
    /// The checkpoint's id.
    pub checkpoint: CheckpointId,
}

impl CheckpointNote {
    /// The note of `checkpoint`, whose id is `id`.
    pub const fn of(checkpoint: &Checkpoint, id: CheckpointId) -> Self {
        let Checkpoint { ledger, size, root, height, .. } = *checkpoint;
        Self { ledger, size, root, height, checkpoint: id }
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// [`NoteError::NotCheckpoint`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let not = NoteError::NotCheckpoint;
        let mut lines = text.lines();
        let mut line = || lines.next().ok_or(not("a line is missing"));
        let origin = line()?.strip_prefix(ORIGIN).and_then(|id| id.parse().ok());
        let ledger = origin.ok_or(not("the origin is no ledger"))?;
        let size = line()?.parse().map_err(|_| not("the size is no number"))?;
        let root = BASE64.decode(line()?.as_bytes()).ok().and_then(|root| root.try_into().ok());
        let root = root.ok_or(not("the root is no hash"))?;
        let named = line()?.strip_prefix(EXTENSION).and_then(|named| named.split_once(' '));
        let (height, id) = named.ok_or(not("it does not name the checkpoint"))?;
        let height = Height(height.parse().map_err(|_| not("the height is no number"))?);
        let checkpoint = id.parse().map_err(|_| not("the checkpoint is no id"))?;
        let note = Self { ledger, size, root, height, checkpoint };
        // Numbers and lines have other spellings, but one note has one text.
        if note.to_string() == text && height.is_valid() {
            Ok(note)
        } else {
            Err(not("it is spelled in another way"))
        }
    }

    /// The note with these signatures, which have not been checked; each validator once.
    pub fn signed(&self, signatures: &[CheckpointSignature]) -> SignedNote {
        let lines = signatures.iter().flat_map(|signature| signature.lines(self.ledger));
        SignedNote { text: self.to_string(), signatures: lines.collect() }
    }
}

impl fmt::Display for CheckpointNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", log_origin(self.ledger))?;
        writeln!(f, "{}", self.size)?;
        writeln!(f, "{}", BASE64.encode(&self.root))?;
        writeln!(f, "{EXTENSION}{} {}", self.height, self.checkpoint)
    }
}

/// The name of a validator as a cosigner: one for each key, since what is signed does not name it.
fn cosigner_name(validator: &AuthorKey) -> String {
    format!("quipu/validator/{validator}")
}

#[cfg(test)]
mod tests;
