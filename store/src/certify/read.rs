//! Reading checkpoints, and what they say of an event.

use quipu_merge::{
    AuthorKey, Certificate, Checkpoint, CheckpointId, Clock, CutBlock, Dot, EventId, Height,
    LogHash, StoredHashes, ValidatorsBlock,
};

use super::CertifiedCheckpoint;
use super::records::{self, Part};
use crate::db::Reader;
use crate::error::{ReadError, StorageError};
use crate::lookup::{self, Stored};
use crate::record;
use crate::schema::{Family, certified, checkpoints};
use crate::shallow::Floor;
use crate::snapshot::Snapshot;

impl<'l> Snapshot<'l> {
    /// The height of the last checkpoint that counts; none before the first.
    pub fn certified_height(&self) -> Option<Height> {
        self.published().finality.chain.height()
    }

    /// How many events are certified, which is the length of the certified log.
    pub fn certified_len(&self) -> u64 {
        self.published().finality.chain.size()
    }

    /// The id of the last checkpoint that counts.
    pub fn certified_tip(&self) -> Option<CheckpointId> {
        self.published().finality.chain.tip()
    }

    /// The checkpoint of a height, if it counts.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where it lies before the one that the store starts from, and is not here;
    /// the disk, the database or its content.
    pub fn checkpoint(&self, height: Height) -> Result<Option<CertifiedCheckpoint>, ReadError> {
        let reader = self.reader();
        // Of the one before a change of validators, only the header is kept.
        if let Some(floor) = self.starts_after(height)
            && records::find(reader, height, Part::Certificate, Certificate::decode)?.is_none()
        {
            return Err(floor.pruned());
        }
        let find = |part| records::find(reader, height, part, Checkpoint::decode);
        let Some(checkpoint) = find(Part::Header)? else { return Ok(None) };
        Ok(Some(CertifiedCheckpoint {
            checkpoint,
            certificate: records::block(reader, height, Part::Certificate, Certificate::decode)?,
            cut: records::block(reader, height, Part::Cut, CutBlock::decode)?,
            validators: records::block(reader, height, Part::Validators, ValidatorsBlock::decode)?,
        }))
    }

    /// Where the store starts, if that is after a height that counts.
    pub(crate) fn starts_after(&self, height: Height) -> Option<&'l Floor> {
        let floor = self.ledger_handle().floor.as_ref();
        floor.filter(|floor| (Height::FIRST..floor.height()).contains(&height))
    }

    /// The height from which on all checkpoints that count are here: the first, or the one that the store
    /// starts from.
    pub fn first_checkpoint(&self) -> Height {
        self.ledger_handle().floor.as_ref().map_or(Height::FIRST, Floor::height)
    }

    /// Calls `visit` with the headers of the checkpoints that count, from a height on, until it
    /// returns `false`.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where the store starts from a later one; the disk, the database or its
    /// content.
    pub fn checkpoints(
        &self,
        from: Height,
        mut visit: impl FnMut(&Checkpoint) -> bool,
    ) -> Result<(), ReadError> {
        let mut walk = self.reader().walk(Family::Final, &[checkpoints::KEPT])?;
        let mut next = from.max(Height::FIRST);
        if let Some(floor) = self.starts_after(next) {
            return Err(floor.pruned());
        }
        // The other parts of a checkpoint, which may be long, are passed over.
        loop {
            let key = checkpoints::kept(next, Part::Header);
            walk.seek(&key)?;
            let Some((found, bytes)) = walk.item().filter(|(found, _)| *found == key) else {
                return Ok(());
            };
            let damaged = |_| StorageError::damaged(format!("checkpoint {next}"));
            let checkpoint = Checkpoint::decode(bytes).map_err(damaged)?;
            debug_assert_eq!(checkpoints::parse_height(found), Some(checkpoint.height));
            let Some(after) = next.next().filter(|_| visit(&checkpoint)) else { return Ok(()) };
            next = after;
        }
    }

    /// The certified cut of a height, if it counts.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where the store starts from a later one.
    pub(crate) fn checkpoint_cut(&self, height: Height) -> Result<Option<CutBlock>, ReadError> {
        match self.starts_after(height) {
            Some(floor) => Err(floor.pruned()),
            None => Ok(records::find(self.reader(), height, Part::Cut, CutBlock::decode)?),
        }
    }

    /// The height of the last checkpoint that counts and whose cut is within this one.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn certified_within(&self) -> Result<Option<Height>, ReadError> {
        let Some(last) = self.certified_height() else { return Ok(None) };
        let damaged = || StorageError::damaged("the cut of a checkpoint is missing");
        let frontier = self.frontier()?;
        // Each cut contains the one before; and all that can be told contain the one that the store
        // starts from.
        let start = self.ledger_handle().floor.as_ref().map_or(0, |floor| floor.height().0);
        let (mut low, mut high) = (start, last.0 + 1);
        while high - low > 1 {
            let middle = low.midpoint(high);
            let cut = self.checkpoint_cut(Height(middle))?.ok_or_else(damaged)?;
            let within = self.clock_of_heads(cut.heads())?.within(&frontier);
            if within { low = middle } else { high = middle }
        }
        Ok(Some(Height(low)).filter(|height| *height >= Height::FIRST))
    }

    /// Whether a checkpoint counts whose cut is within a frontier.
    pub(crate) fn is_within(&self, height: Height, frontier: &Clock) -> Result<bool, ReadError> {
        let Some(cut) = self.checkpoint_cut(height)? else { return Ok(false) };
        Ok(self.clock_of_heads(cut.heads())?.within(frontier))
    }

    /// Whether the cut holds all of the cut of this checkpoint, which counts here.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where the store starts beyond one of the two; the disk, the database or its
    /// content.
    pub fn holds_checkpoint(&self, height: Height) -> Result<bool, ReadError> {
        self.is_within(height, &self.frontier()?)
    }

    /// The keys that certify a height, if the one before counts.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn validators_of(&self, height: Height) -> Result<Option<Vec<AuthorKey>>, ReadError> {
        let genesis = self.published().authority.genesis();
        let start = self.ledger_handle().floor.as_ref().map(Floor::height);
        Ok(records::validators_of(self.reader(), genesis, height, start)?)
    }

    /// The keys that certify the height after the last checkpoint whose cut is within this one.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn validators_within(&self) -> Result<Vec<AuthorKey>, ReadError> {
        let next = match self.certified_within()? {
            None => Some(Height::FIRST),
            Some(height) if Some(height) == self.certified_height() => {
                return Ok(self.next_validators());
            }
            Some(height) => height.next(),
        };
        let validators = next.map(|next| self.validators_of(next)).transpose()?;
        Ok(validators.flatten().unwrap_or_default())
    }

    /// The keys that certify the height that comes next.
    pub fn next_validators(&self) -> Vec<AuthorKey> {
        self.published().finality.chain.validators().to_vec()
    }

    /// The height of the first certified cut that holds an event; none where it is not certified.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`].
    pub fn certified_in(&self, event: EventId) -> Result<Option<Height>, ReadError> {
        let dot = lookup::dot_of(self.reader(), event)?.ok_or(ReadError::NoSuchEvent(event))?;
        Ok(self.height_of(dot))
    }

    /// The place of an event in the certified log, from 0; none where it is not certified.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`], and [`ReadError::BelowStart`] where the store starts from a checkpoint
    /// that holds it.
    pub fn log_index(&self, event: EventId) -> Result<Option<u64>, ReadError> {
        let dot = lookup::dot_of(self.reader(), event)?.ok_or(ReadError::NoSuchEvent(event))?;
        self.index_of(dot, event)
    }

    /// The event at a place of the certified log.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] where the store starts from a checkpoint that holds it; the disk, the
    /// database or its content.
    pub fn log_entry(&self, index: u64) -> Result<Option<EventId>, ReadError> {
        let Some(dot) = self.log_dot(index)? else {
            let floor = self.ledger_handle().floor.as_ref();
            return match floor.filter(|floor| index < floor.size) {
                Some(floor) => Err(floor.pruned()),
                None => Ok(None),
            };
        };
        Ok(Some(EventId::of(Stored::read(self.reader(), dot)?.record()?.event)))
    }

    /// The hashes of the certified log, of which every proof about it is made.
    pub fn log_hashes(&self) -> LogHashes<'_> {
        LogHashes::new(self.reader())
    }

    pub(crate) fn log_dot(&self, index: u64) -> Result<Option<Dot>, StorageError> {
        let Some(entry) = self.reader().get(Family::Final, &certified::log(index))? else {
            return Ok(None);
        };
        let damaged = || StorageError::damaged(format!("entry {index} of the certified log"));
        record::Reader(&entry).dot().map(Some).ok_or_else(damaged)
    }
}

/// The hashes of the certified log, by their places among all of them.
#[derive(Clone, Copy)]
pub struct LogHashes<'r>(Reader<'r>);

impl<'r> LogHashes<'r> {
    pub(super) const fn new(reader: Reader<'r>) -> Self {
        Self(reader)
    }
}

impl StoredHashes for LogHashes<'_> {
    type Error = StorageError;

    fn read(&self, index: u64) -> Result<Option<LogHash>, StorageError> {
        let (leaf, nth) = leaf_of(index);
        let Some(entry) = self.0.get(Family::Final, &certified::log(leaf))? else {
            // A shallow store goes on from these, and has none of the entries that they come to.
            let hash = self.0.get(Family::Final, &certified::floor_hash(index))?;
            let damaged = || StorageError::damaged("a hash of the certified log");
            return hash.map(|hash| (*hash).try_into().map_err(|_| damaged())).transpose();
        };
        let damaged = || StorageError::damaged(format!("entry {leaf} of the certified log"));
        let mut r = record::Reader(&entry);
        r.dot().ok_or_else(damaged)?;
        let (hashes, rest) = r.0.as_chunks::<32>();
        let hash = hashes.get(nth).filter(|_| rest.is_empty()).ok_or_else(damaged)?;
        Ok(Some(*hash))
    }
}

/// The leaf that a hash came with, and which of those that came with it it is.
fn leaf_of(index: u64) -> (u64, usize) {
    // A leaf adds one hash, and one more for each perfect subtree that it completes: the first n
    // leaves add 2n without the number of ones in n.
    let before = |leaf: u64| 2 * leaf - u64::from(leaf.count_ones());
    let mut leaf = index / 2;
    while before(leaf + 1) <= index {
        leaf += 1;
    }
    (leaf, usize::try_from(index - before(leaf)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use quipu_merge::LogTree;

    use super::*;

    #[test]
    fn hashes_are_found_by_the_leaf_they_came_with() {
        let (mut tree, mut index) = (LogTree::new(), 0);
        for leaf in 0..3000_u64 {
            for nth in 0..tree.append([0; 32]).len() {
                assert_eq!(leaf_of(index), (leaf, nth));
                index += 1;
            }
        }
    }
}
