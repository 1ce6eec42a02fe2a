//! Openings, which reveal what an operation's value is, and manifests of long content.

use minicbor::Decoder;
use minicbor::data::Type;

use crate::cbor::{self, Malformed, Read};
use crate::id::{AuthorKey, BlockId, Codec, OpeningId};

/// Longest content that an opening carries itself, in bytes.
pub const MAX_INLINE_LEN: usize = 4096;
/// Largest raw block, in bytes.
pub const MAX_RAW_LEN: usize = 1024 * 1024;
/// Largest number of chunks in a manifest.
pub const MAX_CHUNKS: usize = 8192;
/// Largest number of manifests above a raw block.
pub const MAX_MANIFEST_DEPTH: usize = 4;
/// Contents and manifests are shorter than this, in bytes.
pub const CONTENT_LEN_LIMIT: u64 = 1 << 53;
/// Length of an opening's salt, in bytes.
pub const SALT_LEN: usize = 16;

/// What an opening reveals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The value itself.
    Inline(Vec<u8>),
    /// A value kept in blocks of its own.
    Linked(Link),
}

/// Where long content is: a raw block or a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The raw block, or the manifest's block.
    pub block: BlockId,
    /// Length of the content, in bytes.
    pub size: u64,
}

/// The block that an operation's value refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The author of the event.
    pub author: AuthorKey,
    /// Keeps others from guessing a value out of its id.
    pub salt: [u8; SALT_LEN],
    /// The value.
    pub content: Content,
}

impl Opening {
    /// Encodes the opening; its id is [`OpeningId::of`] the bytes.
    pub fn encode(&self) -> Vec<u8> {
        let inline = if let Content::Inline(bytes) = &self.content { bytes.len() } else { 64 };
        cbor::encode(60 + inline, |w| {
            w.array(3)?.bytes(&self.author.0)?.bytes(&self.salt)?;
            match &self.content {
                Content::Inline(bytes) => w.bytes(bytes)?.ok(),
                Content::Linked(link) => {
                    w.map(2)?.str("link")?;
                    cbor::put_link(w, link.block)?;
                    w.str("size")?.u64(link.size)?.ok()
                }
            }
        })
    }

    /// The encoding together with its id.
    pub fn seal(&self) -> (OpeningId, Vec<u8>) {
        let bytes = self.encode();
        (OpeningId::of(&bytes), bytes)
    }

    /// Reads the strict encoding of an opening.
    ///
    /// # Errors
    /// Says what is wrong: the value cannot be read then, and nothing else follows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let d = &mut Decoder::new(bytes);
        if cbor::list(d)? != 3 {
            return Err("not a list of three".into());
        }
        let author = cbor::author(d)?;
        let salt = cbor::array(d)?;
        let content = match d.datatype().map_err(cbor::malformed)? {
            Type::Bytes => {
                let inline = d.bytes().map_err(cbor::malformed)?;
                if inline.len() > MAX_INLINE_LEN {
                    return Err("inline content longer than 4,096 bytes".into());
                }
                Content::Inline(inline.to_vec())
            }
            _ => {
                cbor::map(d, 2)?;
                cbor::key(d, "link")?;
                let block = cbor::link(d)?;
                cbor::key(d, "size")?;
                Content::Linked(Link { block, size: read_size(d)? })
            }
        };
        cbor::end(d)?;
        let opening = Self { author, salt, content };
        cbor::canonical(bytes, &opening.encode())?;
        Ok(opening)
    }
}

/// A list of the blocks that make up long content, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Raw blocks or further manifests, with the length of the content under each.
    pub chunks: Vec<Link>,
}

impl Manifest {
    /// Length of the content, in bytes; `None` where the chunks add up to 2^53 or more.
    pub fn size(&self) -> Option<u64> {
        let mut total = 0_u64;
        for chunk in &self.chunks {
            total = total.checked_add(chunk.size).filter(|&total| total < CONTENT_LEN_LIMIT)?;
        }
        Some(total)
    }

    /// Encodes the manifest.
    ///
    /// # Errors
    /// Says which limit is broken.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let size = self.check()?;
        Ok(cbor::encode(32 + 48 * self.chunks.len(), |w| {
            w.map(2)?.str("size")?.u64(size)?;
            w.str("chunks")?.array(self.chunks.len() as u64)?;
            self.chunks.iter().try_for_each(|chunk| {
                w.array(2)?;
                cbor::put_link(w, chunk.block)?;
                w.u64(chunk.size)?.ok()
            })
        }))
    }

    /// Reads the strict encoding of a manifest.
    ///
    /// # Errors
    /// Says what is wrong: the content cannot be read then.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let d = &mut Decoder::new(bytes);
        cbor::map(d, 2)?;
        cbor::key(d, "size")?;
        let size = read_size(d)?;
        cbor::key(d, "chunks")?;
        let count = cbor::list(d)?;
        if count > MAX_CHUNKS as u64 {
            return Err("more than 8,192 chunks".into());
        }
        let chunks = (0..count)
            .map(|_| {
                if cbor::list(d)? != 2 {
                    return Err("a chunk that is not a list of two".into());
                }
                Ok(Link { block: cbor::link(d)?, size: read_size(d)? })
            })
            .collect::<Read<Vec<_>>>()?;
        cbor::end(d)?;
        let manifest = Self { chunks };
        if manifest.check()? != size {
            return Err("sizes that do not add up".into());
        }
        cbor::canonical(bytes, &manifest.encode()?)?;
        Ok(manifest)
    }

    fn check(&self) -> Read<u64> {
        if self.chunks.is_empty() || self.chunks.len() > MAX_CHUNKS {
            return Err("not 1 to 8,192 chunks".into());
        }
        let long = |c: &Link| c.block.codec == Codec::Raw && c.size > MAX_RAW_LEN as u64;
        if self.chunks.iter().any(|chunk| chunk.size == 0 || long(chunk)) {
            return Err("a chunk of an impossible size".into());
        }
        self.size().ok_or_else(|| "2^53 bytes or more".into())
    }
}

fn read_size(d: &mut Decoder<'_>) -> Read<u64> {
    match d.u64().map_err(cbor::malformed)? {
        size @ 1..CONTENT_LEN_LIMIT => Ok(size),
        size => Err(format!("a size of {size}, not 1 to 2^53 - 1").into()),
    }
}
