//! The values of the state's leaves, read back.

use minicbor::Decoder;

use super::proven::ListFacts;
use crate::cbor::{self, Read};
use crate::dump::Shown;
use crate::id::{EventId, OpeningId};

/// The writes that stand in a register, the first one first, by the value of its leaf: what a proof
/// has to show the values of ([`crate::KeyEntry::writes`]).
///
/// # Errors
/// It is no value of a register.
pub fn register_writes(value: &[u8]) -> Read<Vec<(EventId, OpeningId)>> {
    entries(value, |d| {
        pair(d)?;
        let event = cbor::link_to(d, EventId::from_block)?;
        Ok((event, cbor::link_to(d, OpeningId::from_block)?))
    })
}

/// The sum of a counter, in decimal.
pub fn counter(value: &[u8]) -> Read<String> {
    let d = &mut Decoder::new(value);
    let text = d.str().map_err(cbor::malformed)?.to_owned();
    cbor::end(d)?;
    Ok(text)
}

/// The members of a set.
pub fn set(value: &[u8]) -> Read<Vec<Shown>> {
    entries(value, |d| {
        pair(d)?;
        let member = d.bytes().map_err(cbor::malformed)?.to_vec();
        for _ in 0..cbor::list(d)? {
            cbor::link_to(d, EventId::from_block)?;
        }
        Ok(Shown::Bytes(member))
    })
}

/// The length of a list, and the root of the tree over it.
pub fn list(value: &[u8]) -> Read<ListFacts> {
    let d = &mut Decoder::new(value);
    pair(d)?;
    let facts = ListFacts { count: d.u64().map_err(cbor::malformed)?, root: cbor::array(d)? };
    cbor::end(d)?;
    Ok(facts)
}

/// What an author holds.
pub fn member(value: &[u8]) -> Read<Vec<String>> {
    entries(value, |d| Ok(d.str().map_err(cbor::malformed)?.to_owned()))
}

fn entries<T>(value: &[u8], mut read: impl FnMut(&mut Decoder<'_>) -> Read<T>) -> Read<Vec<T>> {
    let d = &mut Decoder::new(value);
    let count = cbor::list(d)?;
    // Nothing is reserved for what the list only promises.
    let entries = (0..count).map(|_| read(d)).collect::<Read<Vec<_>>>()?;
    cbor::end(d)?;
    Ok(entries)
}

fn pair(d: &mut Decoder<'_>) -> Read<()> {
    if cbor::list(d)? == 2 { Ok(()) } else { Err("not a list of two".into()) }
}
