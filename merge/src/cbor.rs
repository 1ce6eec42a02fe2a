//! The strict DAG-CBOR that every block is written in.
//!
//! Decoders read the one canonical layout (definite lengths, keys in canonical order) and are
//! lenient about how integers and lengths are spelled; [`canonical`] then re-encodes and compares,
//! so that whatever is not the one encoding of its content is refused.

use std::borrow::Cow;
use std::convert::Infallible;

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder, decode};

use crate::id::{AuthorKey, BlockId, CID_LEN};

/// What is wrong with the bytes of a block, for people.
pub type Malformed = Cow<'static, str>;
/// The result of reading something out of a block.
pub type Read<T> = Result<T, Malformed>;
/// Writes into memory, which cannot fail.
pub type Writer = Encoder<Vec<u8>>;

const CID_TAG: u64 = 42;

/// Encodes with `write`, which cannot fail because it writes into memory.
pub fn encode(
    capacity: usize,
    write: impl FnOnce(&mut Writer) -> Result<(), minicbor::encode::Error<Infallible>>,
) -> Vec<u8> {
    let mut writer = Encoder::new(Vec::with_capacity(capacity));
    // The only error type of a Vec writer is uninhabited; custom errors are never raised here.
    let _ = write(&mut writer);
    writer.into_writer()
}

/// Refuses `bytes` unless they are `encoded`, the encoding of what was read from them.
pub fn canonical(bytes: &[u8], encoded: &[u8]) -> Read<()> {
    if bytes == encoded { Ok(()) } else { Err("not the strict DAG-CBOR encoding".into()) }
}

/// A decoding error in words.
#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped with")]
pub fn malformed(error: decode::Error) -> Malformed {
    if error.is_end_of_input() {
        return "it ends early".into();
    }
    let what = if error.is_type_mismatch() { "not what belongs there" } else { "no DAG-CBOR" };
    match error.position() {
        Some(at) => format!("{what}, at byte {at}").into(),
        None => what.into(),
    }
}

/// Expects a map of exactly `len` entries.
pub fn map(d: &mut Decoder<'_>, len: u64) -> Read<()> {
    match d.map().map_err(malformed)? {
        Some(found) if found == len => Ok(()),
        Some(found) => Err(format!("a map of {found} entries, not {len}").into()),
        None => Err("a map of indefinite length".into()),
    }
}

/// Expects a list and tells its length.
pub fn list(d: &mut Decoder<'_>) -> Read<u64> {
    d.array().map_err(malformed)?.ok_or_else(|| "a list of indefinite length".into())
}

/// Expects the key `name`.
pub fn key(d: &mut Decoder<'_>, name: &'static str) -> Read<()> {
    match d.str().map_err(malformed)? {
        found if found == name => Ok(()),
        found => Err(format!("key {} where {name:?} belongs", word(found)).into()),
    }
}

/// A word of a block, for an error: the beginning of it, where it is longer than words are.
pub fn word(text: &str) -> String {
    const MAX_SHOWN: usize = 32;
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Expects the key `v` and under it 1, the only version of anything.
pub fn version(d: &mut Decoder<'_>) -> Read<()> {
    key(d, "v")?;
    if d.u64().map_err(malformed)? == 1 { Ok(()) } else { Err("v is not 1".into()) }
}

/// Expects bytes of exactly `N`.
pub fn array<const N: usize>(d: &mut Decoder<'_>) -> Read<[u8; N]> {
    let bytes = d.bytes().map_err(malformed)?;
    bytes.try_into().map_err(|_| format!("{} bytes, not {N}", bytes.len()).into())
}

/// Expects an author key.
pub fn author(d: &mut Decoder<'_>) -> Read<AuthorKey> {
    array(d).map(AuthorKey)
}

/// Expects a link to a block.
pub fn link(d: &mut Decoder<'_>) -> Read<BlockId> {
    if d.tag().map_err(malformed)? != Tag::new(CID_TAG) {
        return Err("a tag other than that of CIDs".into());
    }
    let bytes = d.bytes().map_err(malformed)?;
    let id = bytes.strip_prefix(&[0]).and_then(BlockId::from_bytes);
    id.ok_or_else(|| "a link that is no CID of this format".into())
}

/// Expects a link to a DAG-CBOR block, named by `T`.
pub fn link_to<T>(d: &mut Decoder<'_>, from_block: fn(BlockId) -> Option<T>) -> Read<T> {
    from_block(link(d)?).ok_or_else(|| "a link to a raw block".into())
}

/// Writes a link.
pub fn put_link(w: &mut Writer, id: BlockId) -> Result<(), minicbor::encode::Error<Infallible>> {
    let mut bytes = [0; CID_LEN + 1];
    bytes[1..].copy_from_slice(&id.to_bytes());
    w.tag(Tag::new(CID_TAG))?.bytes(&bytes)?.ok()
}

/// Expects the end of the block.
pub fn end(d: &Decoder<'_>) -> Read<()> {
    if d.position() == d.input().len() { Ok(()) } else { Err("bytes after the end".into()) }
}

/// Whether `items` ascend strictly.
pub fn ascending<T: Ord>(items: &[T]) -> bool {
    items.is_sorted_by(|a, b| a < b)
}
