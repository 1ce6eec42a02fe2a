//! How bodies are read and written; what is read still has to be held against the limits.

use std::num::NonZeroI64;
use std::str::FromStr;

use minicbor::{Decoder, encode};

use super::{Body, Control, Genesis, Key, MAX_OPERATIONS, Member, Operation, UnknownWord};
use crate::cbor::{self, Malformed, Read, Writer};
use crate::id::{AuthorKey, EventId, OpeningId};

/// Reads a body in any spelling.
pub fn read_body(bytes: &[u8]) -> Read<Body> {
    let d = &mut Decoder::new(bytes);
    let count = cbor::list(d)?;
    if count == 0 || count > MAX_OPERATIONS as u64 {
        return Err(format!("{count} operations, not 1 to 10,000").into());
    }
    let entries = (0..count).map(|_| read_entry(d)).collect::<Read<Vec<_>>>()?;
    cbor::end(d)?;
    assemble(entries)
}

/// Writes a body, whatever limits it breaks.
pub fn write_body(body: &Body, capacity: usize) -> Vec<u8> {
    cbor::encode(capacity, |w| match body {
        Body::Genesis(genesis) => {
            w.array(1)?;
            write_genesis(w, genesis)
        }
        Body::Merge => w.array(1)?.map(1)?.str("op")?.str("merge")?.ok(),
        Body::Data(operations) => {
            w.array(operations.len() as u64)?;
            operations.iter().try_for_each(|operation| write_operation(w, operation))
        }
        Body::Control(operations) => {
            w.array(operations.len() as u64)?;
            operations.iter().try_for_each(|operation| write_control(w, operation))
        }
    })
}

enum Entry {
    Genesis(Genesis),
    Merge,
    Data(Operation),
    Control(Control),
}

fn assemble(entries: Vec<Entry>) -> Read<Body> {
    let mixed = || Malformed::from("operations that do not go together in one body");
    if let [Entry::Genesis(_) | Entry::Merge] = entries.as_slice() {
        return match entries.into_iter().next() {
            Some(Entry::Genesis(genesis)) => Ok(Body::Genesis(genesis)),
            _ => Ok(Body::Merge),
        };
    }
    let (mut data, mut control) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Data(operation) => data.push(operation),
            Entry::Control(operation) => control.push(operation),
            Entry::Genesis(_) | Entry::Merge => return Err(mixed()),
        }
    }
    match (data.is_empty(), control.is_empty()) {
        (false, true) => Ok(Body::Data(data)),
        (true, false) => Ok(Body::Control(control)),
        _ => Err(mixed()),
    }
}

fn read_entry(d: &mut Decoder<'_>) -> Read<Entry> {
    let entries = d.map().map_err(cbor::malformed)?.ok_or("a map of indefinite length")?;
    let first = d.str().map_err(cbor::malformed)?;
    // Canonical order puts `by` before `op`, and everything else behind it.
    let by = match first {
        "op" => None,
        "by" => {
            let by = NonZeroI64::new(d.i64().map_err(cbor::malformed)?).ok_or("inc by zero")?;
            cbor::key(d, "op")?;
            Some(by)
        }
        other => return Err(format!("key {other:?} where \"op\" belongs").into()),
    };
    let word = d.str().map_err(cbor::malformed)?;
    let expected = match word {
        "merge" => 1,
        "del" | "revoke" | "redact" => 2,
        "put" | "add" | "rem" | "append" | "inc" | "grant" => 3,
        "genesis" => 6,
        other => return Err(format!("unknown operation {other:?}").into()),
    };
    if entries != expected || by.is_some() != (word == "inc") {
        return Err(format!("{word:?} with missing or extra keys").into());
    }
    Ok(match word {
        "put" => Entry::Data(Operation::Put { key: read_key(d)?, value: read_value(d)? }),
        "append" => Entry::Data(Operation::Append { key: read_key(d)?, value: read_value(d)? }),
        "del" => Entry::Data(Operation::Del { key: read_key(d)? }),
        "add" => Entry::Data(Operation::Add { key: read_key(d)?, member: read_member(d)? }),
        "rem" => Entry::Data(Operation::Rem { key: read_key(d)?, member: read_member(d)? }),
        "inc" => match by {
            Some(by) => Entry::Data(Operation::Inc { key: read_key(d)?, by }),
            None => return Err("inc without by".into()),
        },
        "grant" => {
            cbor::key(d, "role")?;
            let role = read_word(d)?;
            cbor::key(d, "author")?;
            Entry::Control(Control::Grant { author: cbor::author(d)?, role })
        }
        "revoke" => {
            cbor::key(d, "author")?;
            Entry::Control(Control::Revoke { author: cbor::author(d)? })
        }
        "redact" => {
            cbor::key(d, "event")?;
            Entry::Control(Control::Redact { event: cbor::link_to(d, EventId::from_block)? })
        }
        "genesis" => Entry::Genesis(read_genesis(d)?),
        _ => Entry::Merge,
    })
}

fn read_key(d: &mut Decoder<'_>) -> Read<Key> {
    cbor::key(d, "key")?;
    Key::new(d.str().map_err(cbor::malformed)?)
}

fn read_value(d: &mut Decoder<'_>) -> Read<OpeningId> {
    cbor::key(d, "value")?;
    cbor::link_to(d, OpeningId::from_block)
}

fn read_member(d: &mut Decoder<'_>) -> Read<Member> {
    cbor::key(d, "member")?;
    Member::new(d.bytes().map_err(cbor::malformed)?)
}

fn read_word<T: FromStr<Err = UnknownWord>>(d: &mut Decoder<'_>) -> Read<T> {
    d.str()
        .map_err(cbor::malformed)?
        .parse()
        .map_err(|unknown: UnknownWord| unknown.to_string().into())
}

fn read_genesis(d: &mut Decoder<'_>) -> Read<Genesis> {
    cbor::key(d, "name")?;
    let name = d.str().map_err(cbor::malformed)?.to_owned();
    cbor::key(d, "forks")?;
    let forks = read_word(d)?;
    cbor::key(d, "admins")?;
    let admins = read_authors(d)?;
    cbor::key(d, "policy")?;
    let policy = read_word(d)?;
    cbor::key(d, "validators")?;
    let validators = read_authors(d)?;
    Ok(Genesis { name, policy, forks, admins, validators })
}

fn read_authors(d: &mut Decoder<'_>) -> Read<Vec<AuthorKey>> {
    let count = cbor::list(d)?;
    // Collected one by one: a claimed length reserves nothing.
    (0..count).map(|_| cbor::author(d)).collect()
}

type Written = Result<(), encode::Error<std::convert::Infallible>>;

fn write_operation(w: &mut Writer, operation: &Operation) -> Written {
    match operation {
        Operation::Put { key, value } => write_valued(w, "put", key, *value),
        Operation::Append { key, value } => write_valued(w, "append", key, *value),
        Operation::Del { key } => {
            w.map(2)?.str("op")?.str("del")?.str("key")?.str(key.as_str())?.ok()
        }
        Operation::Inc { key, by } => {
            w.map(3)?.str("by")?.i64(by.get())?;
            w.str("op")?.str("inc")?.str("key")?.str(key.as_str())?.ok()
        }
        Operation::Add { key, member } => write_membered(w, "add", key, member),
        Operation::Rem { key, member } => write_membered(w, "rem", key, member),
    }
}

fn write_valued(w: &mut Writer, word: &str, key: &Key, value: OpeningId) -> Written {
    w.map(3)?.str("op")?.str(word)?.str("key")?.str(key.as_str())?.str("value")?;
    cbor::put_link(w, value.block())
}

fn write_membered(w: &mut Writer, word: &str, key: &Key, member: &Member) -> Written {
    w.map(3)?.str("op")?.str(word)?.str("key")?.str(key.as_str())?;
    w.str("member")?.bytes(member.as_bytes())?.ok()
}

fn write_control(w: &mut Writer, operation: &Control) -> Written {
    match operation {
        Control::Grant { author, role } => {
            w.map(3)?.str("op")?.str("grant")?.str("role")?.str(role.word())?;
            w.str("author")?.bytes(&author.0)?.ok()
        }
        Control::Revoke { author } => {
            w.map(2)?.str("op")?.str("revoke")?.str("author")?.bytes(&author.0)?.ok()
        }
        Control::Redact { event } => {
            w.map(2)?.str("op")?.str("redact")?.str("event")?;
            cbor::put_link(w, event.block())
        }
    }
}

fn write_genesis(w: &mut Writer, genesis: &Genesis) -> Written {
    w.map(6)?.str("op")?.str("genesis")?.str("name")?.str(&genesis.name)?;
    w.str("forks")?.str(genesis.forks.word())?;
    w.str("admins")?;
    write_authors(w, &genesis.admins)?;
    w.str("policy")?.str(genesis.policy.word())?.str("validators")?;
    write_authors(w, &genesis.validators)
}

fn write_authors(w: &mut Writer, authors: &[AuthorKey]) -> Written {
    w.array(authors.len() as u64)?;
    authors.iter().try_for_each(|author| w.bytes(&author.0)?.ok())
}
