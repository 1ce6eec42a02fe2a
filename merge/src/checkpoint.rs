//! Checkpoints, and the blocks that list their cuts and validators.

use std::fmt;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::cbor::{self, Malformed, Read};
use crate::id::{AuthorKey, BlockId, CheckpointId, Codec, EventId, Micros};
use crate::log_tree::LogHash;

/// Heights are below this.
pub const HEIGHT_LIMIT: u64 = 1 << 53;
/// Largest number of heads of a certified cut.
pub const MAX_CUT_HEADS: usize = 8192;
/// Largest number of validators of a height.
pub const MAX_VALIDATORS: usize = 1024;

const FIELDS: u64 = 10;

/// A checkpoint's number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(pub u64);

impl Height {
    /// The height of the first checkpoint.
    pub const FIRST: Self = Self(1);

    /// The height after this one; `None` behind the last.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self).filter(|height| height.is_valid())
    }

    pub(crate) const fn is_valid(self) -> bool {
        self.0 >= 1 && self.0 < HEIGHT_LIMIT
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What validators certify about a cut of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ledger's genesis.
    pub ledger: EventId,
    /// Its number.
    pub height: Height,
    /// The checkpoint before; none at height 1.
    pub prev: Option<CheckpointId>,
    /// The [`CutBlock`] with the heads of the cut.
    pub cut: BlockId,
    /// Events in the cut, which is the length of the certified log; at least 1.
    pub size: u64,
    /// Merkle root of the certified log.
    pub root: LogHash,
    /// Root of the state of the cut.
    pub state: [u8; 32],
    /// The [`ValidatorsBlock`] with the keys that certify the next height.
    pub validators: BlockId,
    /// The largest time in the cut.
    pub time: Micros,
}

impl Checkpoint {
    /// Reads the strict encoding of a checkpoint.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let d = &mut Decoder::new(bytes);
        cbor::map(d, FIELDS)?;
        cbor::version(d)?;
        cbor::key(d, "cut")?;
        let cut = cbor::link_to(d, list_block)?;
        cbor::key(d, "prev")?;
        let prev = match d.datatype().map_err(cbor::malformed)? {
            Type::Null => d.null().map(|()| None).map_err(cbor::malformed)?,
            _ => Some(cbor::link_to(d, CheckpointId::from_block)?),
        };
        cbor::key(d, "root")?;
        let root = cbor::array(d)?;
        cbor::key(d, "size")?;
        let size = d.u64().map_err(cbor::malformed)?;
        cbor::key(d, "time")?;
        let time = Micros(d.u64().map_err(cbor::malformed)?);
        cbor::key(d, "state")?;
        let state = cbor::array(d)?;
        cbor::key(d, "height")?;
        let height = Height(d.u64().map_err(cbor::malformed)?);
        cbor::key(d, "ledger")?;
        let ledger = cbor::link_to(d, EventId::from_block)?;
        cbor::key(d, "validators")?;
        let validators = cbor::link_to(d, list_block)?;
        cbor::end(d)?;
        let checkpoint = Self { ledger, height, prev, cut, size, root, state, validators, time };
        cbor::canonical(bytes, &checkpoint.encode()?)?;
        Ok(checkpoint)
    }

    /// Encodes the checkpoint.
    ///
    /// # Errors
    /// Says which limit is broken.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        self.check()?;
        Ok(cbor::encode(448, |w| {
            w.map(FIELDS)?.str("v")?.u8(1)?.str("cut")?;
            cbor::put_link(w, self.cut)?;
            w.str("prev")?;
            match self.prev {
                Some(prev) => cbor::put_link(w, prev.block())?,
                None => w.null()?.ok()?,
            }
            w.str("root")?.bytes(&self.root)?.str("size")?.u64(self.size)?;
            w.str("time")?.u64(self.time.0)?.str("state")?.bytes(&self.state)?;
            w.str("height")?.u64(self.height.0)?.str("ledger")?;
            cbor::put_link(w, self.ledger.block())?;
            w.str("validators")?;
            cbor::put_link(w, self.validators)
        }))
    }

    /// The encoding together with its id.
    ///
    /// # Errors
    /// Says which limit is broken.
    pub fn seal(&self) -> Result<(CheckpointId, Vec<u8>), Malformed> {
        self.encode().map(|bytes| (CheckpointId::of(&bytes), bytes))
    }

    fn check(&self) -> Read<()> {
        if !self.height.is_valid() {
            return Err("height is not 1 to 2^53 - 1".into());
        }
        if self.prev.is_none() != (self.height == Height::FIRST) {
            return Err("prev is null at height 1 and nowhere else".into());
        }
        if self.size == 0 {
            return Err("size is 0".into());
        }
        if self.time > Micros::MAX {
            return Err("time is 2^53 or more".into());
        }
        if [self.cut, self.validators].iter().any(|id| id.codec != Codec::DagCbor) {
            return Err("a link to a raw block".into());
        }
        Ok(())
    }
}

/// The heads of a certified cut: 1 to 8,192, strictly ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutBlock(Vec<EventId>);

impl CutBlock {
    /// Checks order and number of the heads.
    ///
    /// # Errors
    /// Says which limit is broken.
    pub fn new(heads: Vec<EventId>) -> Result<Self, Malformed> {
        check_list(&heads, MAX_CUT_HEADS)?;
        Ok(Self(heads))
    }

    /// The heads, strictly ascending.
    pub fn heads(&self) -> &[EventId] {
        &self.0
    }

    /// Reads the strict encoding.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let heads = read_list(bytes, MAX_CUT_HEADS, |d| cbor::link_to(d, EventId::from_block))?;
        let block = Self::new(heads)?;
        cbor::canonical(bytes, &block.encode())?;
        Ok(block)
    }

    /// Encodes the block.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(4 + 41 * self.0.len(), |w| {
            w.array(self.0.len() as u64)?;
            self.0.iter().try_for_each(|head| cbor::put_link(w, head.block()))
        })
    }

    /// The encoding together with its id.
    pub fn seal(&self) -> (BlockId, Vec<u8>) {
        let bytes = self.encode();
        (BlockId::of(Codec::DagCbor, &bytes), bytes)
    }
}

/// The keys that certify a height: 1 to 1,024, strictly ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorsBlock(Vec<AuthorKey>);

impl ValidatorsBlock {
    /// Checks order and number of the keys.
    ///
    /// # Errors
    /// Says which limit is broken.
    pub fn new(keys: Vec<AuthorKey>) -> Result<Self, Malformed> {
        check_list(&keys, MAX_VALIDATORS)?;
        Ok(Self(keys))
    }

    /// The keys, strictly ascending.
    pub fn keys(&self) -> &[AuthorKey] {
        &self.0
    }

    /// Reads the strict encoding.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let block = Self::new(read_list(bytes, MAX_VALIDATORS, cbor::author)?)?;
        cbor::canonical(bytes, &block.encode())?;
        Ok(block)
    }

    /// Encodes the block.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(4 + 34 * self.0.len(), |w| {
            w.array(self.0.len() as u64)?;
            self.0.iter().try_for_each(|key| w.bytes(&key.0)?.ok())
        })
    }

    /// The encoding together with its id.
    pub fn seal(&self) -> (BlockId, Vec<u8>) {
        let bytes = self.encode();
        (BlockId::of(Codec::DagCbor, &bytes), bytes)
    }
}

fn list_block(id: BlockId) -> Option<BlockId> {
    (id.codec == Codec::DagCbor).then_some(id)
}

fn check_list<T: Ord>(items: &[T], limit: usize) -> Read<()> {
    if items.is_empty() || items.len() > limit {
        return Err(format!("{} entries, not 1 to {limit}", items.len()).into());
    }
    if !cbor::ascending(items) {
        return Err("entries do not ascend strictly".into());
    }
    Ok(())
}

fn read_list<T>(
    bytes: &[u8],
    limit: usize,
    mut read: impl FnMut(&mut Decoder<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    let d = &mut Decoder::new(bytes);
    let count = cbor::list(d)?;
    if count > limit as u64 {
        return Err(format!("{count} entries, not 1 to {limit}").into());
    }
    let items = (0..count).map(|_| read(d)).collect::<Read<Vec<_>>>()?;
    cbor::end(d)?;
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            ledger: EventId([1; 32]),
            height: Height(2),
            prev: Some(CheckpointId([2; 32])),
            cut: BlockId { codec: Codec::DagCbor, digest: [3; 32] },
            size: 7,
            root: [4; 32],
            state: [5; 32],
            validators: BlockId { codec: Codec::DagCbor, digest: [6; 32] },
            time: Micros(8),
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        let first = Checkpoint { height: Height::FIRST, prev: None, ..checkpoint() };
        let last = Checkpoint { height: Height(HEIGHT_LIMIT - 1), ..checkpoint() };
        for checkpoint in [checkpoint(), first, last] {
            let bytes = checkpoint.encode().unwrap();
            assert_eq!(Checkpoint::decode(&bytes), Ok(checkpoint));
            for len in 0..bytes.len() {
                assert!(Checkpoint::decode(&bytes[..len]).is_err());
            }
        }
    }

    #[test]
    fn limits_hold() {
        let raw = BlockId { codec: Codec::Raw, digest: [3; 32] };
        for broken in [
            Checkpoint { height: Height(0), ..checkpoint() },
            Checkpoint { height: Height(HEIGHT_LIMIT), ..checkpoint() },
            Checkpoint { height: Height::FIRST, ..checkpoint() },
            Checkpoint { prev: None, ..checkpoint() },
            Checkpoint { size: 0, ..checkpoint() },
            Checkpoint { time: Micros(Micros::MAX.0 + 1), ..checkpoint() },
            Checkpoint { cut: raw, ..checkpoint() },
            Checkpoint { validators: raw, ..checkpoint() },
        ] {
            assert!(broken.encode().is_err(), "{broken:?}");
        }
    }

    #[test]
    fn lists_have_limits() {
        let numbered = |i: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(i as u64).to_be_bytes());
            key
        };
        let keys = |count| (0..count).map(|i| AuthorKey(numbered(i))).collect::<Vec<_>>();
        let heads = |count| (0..count).map(|i| EventId(numbered(i))).collect::<Vec<_>>();
        let block = ValidatorsBlock::new(keys(MAX_VALIDATORS)).unwrap();
        assert_eq!(ValidatorsBlock::decode(&block.encode()), Ok(block));
        let block = CutBlock::new(heads(MAX_CUT_HEADS)).unwrap();
        assert_eq!(CutBlock::decode(&block.encode()), Ok(block));
        assert!(ValidatorsBlock::new(keys(MAX_VALIDATORS + 1)).is_err());
        assert!(CutBlock::new(heads(MAX_CUT_HEADS + 1)).is_err());
        for count in [0, MAX_VALIDATORS + 1] {
            assert!(ValidatorsBlock::decode(&ValidatorsBlock(keys(count)).encode()).is_err());
        }
        for count in [0, MAX_CUT_HEADS + 1] {
            assert!(CutBlock::decode(&CutBlock(heads(count)).encode()).is_err());
        }
        let twice = ValidatorsBlock(vec![AuthorKey([1; 32]); 2]);
        assert!(ValidatorsBlock::decode(&twice.encode()).is_err());
        // A list that promises more than it holds costs nothing.
        assert!(CutBlock::decode(&[0x9b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
