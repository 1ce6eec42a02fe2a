//! Values that did not come along.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use quipu_merge::{BlockId, EventId};

use crate::limits::{MAX_OPENING_LEN, MAX_VALUE_LEN};
use crate::wire;

/// Something of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Item {
    /// A block of a long value.
    #[n(0)]
    Block(#[cbor(n(0), with = "wire::block")] BlockId),
    /// An opening.
    #[n(1)]
    Opening {
        /// The event whose value it opens.
        #[cbor(n(0), with = "wire::event")]
        event: EventId,
        /// The index of the operation in its body.
        #[n(1)]
        slot: u16,
    },
}

impl Item {
    /// How long it may be, in bytes.
    pub(crate) const fn max_len(&self) -> usize {
        match self {
            Self::Block(_) => MAX_VALUE_LEN,
            Self::Opening { .. } => MAX_OPENING_LEN,
        }
    }
}

/// Asks for values.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ask {
    /// The number of the question.
    #[n(0)]
    pub request: u64,
    /// What is asked for; each is answered, in this order.
    #[n(1)]
    pub items: Vec<Item>,
}

/// The answer to the next that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Given {
    /// The number of the question.
    #[n(0)]
    pub request: u64,
    /// What was asked for, if it is at hand.
    #[n(1)]
    pub bytes: Option<ByteVec>,
}

/// What was asked for before and was not at hand has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Got {
    /// What has come.
    #[n(0)]
    pub item: Item,
}
