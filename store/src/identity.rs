//! The replica's key: one Ed25519 key in PKCS#8 PEM, readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer, SigningKey};
use pkcs8::LineEnding;
use quipu_merge::AuthorKey;
use zeroize::Zeroizing;

use crate::error::IdentityError;

/// The file with the key, in the store's directory.
pub const KEY_FILE: &str = "identity.pem";
/// The file with a key that is to replace it.
pub const FRESH_KEY_FILE: &str = "identity.pem.new";

/// What comes first in all that TLS 1.3 has signed in a handshake (RFC 8446, section 4.4.3). What a
/// ledger's author signs begins otherwise.
const OF_HANDSHAKES: [u8; 64] = [b' '; 64];
const MODE: u32 = 0o600;
const MAX_KEY_FILE: u64 = 64 * 1024;
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// A passphrase. It is wiped from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

/// A replica's key pair.
pub struct Identity {
    key: SigningKey,
    author: AuthorKey,
}

impl Identity {
    /// Makes a key.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(IdentityError::Random)?;
        Ok(Self::from_key(SigningKey::from_bytes(&seed)))
    }

    /// Reads the key of the store in `dir`.
    pub fn load(dir: &Path, passphrase: Option<&Passphrase>) -> Result<Self, IdentityError> {
        Self::load_file(&dir.join(KEY_FILE), passphrase)
    }

    /// Reads a key file, wherever it is.
    pub fn load_file(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, IdentityError> {
        let pem = read_private(path)?;
        let not_a_key = |_| IdentityError::NotAKey(path.to_owned());
        let key = match (pem.starts_with(ENCRYPTED), passphrase) {
            (false, _) => SigningKey::from_pkcs8_pem(&pem).map_err(not_a_key)?,
            (true, None) => return Err(IdentityError::PassphraseNeeded),
            (true, Some(passphrase)) => {
                SigningKey::from_pkcs8_encrypted_pem(&pem, passphrase.0.as_bytes())
                    .map_err(|_| IdentityError::WrongPassphrase)?
            }
        };
        Ok(Self::from_key(key))
    }

    /// Whether the key of the store in `dir` is encrypted.
    pub fn is_encrypted(dir: &Path) -> Result<bool, IdentityError> {
        Ok(read_private(&dir.join(KEY_FILE))?.starts_with(ENCRYPTED))
    }

    /// Writes the key to the store in `dir`, and replaces one that is there only as a whole.
    pub fn save(&self, dir: &Path, passphrase: Option<&Passphrase>) -> Result<(), IdentityError> {
        self.write_beside(dir, passphrase)?;
        Self::replace(dir)
    }

    /// Writes the key beside the one of the store in `dir`.
    pub fn write_beside(
        &self,
        dir: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), IdentityError> {
        let path = dir.join(KEY_FILE);
        let encoded = match passphrase {
            None => self.key.to_pkcs8_pem(LineEnding::LF),
            Some(passphrase) => {
                self.key.to_pkcs8_encrypted_pem(passphrase.0.as_bytes(), LineEnding::LF)
            }
        };
        let pem = encoded.map_err(|_| IdentityError::NotAKey(path.clone()))?;
        write_private(&dir.join(FRESH_KEY_FILE), pem.as_bytes())?;
        // Whether it is there tells whether it has replaced the other.
        sync_directory(dir)
    }

    /// Replaces the key of the store in `dir` by the one that was written beside it.
    pub fn replace(dir: &Path) -> Result<(), IdentityError> {
        let path = dir.join(KEY_FILE);
        fs::rename(dir.join(FRESH_KEY_FILE), &path).map_err(file(&path))?;
        sync_directory(dir)
    }

    /// The public key.
    pub const fn author(&self) -> AuthorKey {
        self.author
    }

    /// The key to sign with.
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    fn from_key(key: SigningKey) -> Self {
        let author = AuthorKey(key.verifying_key().to_bytes());
        Self { key, author }
    }
}

/// A replica's key for proving it in handshakes of TLS 1.3, and for nothing else. Everything that is
/// signed there begins with 64 spaces, and nothing in a ledger does: so no signature that is made here is
/// one of an event.
#[derive(Clone)]
pub struct HandshakeKey(pub(crate) Arc<Identity>);

impl HandshakeKey {
    /// The public key.
    pub fn author(&self) -> AuthorKey {
        self.0.author
    }

    /// Signs what a handshake has signed.
    ///
    /// # Errors
    /// [`IdentityError::NotAHandshake`].
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], IdentityError> {
        if !message.starts_with(&OF_HANDSHAKES) {
            return Err(IdentityError::NotAHandshake);
        }
        Ok(self.0.key.sign(message).to_bytes())
    }
}

impl std::fmt::Debug for HandshakeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HandshakeKey").field(&self.author()).finish()
    }
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, IdentityError> {
    let file_handle = File::open(path).map_err(file(path))?;
    let mode = file_handle.metadata().map_err(file(path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    let mut pem = Zeroizing::new(String::new());
    match file_handle.take(MAX_KEY_FILE).read_to_string(&mut pem) {
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(IdentityError::NotAKey(path.to_owned()))
        }
        Err(error) => Err(file(path)(error)),
        Ok(_) => Ok(pem),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(file(path)(error)),
        _ => {}
    }
    let mut created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)
        .map_err(file(path))?;
    created.write_all(bytes).and_then(|()| created.sync_all()).map_err(file(path))
}

fn sync_directory(dir: &Path) -> Result<(), IdentityError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(file(dir))
}

fn file(path: &Path) -> impl Fn(std::io::Error) -> IdentityError {
    let path: PathBuf = path.to_owned();
    move |source| IdentityError::File { path: path.clone(), source }
}
