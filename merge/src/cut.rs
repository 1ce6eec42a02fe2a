//! Cuts: ancestor-closed sets of events, as people and files name them.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;

use crate::id::{AuthorKey, EventId, Micros};

/// How an ancestor-closed set of events is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All events that are held.
    Everything,
    /// These events and their ancestors.
    Heads(Vec<EventId>),
    /// Every event whose vector clock is at most this one; absent authors count 0.
    Clock(BTreeMap<AuthorKey, u64>),
    /// Every event with at most this time.
    Time(Micros),
}

/// A cut as people write it, before names and parts of ids have been looked up.
///
/// ```
/// use quipu_merge::CutExpression;
/// assert!(matches!("2026-05-01T12:00:00Z".parse(), Ok(CutExpression::Time(_))));
/// assert!(matches!("alice:12,bob:7".parse(), Ok(CutExpression::Clock(_))));
/// assert!(matches!("bafyr4idqvzo+bafyr4ifhjf".parse(), Ok(CutExpression::Heads(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CutExpression {
    /// `checkpoint:N`.
    Checkpoint(u64),
    /// A time in RFC 3339; what is finer than a microsecond is cut off.
    Time(Micros),
    /// `alice:12,bob:7`: names or starts of keys, and positions.
    Clock(Vec<(String, u64)>),
    /// `ID+ID`: ids of events, or parts of them.
    Heads(Vec<String>),
}

/// The text names no cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no cut ({why}): give `checkpoint:N`, a time in RFC 3339, a clock as in \
     `alice:12,bob:7`, or ids of events joined by `+`"
)]
pub struct InvalidCut {
    text: String,
    why: &'static str,
}

impl FromStr for CutExpression {
    type Err = InvalidCut;

    fn from_str(text: &str) -> Result<Self, InvalidCut> {
        let invalid = |why| InvalidCut { text: text.to_owned(), why };
        if let Some(number) = text.strip_prefix("checkpoint:") {
            let height = number.parse::<u64>().ok();
            // Signs and leading zeros could make one height look like another.
            let height = height.filter(|height| *height > 0 && height.to_string() == number);
            return height
                .map(Self::Checkpoint)
                .ok_or_else(|| invalid("a checkpoint has a number, from 1 on"));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            let micros = u64::try_from(time.as_microsecond()).ok().map(Micros);
            let time = micros.filter(|time| *time <= Micros::MAX);
            return time.map(Self::Time).ok_or_else(|| invalid("a time out of range"));
        }
        let invalid =
            |why| invalid(if is_like_a_date(text) { "there is no such time" } else { why });
        if text.contains(':') {
            return text
                .split(',')
                .map(clock_entry)
                .collect::<Result<_, _>>()
                .map(Self::Clock)
                .map_err(invalid);
        }
        let heads: Vec<_> = text.split('+').map(str::to_owned).collect();
        if heads
            .iter()
            .any(|head| head.is_empty() || !head.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            return Err(invalid("ids consist of letters and digits"));
        }
        Ok(Self::Heads(heads))
    }
}

/// Whether a text begins as a time does: `2026-05`.
fn is_like_a_date(text: &str) -> bool {
    let form = b"0000-00";
    text.len() >= form.len()
        && text.bytes().zip(form).all(|(letter, like)| match like {
            b'0' => letter.is_ascii_digit(),
            like => letter == *like,
        })
}

fn clock_entry(entry: &str) -> Result<(String, u64), &'static str> {
    let (name, seq) = entry.rsplit_once(':').ok_or("an author without a position")?;
    if name.is_empty() {
        return Err("a position without an author");
    }
    let position = seq.parse::<u64>().map_err(|_| "a position that is not a number")?;
    // Signs and leading zeros could make one text mean two things.
    if position.to_string() != seq {
        return Err("a position in another spelling");
    }
    Ok((name.to_owned(), position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_one_spelling() {
        for text in ["a:01", "a:+1", "2022-05-01T11:00:40+00:0010", "a:", ":1", "a:1,", "a:1,,b:2"]
        {
            assert!(text.parse::<CutExpression>().is_err(), "{text}");
        }
        let entries = vec![("a".to_owned(), 0), ("b".to_owned(), u64::MAX)];
        let text = format!("a:0,b:{}", u64::MAX);
        assert_eq!(text.parse(), Ok(CutExpression::Clock(entries)));
    }

    #[test]
    fn times_that_there_are_not_are_told_from_clocks() {
        for text in ["2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-05-01"] {
            assert_eq!(text.parse::<CutExpression>().unwrap_err().why, "there is no such time");
        }
        let clock = CutExpression::Clock(vec![("2026-05".to_owned(), 7)]);
        assert_eq!("2026-05:7".parse(), Ok(clock));
    }

    #[test]
    fn checkpoints_come_before_clocks_and_times_before_both() {
        assert_eq!("checkpoint:7".parse(), Ok(CutExpression::Checkpoint(7)));
        for wrong in ["seven", "0", "+2", "02", "", "-1"] {
            assert!(format!("checkpoint:{wrong}").parse::<CutExpression>().is_err(), "{wrong}");
        }
        assert_eq!("1970-01-01T00:00:00.000001Z".parse(), Ok(CutExpression::Time(Micros(1))));
        assert!("1969-12-31T23:59:59Z".parse::<CutExpression>().is_err());
    }
}
