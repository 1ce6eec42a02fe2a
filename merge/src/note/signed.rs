//! Texts with signature lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::key::is_name;
use super::{CheckpointNote, MAX_NOTE_LEN, MAX_NOTE_SIGNATURES, NoteError, NoteKey, NoteKeyKind};
use crate::id::{AuthorKey, EventId};

/// Longest key id and signature in a line, in bytes; those of other kinds than ours fit.
const MAX_SIGNATURE_LEN: usize = 16 * 1024;
const TIME_LIMIT: u64 = 1 << 63;

/// A text with signature lines. Displays as it is written. Nothing of it counts before
/// [`SignedNote::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    /// The text, which ends with a newline.
    pub text: String,
    /// The lines, by any keys.
    pub signatures: Vec<NoteSignature>,
}

/// A line that signs a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub id: [u8; 4],
    /// What the key's kind makes a signature of.
    pub signature: Vec<u8>,
}

/// A line of a note whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLine {
    /// Who has signed.
    pub key: NoteKey,
    /// When a cosigner says that it has, in seconds since the Unix epoch.
    pub seconds: Option<u64>,
}

/// What a validator adds to the certificate of a checkpoint, once it has seen it: its lines of the
/// note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSignature {
    /// Whose.
    pub validator: AuthorKey,
    /// When it cosigned, in seconds since the Unix epoch.
    pub seconds: u64,
    /// Its signature as the log.
    pub log: [u8; 64],
    /// Its signature as a cosigner.
    pub cosignature: [u8; 64],
}

impl CheckpointSignature {
    /// Signs the note of a checkpoint, as of `seconds` since the Unix epoch.
    ///
    /// A cosignature says that the log has been seen to grow only, and that none larger has been
    /// seen: so a validator signs for certified checkpoints alone, and in the order of their heights.
    ///
    /// # Errors
    /// [`NoteError::Time`].
    pub fn sign(note: &CheckpointNote, key: &SigningKey, seconds: u64) -> Result<Self, NoteError> {
        let text = note.to_string();
        let cosigned = cosigned(&text, seconds)?;
        Ok(Self {
            validator: AuthorKey(key.verifying_key().to_bytes()),
            seconds,
            log: key.sign(text.as_bytes()).to_bytes(),
            cosignature: key.sign(cosigned.as_bytes()).to_bytes(),
        })
    }

    /// Checks both signatures by the strict rule.
    ///
    /// # Errors
    /// One of them does not hold.
    pub fn verify(&self, note: &CheckpointNote) -> Result<(), NoteError> {
        let text = note.to_string();
        verify(&text, &self.validator, &self.log)?;
        verify(&cosigned(&text, self.seconds)?, &self.validator, &self.cosignature)
    }

    /// The lines of the note.
    pub fn lines(&self, ledger: EventId) -> [NoteSignature; 2] {
        let line = |key: &NoteKey, signature| NoteSignature {
            name: key.name().to_owned(),
            id: key.id(),
            signature,
        };
        let cosignature = [&self.seconds.to_be_bytes()[..], &self.cosignature].concat();
        [
            line(&NoteKey::log(ledger, self.validator), self.log.to_vec()),
            line(&NoteKey::cosigner(self.validator), cosignature),
        ]
    }
}

impl SignedNote {
    /// Reads a signed note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed;
        if bytes.len() > MAX_NOTE_LEN {
            return Err(malformed("longer than 1 MiB"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(malformed("control characters"));
        }
        let end = note.rfind("\n\n").ok_or(malformed("no signatures"))?;
        let (text, rest) = note.split_at(end + 1);
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
        let lines = lines.ok_or(malformed("no newline at the end"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_NOTE_SIGNATURES {
                return Err(malformed("more than 4,096 signatures"));
            }
            signatures.push(NoteSignature::parse(line)?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Checks the lines by `known` keys, and tells which these are, in the order of the lines. Lines
    /// by other keys say nothing, nor do further ones by a key that has signed already.
    ///
    /// A line names its key by four bytes, so others can make a key of the same name that it names
    /// as well: then it is tried with each of them, as long as one has not signed.
    ///
    /// # Errors
    /// A line holds by none of the known keys that it names, or there is none by a known key.
    pub fn verify(&self, known: &[NoteKey]) -> Result<Vec<VerifiedLine>, NoteError> {
        let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for key in known.iter().collect::<BTreeSet<_>>() {
            named.entry((key.name(), key.id())).or_default().push(key);
        }
        let (mut verified, mut signed): (Vec<VerifiedLine>, _) = (Vec::new(), BTreeSet::new());
        for line in &self.signatures {
            let Some(keys) = named.get(&(line.name.as_str(), line.id)) else { continue };
            if keys.iter().all(|key| signed.contains(key)) {
                continue;
            }
            let (key, seconds) = line.verify_any(&self.text, keys)?;
            if signed.insert(key) {
                verified.push(VerifiedLine { key: key.clone(), seconds });
            }
        }
        if verified.is_empty() { Err(NoteError::Unknown) } else { Ok(verified) }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Result<Self, NoteError> {
        let malformed = || NoteError::Malformed("a line that is no signature");
        let (name, base64) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(malformed)?;
        let bytes = BASE64.decode(base64.as_bytes()).map_err(|_| malformed())?;
        let (id, signature) = bytes.split_first_chunk().ok_or_else(malformed)?;
        let signature = Self { name: name.to_owned(), id: *id, signature: signature.to_vec() };
        let fits = is_name(name) && (1..=MAX_SIGNATURE_LEN).contains(&signature.signature.len());
        // The decoder also takes padded pieces in a row, but one line has one spelling.
        if fits && signature.base64() == base64 { Ok(signature) } else { Err(malformed()) }
    }

    fn base64(&self) -> String {
        BASE64.encode(&[&self.id[..], &self.signature].concat())
    }

    /// Tells which of `keys` has signed `text` by this, and when it says that it has.
    fn verify_any<'a>(
        &self,
        text: &str,
        keys: &[&'a NoteKey],
    ) -> Result<(&'a NoteKey, Option<u64>), NoteError> {
        let mut refused = NoteError::Unknown;
        for &key in keys {
            match self.verify(text, key) {
                Ok(seconds) => return Ok((key, seconds)),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Checks that `key` has signed `text` by this, and tells when it says that it has.
    fn verify(&self, text: &str, key: &NoteKey) -> Result<Option<u64>, NoteError> {
        let broken = || NoteError::Signature(key.name().to_owned());
        let (message, signature, seconds) = match key.kind() {
            NoteKeyKind::Log => (text.to_owned(), &self.signature[..], None),
            NoteKeyKind::Cosigner => {
                let (seconds, signature) = self.signature.split_first_chunk().ok_or_else(broken)?;
                let seconds = u64::from_be_bytes(*seconds);
                (cosigned(text, seconds)?, signature, Some(seconds))
            }
        };
        let signature = signature.try_into().map_err(|_| broken())?;
        verify(&message, &key.key(), signature).map_err(|_| broken())?;
        Ok(seconds)
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\u{2014} {} {}", self.name, self.base64())
    }
}

/// What a cosigner signs.
fn cosigned(text: &str, seconds: u64) -> Result<String, NoteError> {
    if seconds >= TIME_LIMIT {
        return Err(NoteError::Time);
    }
    Ok(format!("cosignature/v1\ntime {seconds}\n{text}"))
}

fn verify(message: &str, key: &AuthorKey, signature: &[u8; 64]) -> Result<(), NoteError> {
    VerifyingKey::from_bytes(&key.0)
        .and_then(|key| key.verify_strict(message.as_bytes(), &Signature::from_bytes(signature)))
        .map_err(|_| NoteError::Signature(key.to_string()))
}
