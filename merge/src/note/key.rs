//! Keys that sign notes: their names, ids and texts.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::{NoteError, cosigner_name, log_origin};
use crate::id::{AuthorKey, EventId};

/// How a key signs notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum NoteKeyKind {
    /// Plainly, as a log does.
    Log = 0x01,
    /// With a time, as a cosigner of somebody's log does.
    Cosigner = 0x04,
}

/// A key that signs notes. Displays, and parses, as a verifier key ("vkey").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKey {
    name: String,
    kind: NoteKeyKind,
    key: AuthorKey,
}

impl NoteKey {
    /// A key under a name of its own, such as a witness's.
    ///
    /// # Errors
    /// [`NoteError::Key`]: the name is empty, or has white space, a plus or control characters in
    /// it.
    pub fn new(name: &str, kind: NoteKeyKind, key: AuthorKey) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Key(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), kind, key })
    }

    /// A validator's, signing as the log of its ledger.
    pub fn log(ledger: EventId, validator: AuthorKey) -> Self {
        Self { name: log_origin(ledger), kind: NoteKeyKind::Log, key: validator }
    }

    /// A validator's, signing as a cosigner.
    pub fn cosigner(validator: AuthorKey) -> Self {
        Self { name: cosigner_name(&validator), kind: NoteKeyKind::Cosigner, key: validator }
    }

    /// The name in the lines that it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it signs.
    pub const fn kind(&self) -> NoteKeyKind {
        self.kind
    }

    /// The key itself.
    pub const fn key(&self) -> AuthorKey {
        self.key
    }

    /// The short id in the lines that it signs.
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update(b"\n");
        let hash: [u8; 32] = hash.chain_update(self.material()).finalize().into();
        let [a, b, c, d, ..] = hash;
        [a, b, c, d]
    }

    fn material(&self) -> Vec<u8> {
        [&[self.kind as u8][..], &self.key.0].concat()
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, material) = (HEXLOWER.encode(&self.id()), BASE64.encode(&self.material()));
        write!(f, "{}+{id}+{material}", self.name)
    }
}

impl FromStr for NoteKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let invalid = || NoteError::Key(text.chars().take(256).collect());
        let (name, rest) = text.split_once('+').ok_or_else(invalid)?;
        let (_, material) = rest.split_once('+').ok_or_else(invalid)?;
        let material = BASE64.decode(material.as_bytes()).map_err(|_| invalid())?;
        let (kind, key) = material.split_first().ok_or_else(invalid)?;
        let kind = match kind {
            0x01 => NoteKeyKind::Log,
            0x04 => NoteKeyKind::Cosigner,
            _ => return Err(invalid()),
        };
        let key = AuthorKey(key.try_into().map_err(|_| invalid())?);
        let key = Self::new(name, kind, key).map_err(|_| invalid())?;
        // The id in the middle is that of the rest, in lower-case digits.
        if key.to_string() == text { Ok(key) } else { Err(invalid()) }
    }
}

/// Whether a key or a line may have this name.
pub fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(bad)
}
