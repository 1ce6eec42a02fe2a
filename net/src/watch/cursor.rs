//! Where a watch is, as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use quipu_merge::{AuthorKey, EventId, Seq};
use quipu_store::HeldEvent;

use super::WatchError;
use super::shelf::{Shelf, ShelfId};

/// So many events a cursor names itself; a list of more branches is put on the shelf.
const MAX_NAMED: usize = 32;
/// What a cursor begins with: a version of its layout.
const INLINE: u8 = 1;
const SHELVED: u8 = 2;
/// As much of the ledger's id as a cursor holds, in bytes.
const LEDGER_LEN: usize = 8;

/// A place among the events that a replica has admitted: after these, before all others.
///
/// It stays good across restarts. Its text is of up to 1,500 letters that need no escaping anywhere; its
/// content is nobody's business but this replica's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    ledger: [u8; LEDGER_LEN],
    shelf: Option<ShelfId>,
    events: BTreeSet<EventId>,
}

impl Cursor {
    /// The list on the shelf that it goes on from.
    pub(super) const fn shelf(&self) -> Option<ShelfId> {
        self.shelf
    }

    /// The events that it names.
    pub(super) fn tips(
        &self,
        shelf: &Shelf,
        ledger: EventId,
    ) -> Result<BTreeSet<EventId>, WatchError> {
        if Some(&self.ledger) != ledger.0.first_chunk() {
            return Err(WatchError::Cursor);
        }
        let mut tips = match self.shelf {
            Some(id) => shelf.load(id)?,
            None => BTreeSet::new(),
        };
        tips.extend(&self.events);
        Ok(tips)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![if self.shelf.is_some() { SHELVED } else { INLINE }];
        bytes.extend_from_slice(&self.ledger);
        bytes.extend(self.shelf.iter().flatten());
        bytes.extend(self.events.iter().flat_map(|event| event.0));
        f.write_str(&BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Cursor {
    type Err = WatchError;

    fn from_str(text: &str) -> Result<Self, WatchError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| WatchError::Cursor)?;
        parse(&bytes).ok_or(WatchError::Cursor)
    }
}

fn parse(bytes: &[u8]) -> Option<Cursor> {
    let (&kind, rest) = bytes.split_first()?;
    let (ledger, rest) = rest.split_first_chunk()?;
    let (shelf, rest) = match kind {
        INLINE => (None, rest),
        SHELVED => {
            let (id, rest) = rest.split_first_chunk()?;
            (Some(*id), rest)
        }
        _ => return None,
    };
    let (events, []) = rest.as_chunks::<32>() else { return None };
    let events: BTreeSet<_> = events.iter().copied().map(EventId).collect();
    (events.len() <= MAX_NAMED).then_some(Cursor { ledger: *ledger, shelf, events })
}

/// What has been seen: the last events of each author's branches.
#[derive(Debug, Default)]
pub struct Seen {
    tips: BTreeMap<AuthorKey, Vec<(Seq, EventId)>>,
    /// How many branches there are.
    count: usize,
    /// What is on the shelf of it, and the last events of what came after that.
    shelf: Option<ShelfId>,
    since: BTreeSet<EventId>,
}

impl Seen {
    /// Adds the last event of a branch.
    pub fn add(&mut self, author: AuthorKey, seq: Seq, id: EventId) {
        self.tips.entry(author).or_default().push((seq, id));
        self.count += 1;
    }

    /// Goes on from what this cursor has put on the shelf.
    pub fn start_from(&mut self, cursor: &Cursor) {
        if cursor.shelf.is_some() {
            (self.shelf, self.since) = (cursor.shelf, cursor.events.clone());
        }
    }

    /// The last events of the branches of an author.
    pub fn of(&self, author: AuthorKey) -> Vec<(Seq, EventId)> {
        self.tips.get(&author).cloned().unwrap_or_default()
    }

    /// The last events of all branches.
    pub fn ids(&self) -> impl Iterator<Item = EventId> {
        self.tips.values().flatten().map(|(_, id)| *id)
    }

    /// Whether an event goes on where something seen has ended.
    pub fn continues(&self, event: &HeldEvent) -> bool {
        match (self.tips.get(&event.author), event.prev) {
            (None, None) => true,
            (Some(tips), Some(prev)) => tips.iter().any(|(_, tip)| *tip == prev),
            _ => false,
        }
    }

    /// Adds an event whose predecessors on its author's chain have been seen.
    pub fn advance(&mut self, event: &HeldEvent) {
        let tips = self.tips.entry(event.author).or_default();
        let before = tips.len();
        tips.retain(|(_, tip)| Some(*tip) != event.prev);
        tips.push((event.seq, event.id));
        self.count = self.count + tips.len() - before;
        if self.shelf.is_some() {
            event.prev.map(|prev| self.since.remove(&prev));
            self.since.insert(event.id);
        }
    }

    /// Where this is.
    pub fn cursor(&mut self, shelf: &Shelf, ledger: EventId) -> Result<Cursor, WatchError> {
        let all = self.ids();
        let ledger = ledger.0.first_chunk().copied().unwrap_or_default();
        if self.count <= MAX_NAMED {
            return Ok(Cursor { ledger, shelf: None, events: all.collect() });
        }
        if self.shelf.is_none() || self.since.len() > MAX_NAMED {
            self.shelf = Some(shelf.save(&all.collect())?);
            self.since.clear();
        }
        Ok(Cursor { ledger, shelf: self.shelf, events: self.since.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(author: u8, seq: u64, prev: Option<u8>, id: u8) -> HeldEvent {
        let prev = prev.map(|id| EventId([id; 32]));
        let author = AuthorKey([author; 32]);
        HeldEvent { author, seq: Seq(seq), id: EventId([id; 32]), prev }
    }

    #[test]
    fn what_is_written_is_read() {
        let events = BTreeSet::from([EventId([1; 32]), EventId([2; 32])]);
        for shelf in [None, Some([7; 16])] {
            let cursor = Cursor { ledger: [9; 8], shelf, events: events.clone() };
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let long = BASE64URL_NOPAD.encode(&[vec![INLINE; 9], vec![0; 31]].concat());
        let many: Vec<u8> = (0..=32_u8).flat_map(|number| [number; 32]).collect();
        let many = BASE64URL_NOPAD.encode(&[vec![INLINE; 9], many].concat());
        for text in ["", "?", "AA", "AwAAAAAAAAAA", &long, &many] {
            assert!(matches!(text.parse::<Cursor>(), Err(WatchError::Cursor)), "{text}");
        }
    }

    #[test]
    fn branches_are_followed() {
        let mut seen = Seen::default();
        for event in [held(1, 1, None, 10), held(1, 2, Some(10), 11), held(2, 1, None, 20)] {
            assert!(seen.continues(&event));
            seen.advance(&event);
        }
        // A fork does not go on where something has ended, and what was seen does not either.
        assert!(!seen.continues(&held(1, 2, Some(10), 12)));
        assert!(!seen.continues(&held(1, 2, Some(10), 11)));
        seen.advance(&held(1, 2, Some(10), 12));
        assert_eq!(seen.of(AuthorKey([1; 32])).len(), 2);
        assert_eq!(seen.count, 3);
    }
}
