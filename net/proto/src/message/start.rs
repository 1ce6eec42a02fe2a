//! Starting from a checkpoint: the file that a replica begins with, in parts.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use quipu_merge::{CheckpointId, Height};

use crate::limits::MAX_PART_LEN;
use crate::wire;

/// The answer to what a replica may start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Start {
    /// There is nothing: nothing is certified here, or what is cannot be read.
    #[n(0)]
    Nothing,
    /// It is being made, or there is too much to do: ask again.
    #[n(1)]
    Later,
    /// This file, for as long as it is asked for.
    #[n(2)]
    From(#[n(0)] StartFile),
}

/// A file to start from. It does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct StartFile {
    /// The height of its checkpoint.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// Its checkpoint.
    #[cbor(n(1), with = "wire::checkpoint")]
    pub checkpoint: CheckpointId,
    /// Its length, in bytes.
    #[n(2)]
    pub len: u64,
}

/// Asks for a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskPart {
    /// The file.
    #[n(0)]
    pub file: StartFile,
    /// Where the part begins, in bytes.
    #[n(1)]
    pub offset: u64,
}

/// A part of a file: up to its end, or as long as a part may be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// Where it begins, in bytes.
    #[n(0)]
    pub offset: u64,
    /// The part; nothing where the file is not to be had any more.
    #[n(1)]
    pub bytes: Option<ByteVec>,
}

impl Part {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let len = self.bytes.as_ref().map_or(0, |bytes| bytes.len());
        if len > MAX_PART_LEN { Err("bytes") } else { Ok(()) }
    }
}
