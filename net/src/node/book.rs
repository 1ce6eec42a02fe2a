//! The address book: which peers there are, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use quipu_merge::AuthorKey;
use serde::{Deserialize, Serialize};

use super::address::{PeerAddress, Place};

/// The file, in the store's directory.
const FILE: &str = "peers.json";
const MODE: u32 = 0o600;
/// Length of the file, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// So many peers are remembered that nobody asked for.
pub const MAX_HEARD: usize = 1024;
/// So many places are remembered of one peer.
pub const MAX_PLACES: usize = 4;

/// A peer that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPeer {
    /// Whether somebody asked for it: then it may connect, whatever the ledger says of it, and is dialled
    /// for as long as it is known. Otherwise it was heard of.
    pub kept: bool,
    /// Where it may be reached, the best first.
    pub places: Vec<Place>,
}

/// Which peers there are, and where. Kept in the store's directory.
#[derive(Clone, Debug)]
pub struct PeerBook {
    path: PathBuf,
    peers: BTreeMap<AuthorKey, KnownPeer>,
}

/// The address book cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// The disk.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("{path} is damaged: {why}; remove it to begin a new one")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    peers: Vec<PeerForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerForm {
    key: String,
    kept: bool,
    places: Vec<String>,
}

impl PeerBook {
    /// Reads the book of the store in `dir`; an empty one where there is none.
    ///
    /// # Errors
    /// The disk, or what is there.
    pub fn open(dir: &Path) -> Result<Self, BookError> {
        let path = dir.join(FILE);
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path, peers: BTreeMap::new() });
            }
            Err(source) => return Err(BookError::File { path, source }),
        }
        let damaged = |why: String| BookError::Damaged { path: path.clone(), why };
        let form: FileForm =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let mut peers = BTreeMap::new();
        for PeerForm { key, kept, places } in form.peers {
            let key = key.parse().map_err(|_| damaged(format!("{key:?} is not a key")))?;
            let places: Result<Vec<Place>, _> = places.iter().map(|place| place.parse()).collect();
            let places = places.map_err(|error| damaged(error.to_string()))?;
            peers.insert(key, KnownPeer { kept, places });
        }
        Ok(Self { path, peers })
    }

    /// Writes the book; the one that is there is replaced as a whole.
    ///
    /// # Errors
    /// The disk. What was there is there still.
    pub fn save(&self) -> Result<(), BookError> {
        let failed = |source| BookError::File { path: self.path.clone(), source };
        let peers = self.peers.iter().map(|(key, peer)| PeerForm {
            key: key.to_string(),
            kept: peer.kept,
            places: peer.places.iter().map(Place::to_string).collect(),
        });
        let form = FileForm { peers: peers.collect() };
        let text = serde_json::to_vec_pretty(&form).map_err(|error| failed(error.into()))?;
        let fresh = self.path.with_extension("json.new");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&fresh)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        written.and_then(|()| fs::rename(&fresh, &self.path)).map_err(failed)?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    /// The peers, ascending.
    pub fn peers(&self) -> impl Iterator<Item = (AuthorKey, &KnownPeer)> {
        self.peers.iter().map(|(key, peer)| (*key, peer))
    }

    /// A peer, if it is known.
    pub fn get(&self, key: AuthorKey) -> Option<&KnownPeer> {
        self.peers.get(&key)
    }

    /// Whom the operator lists.
    pub fn kept(&self) -> BTreeSet<AuthorKey> {
        self.peers().filter(|(_, peer)| peer.kept).map(|(key, _)| key).collect()
    }

    /// Keeps a peer: it may connect from now on.
    pub fn keep(&mut self, key: AuthorKey) {
        self.peers.entry(key).or_default().kept = true;
    }

    /// Keeps a peer, and where it is.
    pub fn keep_at(&mut self, address: &PeerAddress) {
        self.keep(address.key);
        self.found(address.key, &address.place);
    }

    /// Forgets a peer. Tells whether it was known.
    pub fn remove(&mut self, key: AuthorKey) -> bool {
        self.peers.remove(&key).is_some()
    }

    /// A peer is said to be at these places. Of what is new, no more is remembered than there is room
    /// for. Tells whether anything was new.
    pub fn heard(&mut self, key: AuthorKey, places: &[Place]) -> bool {
        if !self.peers.contains_key(&key)
            && (places.is_empty() || self.peers.len() >= MAX_HEARD + self.kept().len())
        {
            return false;
        }
        let known = &mut self.peers.entry(key).or_default().places;
        let before = known.len();
        for place in places {
            if known.len() < MAX_PLACES && !known.contains(place) {
                known.push(place.clone());
            }
        }
        known.len() > before
    }

    /// A peer is at this place. Tells whether that was not the first to try.
    pub fn found(&mut self, key: AuthorKey, place: &Place) -> bool {
        let Some(peer) = self.peers.get_mut(&key) else {
            return self.heard(key, std::slice::from_ref(place));
        };
        if peer.places.first() == Some(place) {
            return false;
        }
        peer.places.retain(|known| known != place);
        peer.places.insert(0, place.clone());
        peer.places.truncate(MAX_PLACES);
        true
    }
}
