//! Values in full: nothing is printed before all of it is known to be at hand.

use std::io;

use quipu_merge::Link;
use quipu_store::{Snapshot, Value};

use crate::exit::Failure;
use crate::output::Output;

/// Long values up to this many bytes are read once, into memory; others twice.
const BUFFERED: u64 = 8 << 20;

/// Why a value cannot be shown; `None` where it can.
pub const fn unavailable(value: &Value) -> Option<&'static str> {
    match value {
        Value::Bytes(_) | Value::Long(_) => None,
        Value::Erased => Some("erased"),
        Value::Missing => Some("not here"),
        Value::Unreadable => Some("unreadable"),
    }
}

/// Checks that all of a value is at hand. `what` is the value's name in messages.
pub fn check(snapshot: &Snapshot<'_>, what: &str, value: &Value) -> Result<(), Failure> {
    if let Some(why) = unavailable(value) {
        return Err(Failure::Unavailable { what: what.to_owned(), why });
    }
    match value {
        Value::Long(link) => read(snapshot, what, *link, |_| Ok(())),
        _ => Ok(()),
    }
}

/// Writes a value to stdout, or nothing of it.
pub fn print(
    snapshot: &Snapshot<'_>,
    what: &str,
    value: &Value,
    out: &mut Output,
) -> Result<(), Failure> {
    match value {
        Value::Bytes(bytes) => Ok(out.bytes(bytes)?),
        Value::Long(link) if link.size <= BUFFERED => {
            let mut content = Vec::new();
            read(snapshot, what, *link, |bytes| {
                content.extend_from_slice(bytes);
                Ok(())
            })?;
            Ok(out.bytes(&content)?)
        }
        Value::Long(link) => {
            check(snapshot, what, value)?;
            read(snapshot, what, *link, |bytes| out.bytes(bytes))
        }
        gone => check(snapshot, what, gone),
    }
}

/// Reads a long value block by block.
pub fn read(
    snapshot: &Snapshot<'_>,
    what: &str,
    link: Link,
    write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Failure> {
    match snapshot.read_long(link, write)? {
        Ok(()) => Ok(()),
        Err(_) => Err(Failure::Unavailable { what: what.to_owned(), why: "not here" }),
    }
}
