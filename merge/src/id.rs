//! Names of things: content ids, author keys, positions and times.
//!
//! Every CID of the format is a CIDv1 with a BLAKE3-256 multihash, so only the digest (and, where
//! both are allowed, the codec) is kept; the `cid` crate reads and writes the text form.

use std::fmt;
use std::str::FromStr;

use cid::multihash::Multihash;
use cid::{Cid, Version};
use ed25519_dalek::VerifyingKey;

/// Length of the BLAKE3-256 digest in every CID.
pub const DIGEST_LEN: usize = DIGEST_LEN_BYTE as usize;
/// Length of every CID in binary: version, codec, hash code, hash length, digest.
pub const CID_LEN: usize = 4 + DIGEST_LEN;

const BLAKE3_256: u8 = 0x1e;
const DIGEST_LEN_BYTE: u8 = 32;

/// The codecs that the format knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Uninterpreted bytes (0x55).
    Raw = 0x55,
    /// DAG-CBOR (0x71).
    DagCbor = 0x71,
}

/// The text is not a CID of this format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CIDv1 of a BLAKE3-256 hash in lower base32: {0:?}")]
pub struct InvalidId(pub String);

/// The content id of any block. Orders as its binary CID does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// How the block's bytes are to be read.
    pub codec: Codec,
    /// BLAKE3-256 of the block's bytes.
    pub digest: [u8; DIGEST_LEN],
}

impl BlockId {
    /// The id of `bytes` read as `codec`.
    pub fn of(codec: Codec, bytes: &[u8]) -> Self {
        Self { codec, digest: *blake3::hash(bytes).as_bytes() }
    }

    /// The binary CID.
    pub fn to_bytes(self) -> [u8; CID_LEN] {
        let mut out = [0; CID_LEN];
        out[..4].copy_from_slice(&[1, self.codec as u8, BLAKE3_256, DIGEST_LEN_BYTE]);
        out[4..].copy_from_slice(&self.digest);
        out
    }

    /// Reads a binary CID; `None` unless it is of this format, to the byte.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[1, codec, hash, len], digest) = bytes.split_first_chunk::<4>()? else { return None };
        let codec = match codec {
            0x55 => Codec::Raw,
            0x71 => Codec::DagCbor,
            _ => return None,
        };
        if hash != BLAKE3_256 || len != DIGEST_LEN_BYTE {
            return None;
        }
        Some(Self { codec, digest: digest.try_into().ok()? })
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash =
            Multihash::<64>::wrap(u64::from(BLAKE3_256), &self.digest).map_err(|_| fmt::Error)?;
        Cid::new_v1(self.codec as u64, hash).fmt(f)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlockId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId(text.to_owned());
        let cid = Cid::try_from(text).map_err(|_| invalid())?;
        if cid.version() != Version::V1 {
            return Err(invalid());
        }
        let id = Self::from_bytes(&cid.to_bytes()).ok_or_else(invalid)?;
        // Other bases and upper case name the same bytes, but only one text is canonical.
        if id.to_string() == text { Ok(id) } else { Err(invalid()) }
    }
}

macro_rules! dag_cbor_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; DIGEST_LEN]);

        impl $name {
            /// The id of the block with these bytes.
            pub fn of(bytes: &[u8]) -> Self {
                Self(*blake3::hash(bytes).as_bytes())
            }

            /// The same id, with its codec spelled out.
            pub const fn block(self) -> BlockId {
                BlockId { codec: Codec::DagCbor, digest: self.0 }
            }

            /// Reads a block id; `None` where the codec is not DAG-CBOR.
            pub fn from_block(id: BlockId) -> Option<Self> {
                (id.codec == Codec::DagCbor).then_some(Self(id.digest))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.block().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = text.parse::<BlockId>()?;
                Self::from_block(id).ok_or_else(|| InvalidId(text.to_owned()))
            }
        }

        impl From<$name> for BlockId {
            fn from(id: $name) -> Self {
                id.block()
            }
        }
    };
}

dag_cbor_id! {
    /// The id of an event: the CID of its encoding, signature included.
    EventId
}
dag_cbor_id! {
    /// The id of a body.
    BodyId
}
dag_cbor_id! {
    /// The id of an opening: what an operation calls its value.
    OpeningId
}
dag_cbor_id! {
    /// The id of a checkpoint.
    CheckpointId
}

/// An author's Ed25519 public key. Whether it is a valid point is for signature checks to say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorKey(pub [u8; 32]);

impl AuthorKey {
    /// Whether anything can be signed with it by the strict rule: it is the one encoding of a point
    /// of the curve that is not of small order. A grant to any other key is admitted, and of no use.
    pub fn can_sign(&self) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| !key.is_weak() && key.to_edwards().compress().to_bytes() == self.0)
    }
}

impl fmt::Display for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a key of 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of 64 hexadecimal digits: {0:?}")]
pub struct InvalidKey(pub String);

impl FromStr for AuthorKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey(text.to_owned());
        if text.len() != 64 || !text.is_ascii() {
            return Err(invalid());
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
            if pair.starts_with('+') {
                return Err(invalid());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
        }
        Ok(Self(key))
    }
}

/// An event's position in its author's chain, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The position of an author's first event.
    pub const FIRST: Self = Self(1);

    /// The position after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Microseconds since the Unix epoch, below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// The largest time that an event can carry.
    pub const MAX: Self = Self((1 << 53) - 1);
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_encoding_of_a_strong_point_can_sign() {
        let below = |y: u8| {
            let mut key = [0; 32];
            key[0] = y;
            AuthorKey(key)
        };
        // The same points, with the field's prime added.
        let beyond = |y: u8| {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (0xed + y, 0x7f);
            AuthorKey(key)
        };
        assert!((2..19).any(|y| below(y).can_sign()));
        assert!((0..19).all(|y| !beyond(y).can_sign()));
        // Of order 4, and of order 1.
        assert!(!below(0).can_sign() && !below(1).can_sign());
    }
}
