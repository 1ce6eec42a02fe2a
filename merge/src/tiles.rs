//! The certified log as tiles, for whoever follows logs over HTTP: names, and the bytes under them.
//!
//! By <https://c2sp.org/tlog-tiles>. Entries are the log's leaves: binary event CIDs.

use std::fmt;
use std::str::FromStr;

use crate::id::EventId;
use crate::log_tree::{LOG_SIZE_LIMIT, StoredHashes};

/// Hashes or entries in a full tile.
pub const TILE_WIDTH: u16 = 256;
/// Longest name of a resource of a log, in bytes.
pub const MAX_LOG_PATH_LEN: usize = 64;

/// Levels of trees below one tile: a tile's hashes are each over so many times eight levels.
const LEVEL_BITS: u32 = 8;
const MAX_LEVEL: u8 = 63;
const PATH_BASE: u64 = 1000;

/// What a log serves, below its prefix. Displays, and parses, as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogResource {
    /// The newest checkpoint, as a signed note.
    Checkpoint,
    /// Hashes of the tree.
    Hashes {
        /// The level, 0 to 63: 0 is that of the leaves, and each is eight of the tree above the last.
        level: u8,
        /// Which hashes.
        tile: Tile,
    },
    /// Entries of the log.
    Entries(Tile),
}

/// A run of hashes or entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// The number of the tile; it begins with hash or entry 256 times that.
    pub index: u64,
    /// How many it has, 1 to 256. Less than 256 are of a log that ended there.
    pub width: u16,
}

/// The text names nothing that a log serves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log serves nothing of this name")]
pub struct UnknownResource;

/// The entries of a log, by their place.
pub trait LogEntries {
    /// Why reading fails.
    type Error;

    /// The event at `index`, counted from 0; `None` where there is none.
    ///
    /// # Errors
    /// Whatever is under it fails.
    fn read(&self, index: u64) -> Result<Option<EventId>, Self::Error>;
}

impl LogEntries for Vec<EventId> {
    type Error = std::convert::Infallible;

    fn read(&self, index: u64) -> Result<Option<EventId>, Self::Error> {
        Ok(usize::try_from(index).ok().and_then(|index| self.get(index)).copied())
    }
}

/// A tile that should be there cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError<E> {
    /// A hash that it consists of is not stored.
    #[error("the log has no hash number {0}")]
    MissingHash(u64),
    /// An entry that it consists of is not stored.
    #[error("the log has no entry number {0}")]
    MissingEntry(u64),
    /// Reading fails.
    #[error("the log cannot be read")]
    Store(#[source] E),
}

/// The bytes of a tile of hashes of the log with `size` leaves; `None` where that log has no such
/// tile. At most 8 KiB.
///
/// # Errors
/// A hash is not at hand.
pub fn read_hash_tile<S: StoredHashes>(
    stored: &S,
    size: u64,
    level: u8,
    tile: Tile,
) -> Result<Option<Vec<u8>>, TileError<S::Error>> {
    // Logs end far below the level at which shifting would.
    let Some(shift) = u32::from(level).checked_mul(LEVEL_BITS).filter(|&shift| shift < 64) else {
        return Ok(None);
    };
    let Some(places) = tile.places(size >> shift) else { return Ok(None) };
    let mut bytes = Vec::with_capacity(usize::from(tile.width) * 32);
    for place in places {
        let level = u8::try_from(shift).unwrap_or(u8::MAX);
        let index = tlog_tiles::tlog::stored_hash_index(level, place);
        let hash = stored.read(index).map_err(TileError::Store)?;
        bytes.extend(hash.ok_or(TileError::MissingHash(index))?);
    }
    Ok(Some(bytes))
}

/// The bytes of a bundle of entries of the log with `size` leaves; `None` where that log has no such
/// bundle. At most 9,728 bytes.
///
/// # Errors
/// An entry is not at hand.
pub fn read_entry_tile<S: LogEntries>(
    entries: &S,
    size: u64,
    tile: Tile,
) -> Result<Option<Vec<u8>>, TileError<S::Error>> {
    let Some(places) = tile.places(size) else { return Ok(None) };
    let mut bytes = Vec::new();
    for place in places {
        let event = entries.read(place).map_err(TileError::Store)?;
        let entry = event.ok_or(TileError::MissingEntry(place))?.block().to_bytes();
        let len = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        bytes.extend(len.to_be_bytes());
        bytes.extend(entry);
    }
    Ok(Some(bytes))
}

impl Tile {
    /// The hashes or entries that it has of `available` ones; `None` where it would have more, or
    /// none.
    fn places(self, available: u64) -> Option<std::ops::Range<u64>> {
        if available >= LOG_SIZE_LIMIT || !(1..=TILE_WIDTH).contains(&self.width) {
            return None;
        }
        let start = self.index.checked_mul(u64::from(TILE_WIDTH))?;
        let end = start.checked_add(u64::from(self.width))?;
        (end <= available).then_some(start..end)
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, width) = match text.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|&w| w < TILE_WIDTH)?),
            None => (text, TILE_WIDTH),
        };
        let mut index = 0_u64;
        for part in number.split('/') {
            let part: u64 = part.strip_prefix('x').unwrap_or(part).parse().ok()?;
            index = index.checked_mul(PATH_BASE)?.checked_add(part)?;
        }
        (width >= 1).then_some(Self { index, width })
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = vec![self.index % PATH_BASE];
        let mut rest = self.index / PATH_BASE;
        while rest > 0 {
            parts.push(rest % PATH_BASE);
            rest /= PATH_BASE;
        }
        let mut parts = parts.into_iter().rev().peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() { write!(f, "x{part:03}/")? } else { write!(f, "{part:03}")? }
        }
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl fmt::Display for LogResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Hashes { level, tile } => write!(f, "tile/{level}/{tile}"),
            Self::Entries(tile) => write!(f, "tile/entries/{tile}"),
        }
    }
}

impl FromStr for LogResource {
    type Err = UnknownResource;

    fn from_str(text: &str) -> Result<Self, UnknownResource> {
        if text.len() > MAX_LOG_PATH_LEN {
            return Err(UnknownResource);
        }
        let resource = if text == "checkpoint" { Some(Self::Checkpoint) } else { tile_of(text) };
        // Numbers have other spellings, but a resource has one name.
        resource.filter(|resource| resource.to_string() == text).ok_or(UnknownResource)
    }
}

fn tile_of(text: &str) -> Option<LogResource> {
    let (kind, tile) = text.strip_prefix("tile/")?.split_once('/')?;
    let tile = Tile::parse(tile)?;
    if kind == "entries" {
        return Some(LogResource::Entries(tile));
    }
    let level = kind.parse().ok().filter(|&level| level <= MAX_LEVEL)?;
    Some(LogResource::Hashes { level, tile })
}
