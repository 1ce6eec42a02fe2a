//! Cuts as people name them: local names, starts of keys, parts of ids.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, Cut, CutExpression, EventId, Height};

use crate::error::{ReadError, StorageError};
use crate::schema::Family;
use crate::snapshot::Snapshot;

/// What all ids of events begin with: the text of the version, the codec and the hash function.
const ID_START: &str = "bafyr4i";
const MAX_SHOWN: usize = 4;

/// A name, a key or a part of an id stands for nothing, or for too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// No event has this in its id.
    #[error("no event is called {0:?}")]
    NoEvent(String),
    /// An empty text, of which every id and key has one.
    #[error("an empty text names nothing")]
    Empty,
    /// Several events have this in their ids.
    #[error("{part:?} may be any of {}", .candidates.join(", "))]
    AmbiguousEvent {
        /// What was given.
        part: String,
        /// Some of the ids.
        candidates: Vec<String>,
    },
    /// No author has this name, and no key begins with it.
    #[error("no author is called {0:?}")]
    NoAuthor(String),
    /// Several keys begin with this.
    #[error("{0:?} is the start of several keys")]
    AmbiguousAuthor(String),
    /// No such checkpoint is held.
    #[error("no checkpoint {0} is held")]
    NoCheckpoint(u64),
}

impl Snapshot<'_> {
    /// Finds the cut that an expression names.
    ///
    /// # Errors
    /// [`ReadError::Cut`] where a part of it stands for nothing or for too much.
    pub fn find_cut(&self, expression: &CutExpression) -> Result<Cut, ReadError> {
        Ok(match expression {
            CutExpression::Checkpoint(height) => {
                let cut = self.checkpoint_cut(Height(*height))?;
                Cut::Heads(cut.ok_or(CutError::NoCheckpoint(*height))?.heads().to_vec())
            }
            CutExpression::Time(time) => Cut::Time(*time),
            CutExpression::Heads(parts) => Cut::Heads(
                parts.iter().map(|part| self.find_event(part)).collect::<Result<_, _>>()?,
            ),
            CutExpression::Clock(entries) => {
                let mut clock = BTreeMap::new();
                for (name, seq) in entries {
                    clock.insert(self.find_author(name)?, *seq);
                }
                Cut::Clock(clock)
            }
        })
    }

    /// Finds the event with this id, or with an id that this is a unique part of. The start of an
    /// id, with or without the letters that all ids begin with, is found at once; any other part
    /// by looking at all ids.
    ///
    /// # Errors
    /// [`ReadError::Cut`] where none or several are found.
    pub fn find_event(&self, part: &str) -> Result<EventId, ReadError> {
        if part.is_empty() {
            return Err(CutError::Empty.into());
        }
        if let Ok(id) = part.parse::<EventId>() {
            let held = self.reader().has(Family::Ids, &id.0)?;
            return if held { Ok(id) } else { Err(CutError::NoEvent(part.to_owned()).into()) };
        }
        let start = part.strip_prefix(ID_START).unwrap_or(part);
        let mut found = self.ids_from(start)?;
        if found.is_empty() {
            found = self.ids_with(part)?;
        }
        match found.as_slice() {
            [] => Err(CutError::NoEvent(part.to_owned()).into()),
            [id] => Ok(*id),
            several => Err(CutError::AmbiguousEvent {
                part: part.to_owned(),
                candidates: several.iter().map(ToString::to_string).collect(),
            }
            .into()),
        }
    }

    /// Finds the author with this local name, or whose key begins with this.
    ///
    /// # Errors
    /// [`ReadError::Cut`] where none or several are found.
    pub fn find_author(&self, name: &str) -> Result<AuthorKey, ReadError> {
        let names = self.names()?;
        if let Some((author, _)) = names.iter().find(|(_, known)| known.as_str() == name) {
            return Ok(*author);
        }
        if let Ok(author) = name.parse::<AuthorKey>() {
            return Ok(author);
        }
        let roles = self.published().verdicts.roles();
        let authors = self.published().lanes.authors().map(|(author, _)| author);
        let mut known: Vec<_> = authors.chain(roles.into_keys()).chain(names.into_keys()).collect();
        known.sort_unstable();
        known.dedup();
        known.retain(|author| !name.is_empty() && author.to_string().starts_with(name));
        match known.as_slice() {
            [] => Err(CutError::NoAuthor(name.to_owned()).into()),
            [author] => Ok(*author),
            _ => Err(CutError::AmbiguousAuthor(name.to_owned()).into()),
        }
    }

    /// Ids whose text, after the common letters, begins with `start`; at most a few.
    fn ids_from(&self, start: &str) -> Result<Vec<EventId>, StorageError> {
        let Some(lowest) = lowest_digest(start) else { return Ok(Vec::new()) };
        let mut walk = self.reader().walk(Family::Ids, &[])?;
        walk.seek(&lowest)?;
        let mut found = Vec::new();
        while let Some((key, _)) = walk.item() {
            let id = read_id(key)?;
            if found.len() == MAX_SHOWN || !tail_of(&id.to_string()).starts_with(start) {
                break;
            }
            found.push(id);
            walk.next()?;
        }
        Ok(found)
    }

    /// Ids whose text has `part` in it; at most a few.
    fn ids_with(&self, part: &str) -> Result<Vec<EventId>, StorageError> {
        let mut walk = self.reader().walk(Family::Ids, &[])?;
        walk.first()?;
        let mut found = Vec::new();
        while let Some((key, _)) = walk.item() {
            let id = read_id(key)?;
            if tail_of(&id.to_string()).contains(part) {
                found.push(id);
            }
            if found.len() == MAX_SHOWN {
                break;
            }
            walk.next()?;
        }
        Ok(found)
    }
}

fn tail_of(text: &str) -> &str {
    text.strip_prefix(ID_START).unwrap_or(text)
}

fn read_id(key: &[u8]) -> Result<EventId, StorageError> {
    let digest = key.try_into().map_err(|_| StorageError::damaged("the key of an id"))?;
    Ok(EventId(digest))
}

/// The lowest digest whose id's text continues the common letters with `start`. The letters
/// carry five bits each; the first of them has two bits of what all ids share.
fn lowest_digest(start: &str) -> Option<[u8; 32]> {
    let mut digest = [0_u8; 32];
    let mut bit = 0_usize;
    for (index, letter) in start.bytes().enumerate() {
        let value = match letter {
            b'a'..=b'z' => letter - b'a',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        let bits = if index == 0 { 3 } else { 5 };
        if index == 0 && value > 7 {
            return None;
        }
        for shift in (0..bits).rev() {
            if let Some(byte) = digest.get_mut(bit / 8) {
                *byte |= ((value >> shift) & 1) << (7 - bit % 8);
            }
            bit += 1;
        }
    }
    Some(digest)
}
