//! Openings that belong to no event.

use quipu_merge::Dot;

use super::{Check, at, hex};
use crate::db::Walk;
use crate::error::StorageError;
use crate::schema;

/// Pages of openings of one lane, one after the other.
struct Strays {
    /// The events whose they would be.
    first: Dot,
    last: Dot,
    pages: u64,
}

/// Passes over the openings that come before those of an event, or all that are left: they belong to no
/// event. Where events are lost there are many of them, so those that stand together are one finding.
pub fn skip(
    check: &mut Check<'_, '_, '_>,
    openings: &mut Walk<'_>,
    before: Option<Dot>,
) -> Result<(), StorageError> {
    let mut strays: Option<Strays> = None;
    while let Some((key, _)) = openings.item()
        && before.is_none_or(|dot| key < schema::dot_key(dot).as_slice())
    {
        check.report.openings += 1;
        let stray = key.split_last_chunk::<2>().and_then(|(dot, _)| schema::parse_dot(dot));
        match (stray, &mut strays) {
            (Some(stray), Some(strays)) if strays.last.lane == stray.lane => {
                strays.last = stray;
                strays.pages += 1;
            }
            (Some(stray), _) => {
                let next = Strays { first: stray, last: stray, pages: 1 };
                strays.replace(next).iter().for_each(|strays| tell(check, strays));
            }
            (None, _) => check.find(format!("the key {} of an opening", hex(key))),
        }
        let moved = openings.next();
        check.sound("column family openings", moved)?;
    }
    strays.iter().for_each(|strays| tell(check, strays));
    Ok(())
}

fn tell(check: &mut Check<'_, '_, '_>, strays: &Strays) {
    let Strays { first, last, pages } = strays;
    let whose = match last.seq {
        seq if seq == first.seq => at(*first),
        seq => format!("events {} to {seq} on lane {}", first.seq, first.lane.0),
    };
    let what = match pages {
        1 => "a page of openings, and no event that names it".to_owned(),
        pages => format!("{pages} pages of openings, and no event that names them"),
    };
    check.find(format!("{whose}: {what}"));
}
