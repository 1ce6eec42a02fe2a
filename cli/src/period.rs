//! Periods of time as options give them.

use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// A period, written like 90s, 15m, 12h or 7d.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: Span = text.parse().map_err(|_| "not like 90s, 15m, 12h or 7d".to_owned())?;
        let duration: Result<SignedDuration, _> =
            span.to_duration(SpanRelativeTo::days_are_24_hours());
        let duration = duration.map_err(|_| "too long".to_owned())?;
        Duration::try_from(duration).map(Self).map_err(|_| "less than nothing".to_owned())
    }
}
