//! Values in full: nothing is printed before all of it is known to be at hand.

use std::io;
use std::ops::Range;

use quipu_merge::Link;
use quipu_store::{Snapshot, Value};

use crate::exit::{Absent, Failure};
use crate::output::Output;

/// Long values up to this many bytes are read into memory before the first of them is printed.
/// Of others only the index is asked whether they are here.
const BUFFERED: u64 = 8 << 20;

/// All bytes of a value.
pub const WHOLE: Range<u64> = 0..u64::MAX;

/// Checks that all of a value is at hand. `what` is the value's name in messages.
pub fn check(snapshot: &Snapshot<'_>, what: &str, value: &Value) -> Result<(), Failure> {
    check_range(snapshot, what, value, &WHOLE)
}

fn check_range(
    snapshot: &Snapshot<'_>,
    what: &str,
    value: &Value,
    range: &Range<u64>,
) -> Result<(), Failure> {
    match (value, value.unavailable()) {
        (Value::Missing, _) => Err(not_here(what, None)),
        (_, Some(why)) => Err(Failure::Unavailable { what: what.to_owned(), why }),
        (Value::Long(link), None) if *range == WHOLE => match snapshot.missing_block(*link)? {
            Some(_) => Err(not_here(what, Some((*link, WHOLE)))),
            None => Ok(()),
        },
        (Value::Long(link), None) => read(snapshot, what, *link, range, |_| Ok(())),
        _ => Ok(()),
    }
}

/// Writes what a value holds of a range to stdout, or nothing of it.
pub fn print(
    snapshot: &Snapshot<'_>,
    what: &str,
    value: &Value,
    range: &Range<u64>,
    out: &mut Output,
) -> Result<(), Failure> {
    match value {
        Value::Bytes(bytes) => Ok(out.bytes(part(bytes, range))?),
        Value::Long(link) if len_within(*link, range) <= BUFFERED => {
            let mut content = Vec::new();
            read(snapshot, what, *link, range, |bytes| {
                content.extend_from_slice(bytes);
                Ok(())
            })?;
            Ok(out.bytes(&content)?)
        }
        Value::Long(link) => {
            check_range(snapshot, what, value, range)?;
            read(snapshot, what, *link, range, |bytes| out.bytes(bytes))
        }
        gone => check(snapshot, what, gone),
    }
}

/// Reads a range of a long value block by block.
pub fn read(
    snapshot: &Snapshot<'_>,
    what: &str,
    link: Link,
    range: &Range<u64>,
    write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Failure> {
    match snapshot.read_long_range(link, range.clone(), write)? {
        Ok(()) => Ok(()),
        Err(_) => Err(not_here(what, Some((link, range.clone())))),
    }
}

fn not_here(what: &str, part: Option<(Link, Range<u64>)>) -> Failure {
    Failure::NotHere(Box::new(Absent { what: what.to_owned(), part, fetched: None }))
}

fn part<'b>(bytes: &'b [u8], range: &Range<u64>) -> &'b [u8] {
    let within = |place: u64| usize::try_from(place).map_or(bytes.len(), |at| at.min(bytes.len()));
    bytes.get(within(range.start)..within(range.end)).unwrap_or_default()
}

/// How many bytes of a long value are in a range.
fn len_within(link: Link, range: &Range<u64>) -> u64 {
    range.end.min(link.size).saturating_sub(range.start)
}
