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
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let is_sum = digits.bytes().all(|digit| digit.is_ascii_digit())
        && (text == "0" || !digits.is_empty() && !digits.starts_with('0'));
    if is_sum { Ok(text) } else { Err("not a sum in decimal".into()) }
}

/// The members of a set.
pub fn set(value: &[u8]) -> Read<Vec<Shown>> {
    let mut last = None;
    entries(value, |d| {
        pair(d)?;
        let member = d.bytes().map_err(cbor::malformed)?;
        if last.is_some_and(|last| last >= member) {
            return Err("members that do not ascend".into());
        }
        last = Some(member);
        let adds = cbor::list(d)?;
        for _ in 0..adds {
            cbor::link_to(d, EventId::from_block)?;
        }
        if adds > 0 {
            Ok(Shown::Bytes(member.to_vec()))
        } else {
            Err("a member never added".into())
        }
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

/// What an author can hold, ascending.
const HELD: [&str; 4] = ["admin", "revoked", "validator", "writer"];

/// What an author holds.
pub fn member(value: &[u8]) -> Read<Vec<String>> {
    let mut left = HELD.iter();
    entries(value, |d| {
        let held = d.str().map_err(cbor::malformed)?;
        let known = left.any(|known| *known == held);
        if known {
            Ok(held.to_owned())
        } else {
            Err("roles that do not ascend, or are none".into())
        }
    })
}

fn entries<'v, T>(
    value: &'v [u8],
    mut read: impl FnMut(&mut Decoder<'v>) -> Read<T>,
) -> Read<Vec<T>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Codec;
    use crate::{BlockId, Key, Leaf, Member};

    fn text(text: &str) -> Vec<u8> {
        cbor::encode(9 + text.len(), |w| w.str(text)?.ok())
    }

    fn words(held: &[&str]) -> Vec<u8> {
        Leaf::member(&crate::AuthorKey([1; 32]), held).value
    }

    #[test]
    fn a_counter_is_a_sum_and_nothing_else() {
        let big = "-340282366920938463463374607431768211456";
        for sum in ["0", "7", "-1", "10", big] {
            assert_eq!(counter(&text(sum)).as_deref(), Ok(sum));
        }
        for other in ["", "-", "-0", "00", "07", "+1", "1 ", "5\u{1b}[2K", "\u{0665}"] {
            assert!(counter(&text(other)).is_err(), "{other:?}");
        }
    }

    #[test]
    fn roles_are_known_and_ascend() {
        for held in [&[][..], &["admin"], &["revoked"], &["admin", "validator"], &HELD] {
            assert_eq!(member(&words(held)).unwrap(), held);
        }
        for held in [&["writer", "admin"][..], &["admin", "admin"], &["admin\nabsent"], &[""]] {
            assert!(member(&words(held)).is_err(), "{held:?}");
        }
    }

    #[test]
    fn the_members_of_a_set_ascend_and_were_added() {
        let [a, b] = [b"a", b"b"].map(|member| Member::new(member).unwrap());
        let add = EventId::from_block(BlockId { codec: Codec::DagCbor, digest: [7; 32] }).unwrap();
        let value = |members: &[(&Member, usize)]| {
            let members = members.iter().map(|&(member, adds)| (member, vec![add; adds]));
            Leaf::set(&Key::new("s").unwrap(), &members.collect()).value
        };
        let two = value(&[(&a, 1), (&b, 2)]);
        let shown = [&b"a"[..], b"b"].map(|member| Shown::Bytes(member.to_vec()));
        assert_eq!(set(&two).unwrap(), shown);
        assert!(set(&value(&[(&a, 0)])).is_err());
        // The heads of two members, and the second one's bytes.
        for (place, byte) in [(3, b'b'), (3, b'c')] {
            let mut changed = two.clone();
            assert_eq!(changed[place - 1..=place], [0x41, b'a'], "the first member");
            changed[place] = byte;
            assert!(set(&changed).is_err());
        }
    }
}
