//! How the ledger's names are written in messages.

use minicbor::bytes::ByteArray;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};

/// Writes and reads a type of 32 bytes.
macro_rules! fixed {
    ($module:ident, $type:ty, $wrap:expr, $bytes:expr) => {
        pub mod $module {
            use super::*;

            pub fn encode<C, W: Write>(
                value: &$type,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&$bytes(value))?.ok()
            }

            pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<$type, decode::Error> {
                let bytes: ByteArray<32> = d.decode()?;
                Ok($wrap(*bytes))
            }
        }
    };
}

fixed!(event, quipu_merge::EventId, quipu_merge::EventId, |id: &quipu_merge::EventId| id.0);
fixed!(author, quipu_merge::AuthorKey, quipu_merge::AuthorKey, |key: &quipu_merge::AuthorKey| key
    .0);
fixed!(bytes32, [u8; 32], |bytes| bytes, |bytes: &[u8; 32]| *bytes);

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

pub mod seq {
    use super::*;

    pub fn encode<C, W: Write>(
        value: &quipu_merge::Seq,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.u64(value.0)?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<quipu_merge::Seq, decode::Error> {
        Ok(quipu_merge::Seq(d.u64()?))
    }
}

pub mod micros {
    use super::*;

    pub fn encode<C, W: Write>(
        value: &quipu_merge::Micros,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.u64(value.0)?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<quipu_merge::Micros, decode::Error> {
        Ok(quipu_merge::Micros(d.u64()?))
    }
}
