//! How the ledger's names are written in messages.

use minicbor::bytes::ByteArray;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encode, Encoder, Write};
use quipu_merge::AuthorKey;

/// Writes something that is sent or kept.
pub fn to_bytes(what: &impl Encode<()>) -> Vec<u8> {
    let mut out = Vec::new();
    // A vector takes everything.
    let Ok(()) = minicbor::encode(what, &mut out) else { return Vec::new() };
    out
}

pub mod bytes32 {
    use super::*;

    pub fn encode<C, W: Write>(
        value: &[u8; 32],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(value)?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<[u8; 32], decode::Error> {
        d.decode::<ByteArray<32>>().map(Into::into)
    }
}

pub mod signature {
    use super::*;

    pub fn encode<C, W: Write>(
        value: &[u8; 64],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(value)?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<[u8; 64], decode::Error> {
        d.decode::<ByteArray<64>>().map(Into::into)
    }
}

/// Writes and reads a type of 32 bytes.
macro_rules! fixed {
    ($module:ident, $type:path) => {
        pub mod $module {
            use super::*;

            pub fn encode<C, W: Write>(
                value: &$type,
                e: &mut Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                bytes32::encode(&value.0, e, ctx)
            }

            pub fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<$type, decode::Error> {
                bytes32::decode(d, ctx).map($type)
            }
        }
    };
}

fixed!(event, quipu_merge::EventId);
fixed!(author, AuthorKey);
fixed!(checkpoint, quipu_merge::CheckpointId);

/// So many bytes of a key tell it from others, wherever those are not chosen to be alike.
const SHORT: usize = 8;

/// What is left of a key of which only the first bytes are told. No author has such a key.
pub fn shortened(author: AuthorKey) -> AuthorKey {
    let mut short = [0; 32];
    short.iter_mut().zip(author.0).take(SHORT).for_each(|(to, byte)| *to = byte);
    AuthorKey(short)
}

/// The one of some keys, ascending from what is left of a key, that starts alike; nothing where there is none,
/// or several.
pub fn only_alike<'a>(
    short: AuthorKey,
    mut from_short: impl Iterator<Item = &'a AuthorKey>,
) -> Option<AuthorKey> {
    let one = from_short.next().filter(|key| shortened(**key) == short)?;
    from_short.next().is_none_or(|next| shortened(*next) != short).then_some(*one)
}

/// The key of an author, or its first bytes.
pub mod short_author {
    use super::*;

    pub fn encode<C, W: Write>(
        value: &AuthorKey,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        match value.0.first_chunk::<SHORT>() {
            Some(short) if shortened(*value) == *value => e.bytes(short)?.ok(),
            _ => author::encode(value, e, ctx),
        }
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<AuthorKey, decode::Error> {
        let bytes = d.bytes()?;
        if let Ok(key) = <[u8; 32]>::try_from(bytes) {
            return Ok(AuthorKey(key));
        }
        let short = <[u8; SHORT]>::try_from(bytes);
        let short = short.map_err(|_| decode::Error::message("not the key of an author"))?;
        let mut key = [0; 32];
        key.iter_mut().zip(short).for_each(|(to, byte)| *to = byte);
        Ok(AuthorKey(key))
    }
}

/// Lists of what is written by one of the others.
macro_rules! list {
    ($module:ident, $item:ident, $type:ty) => {
        pub mod $module {
            use super::*;

            pub fn encode<C, W: Write>(
                values: &[$type],
                e: &mut Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.array(values.len() as u64)?;
                values.iter().try_for_each(|value| super::$item::encode(value, e, ctx))
            }

            pub fn decode<C>(
                d: &mut Decoder<'_>,
                ctx: &mut C,
            ) -> Result<Vec<$type>, decode::Error> {
                let count = d.array()?.ok_or_else(|| decode::Error::message("endless list"))?;
                // What is claimed is not believed: memory grows with what comes.
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(super::$item::decode(d, ctx)?);
                }
                Ok(values)
            }
        }
    };
}

list!(events, event, quipu_merge::EventId);
list!(digests, bytes32, [u8; 32]);

pub mod block {
    use super::*;

    pub fn encode<C, W: Write>(
        value: &quipu_merge::BlockId,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&value.to_bytes())?.ok()
    }

    pub fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<quipu_merge::BlockId, decode::Error> {
        let id = quipu_merge::BlockId::from_bytes(d.bytes()?);
        id.ok_or_else(|| decode::Error::message("not the id of a block"))
    }
}

/// Writes and reads a type of one number.
macro_rules! number {
    ($module:ident, $type:path) => {
        pub mod $module {
            use super::*;

            pub fn encode<C, W: Write>(
                value: &$type,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.u64(value.0)?.ok()
            }

            pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<$type, decode::Error> {
                d.u64().map($type)
            }
        }
    };
}

number!(seq, quipu_merge::Seq);
number!(height, quipu_merge::Height);
number!(micros, quipu_merge::Micros);
