//! Bearer tokens: who may use the API, and for what.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use utoipa::ToSchema;

/// The file in the store's directory.
pub const TOKENS_FILE: &str = "tokens.json";
/// Whoever changes the file holds a lock on this one, since the file itself is replaced.
const LOCK_FILE: &str = "tokens.lock";
/// So many tokens there may be.
const MAX_TOKENS: usize = 10_000;
/// Length of a token's name, in bytes.
const MAX_NAME: usize = 256;
/// What the text of a token begins with.
const PREFIX: &str = "quipu_";
const ID_LEN: usize = 8;
const SECRET_LEN: usize = 32;
const LEN: usize = ID_LEN + SECRET_LEN;

/// What a token allows. Each role allows what those before it do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reading.
    Read,
    /// Writing keys.
    Write,
    /// Control operations, peers and tokens.
    Admin,
}

/// What is known of a token. The token itself is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenInfo {
    /// Names it, for people and in the audit log.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When it ends, if it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The token. It is not to be had again.
    pub text: String,
    /// What is kept of it.
    pub info: TokenInfo,
}

/// Tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The file is no list of tokens.
    #[error("{0} is no list of tokens: {1}")]
    Malformed(PathBuf, #[source] serde_json::Error),
    /// The file can be read or written by others than its owner.
    #[error("{0} may be used by others (mode {1:o}): make it 0600")]
    Exposed(PathBuf, u32),
    /// There are as many as there may be.
    #[error("there are {MAX_TOKENS} tokens: revoke some")]
    TooMany,
    /// The name is too long.
    #[error("the name of a token has at most {MAX_NAME} bytes")]
    Name,
    /// It would end later than times go.
    #[error("the token would end later than times go")]
    Lifetime,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    info: TokenInfo,
    /// BLAKE3 of the token, in hex.
    hash: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Contents {
    tokens: Vec<Record>,
}

/// The tokens of a store, in a file of mode 0600. Threads share it; whatever changes the file, also
/// another process, counts from the next request on. Those who change it at the same time wait for one
/// another, so that no change is lost.
pub struct Tokens {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    tokens: BTreeMap<String, Record>,
    /// The file that was read last. It is kept open, so that no other one gets its inode.
    read: Option<(Version, File)>,
}

/// Tells one state of the file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    len: u64,
    time: (i64, i64),
}

impl Tokens {
    /// Those in the store's directory. Where there is no file, there are no tokens.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, or may be used by others.
    pub fn open(store: &Path) -> Result<Self, TokenError> {
        let tokens = Self { path: store.join(TOKENS_FILE), known: Mutex::default() };
        drop(tokens.fresh()?);
        Ok(tokens)
    }

    /// Makes a token that ends after `lifetime`, or never. It is on the disk when this returns.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn add(
        &self,
        name: &str,
        role: Role,
        lifetime: Option<Duration>,
    ) -> Result<NewToken, TokenError> {
        if name.len() > MAX_NAME {
            return Err(TokenError::Name);
        }
        let created = Timestamp::now();
        let lifetime = lifetime.map(SignedDuration::try_from).transpose();
        let lifetime = lifetime.map_err(|_| TokenError::Lifetime)?;
        let end = |lifetime| created.checked_add(lifetime).map_err(|_| TokenError::Lifetime);
        let expires = lifetime.map(end).transpose()?;
        let mut token = [0; LEN];
        getrandom::fill(&mut token).map_err(TokenError::Random)?;
        let id = HEXLOWER.encode(token.first_chunk::<ID_LEN>().unwrap_or(&[0; ID_LEN]));
        let info = TokenInfo { id, name: name.to_owned(), role, created, expires };
        let hash = blake3::hash(&token).to_hex().to_string();
        let _lock = self.lock()?;
        let mut known = self.fresh()?;
        if known.tokens.len() >= MAX_TOKENS {
            return Err(TokenError::TooMany);
        }
        let mut tokens = known.tokens.clone();
        tokens.insert(info.id.clone(), Record { info: info.clone(), hash });
        self.write(&mut known, tokens)?;
        let text = BASE32_NOPAD.encode(&token).to_ascii_lowercase();
        Ok(NewToken { text: format!("{PREFIX}{text}"), info })
    }

    /// All tokens, also those that have ended: by the time at which they were made.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self) -> Result<Vec<TokenInfo>, TokenError> {
        let known = self.fresh()?;
        let mut tokens: Vec<_> = known.tokens.values().map(|record| record.info.clone()).collect();
        tokens.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(tokens)
    }

    /// Ends a token by its id. Tells whether there was one. Requests that have begun go on, streams
    /// end within seconds.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn revoke(&self, id: &str) -> Result<bool, TokenError> {
        let _lock = self.lock()?;
        let mut known = self.fresh()?;
        let mut tokens = known.tokens.clone();
        if tokens.remove(id).is_none() {
            return Ok(false);
        }
        self.write(&mut known, tokens)?;
        Ok(true)
    }

    /// The token with this text, if it is one that holds now.
    pub(super) fn check(&self, text: &str) -> Result<Option<TokenInfo>, TokenError> {
        let bytes = text.strip_prefix(PREFIX).map(str::to_ascii_uppercase);
        let bytes = bytes.and_then(|text| BASE32_NOPAD.decode(text.as_bytes()).ok());
        let Some(bytes) = bytes.filter(|bytes| bytes.len() == LEN) else { return Ok(None) };
        let id = HEXLOWER.encode(bytes.get(..ID_LEN).unwrap_or_default());
        let known = self.fresh()?;
        let Some(record) = known.tokens.get(&id) else { return Ok(None) };
        // Hashes compare in constant time.
        let hash = blake3::Hash::from_hex(&record.hash).ok();
        let holds = hash == Some(blake3::hash(&bytes)) && is_current(&record.info);
        Ok(holds.then(|| record.info.clone()))
    }

    /// Whether the token with this id holds now.
    pub(super) fn holds(&self, id: &str) -> Result<bool, TokenError> {
        Ok(self.fresh()?.tokens.get(id).is_some_and(|record| is_current(&record.info)))
    }

    /// What is known, read anew where the file has changed.
    fn fresh(&self) -> Result<MutexGuard<'_, Known>, TokenError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let data = match fs::metadata(&self.path) {
            Ok(data) => data,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *known = Known::default();
                return Ok(known);
            }
            Err(error) => return Err(self.failed(error)),
        };
        let mode = data.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Exposed(self.path.clone(), mode));
        }
        let version = Version::of(&data);
        if known.read.as_ref().is_none_or(|(read, _)| *read != version) {
            let (bytes, version, file) = self.read().map_err(|error| self.failed(error))?;
            let malformed = |error| TokenError::Malformed(self.path.clone(), error);
            let contents: Contents = serde_json::from_slice(&bytes).map_err(malformed)?;
            let by_id = |record: Record| (record.info.id.clone(), record);
            known.tokens = contents.tokens.into_iter().map(by_id).collect();
            known.read = Some((version, file));
        }
        Ok(known)
    }

    fn read(&self) -> io::Result<(Vec<u8>, Version, File)> {
        let (mut file, mut bytes) = (File::open(&self.path)?, Vec::new());
        let version = Version::of(&file.metadata()?);
        file.read_to_end(&mut bytes)?;
        Ok((bytes, version, file))
    }

    /// Waits until nobody else changes the file. Requests are checked meanwhile.
    fn lock(&self) -> Result<Lock, TokenError> {
        let path = self.path.with_file_name(LOCK_FILE);
        let open =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let locked = open.and_then(|file| file.lock().map(|()| Lock(file)));
        locked.map_err(|error| TokenError::File(path, error))
    }

    fn write(&self, known: &mut Known, tokens: BTreeMap<String, Record>) -> Result<(), TokenError> {
        let contents = Contents { tokens: tokens.values().cloned().collect() };
        let malformed = |error| TokenError::Malformed(self.path.clone(), error);
        let bytes = serde_json::to_vec_pretty(&contents).map_err(malformed)?;
        let written = self.replace(&bytes).map_err(|error| self.failed(error))?;
        *known = Known { tokens, read: Some(written) };
        Ok(())
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<(Version, File)> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        // Of mode 0600.
        let mut file = NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let file = file.persist(&self.path)?;
        File::open(dir)?.sync_all()?;
        Ok((Version::of(&file.metadata()?), file))
    }

    fn failed(&self, error: io::Error) -> TokenError {
        TokenError::File(self.path.clone(), error)
    }
}

/// Given back at once: a process that is being started by another thread has the file as well for
/// a moment, and the lock would last as long.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // It is given back with the file at the latest.
        let _ = self.0.unlock();
    }
}

impl Version {
    fn of(data: &fs::Metadata) -> Self {
        Self { inode: data.ino(), len: data.len(), time: (data.mtime(), data.mtime_nsec()) }
    }
}

fn is_current(token: &TokenInfo) -> bool {
    token.expires.is_none_or(|end| Timestamp::now() < end)
}

#[cfg(test)]
mod tests;
