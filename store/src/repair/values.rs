//! The values in a damaged database: openings, and the blocks of long values.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use quipu_merge::{AuthorKey, BlockId, Body, BodyId, Dot, EventId, OpeningId, Operation};

use super::events::Raw;
use crate::blocks::{self, BlockSink, Entry};
use crate::db::Salvage;
use crate::error::MergeError;
use crate::missing::ValueSource;
use crate::opening;
use crate::record;
use crate::schema::{self, Family};

/// What can be read of the values of a damaged database.
pub struct Values<'s> {
    salvage: &'s Salvage,
    /// The numbers of the blocks, by the blocks alone.
    numbers: OnceCell<HashMap<BlockId, u64>>,
}

impl<'s> Values<'s> {
    /// Nothing is read yet.
    pub const fn new(salvage: &'s Salvage) -> Self {
        Self { salvage, numbers: OnceCell::new() }
    }

    /// The openings of an event. Whether they are what it names is for the caller to check.
    pub fn openings(&self, dot: Dot, author: AuthorKey, body: &Body) -> Vec<(u16, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut read = |page: &[u8]| {
            for (slot, stored) in opening::read_page(page).unwrap_or_default() {
                if let Some(opening) = opening::unpack(author, stored) {
                    found.insert(slot, opening);
                }
            }
        };
        let before = self.salvage.unreadable();
        let visited = self.salvage.visit(Family::Openings, &schema::dot_key(dot), |_, page| {
            read(page);
            Ok::<_, ()>(())
        });
        // A place that cannot be read may hide others, which are found by their keys.
        if visited.is_err() || self.salvage.unreadable() > before {
            for (slot, _) in (0..).zip(body.data()).filter(|(_, o)| o.value().is_some()) {
                let page = self.salvage.get(Family::Openings, &schema::opening_key(dot, slot));
                page.iter().for_each(|page| read(page));
            }
        }
        found.into_iter().collect()
    }

    /// A block, which is what its id says. The index is only a hint where it is.
    pub fn block(&self, id: BlockId) -> Option<Vec<u8>> {
        let entry = self.salvage.get(Family::Digests, &schema::digest_key(id));
        let hint = entry.and_then(|entry| Entry::decode(&entry));
        hint.and_then(|entry| self.numbered(entry.number, id))
            .or_else(|| self.numbered(*self.numbers().get(&id)?, id))
    }

    /// The event with this id, as far as the index by id tells where it is.
    fn raw(&self, event: EventId) -> Option<(Dot, Raw)> {
        let place = self.salvage.get(Family::Ids, &event.0)?;
        let dot = record::Reader(&place).dot()?;
        Some((dot, Raw::read(self.salvage, dot)?))
    }

    fn numbered(&self, number: u64, id: BlockId) -> Option<Vec<u8>> {
        let record = self.salvage.get(Family::Blocks, &number.to_be_bytes())?;
        let (_, bytes) = blocks::decode(&record)?;
        (BlockId::of(id.codec, bytes) == id).then(|| bytes.to_vec())
    }

    /// Where blocks are that the index does not know: all of them are gone through, once.
    fn numbers(&self) -> &HashMap<BlockId, u64> {
        self.numbers.get_or_init(|| {
            let mut numbers = HashMap::new();
            let visited = self.salvage.visit(Family::Blocks, &[], |key, record| {
                let number = key.try_into().ok().map(u64::from_be_bytes);
                numbers.extend(blocks::decode(record).map(|(id, _)| id).zip(number));
                Ok::<_, ()>(())
            });
            debug_assert!(visited.is_ok(), "visiting fails only where the visitor does");
            numbers
        })
    }
}

impl ValueSource for Values<'_> {
    fn body(&mut self, event: EventId, id: BodyId) -> Result<Option<Vec<u8>>, MergeError> {
        let found = self.raw(event).map(|(_, found)| found.body);
        Ok(found.filter(|body| BodyId::of(body) == id))
    }

    fn opening(
        &mut self,
        event: EventId,
        slot: u16,
        id: OpeningId,
    ) -> Result<Option<Vec<u8>>, MergeError> {
        let Some((dot, found)) = self.raw(event) else { return Ok(None) };
        let Ok(body) = Body::decode(&found.body) else { return Ok(None) };
        if body.data().get(usize::from(slot)).and_then(Operation::value) != Some(id) {
            return Ok(None);
        }
        let openings = self.openings(dot, found.event.event().author, &body);
        let found = openings.into_iter().find(|(at, _)| *at == slot);
        Ok(found.map(|(_, opening)| opening).filter(|opening| OpeningId::of(opening) == id))
    }

    fn copy_blocks(&mut self, to: &mut BlockSink<'_>, opening: &[u8]) -> Result<(), MergeError> {
        let Some(link) = blocks::link_of(opening) else { return Ok(()) };
        to.copy(link, |id| Ok(self.block(id)))
    }
}
