//! What a register must hold for a write.

use axum::http::{HeaderMap, HeaderValue, header};
use quipu_store::{Expected, Transaction};

use super::app::App;
use super::problem::{self, Answer, Problem};
use super::registers::tag;

/// What a register must hold for a write, as `If-Match` and `If-None-Match` say.
pub enum Condition {
    /// Anything.
    None,
    /// No value.
    Absent,
    /// Any value.
    Present,
    /// What one of these tags names.
    Tags(Vec<String>),
}

impl Condition {
    /// The one that a request's headers state.
    pub fn of(headers: &HeaderMap) -> Answer<Self> {
        let text = |name| {
            let value = headers.get(name).map(HeaderValue::to_str).transpose();
            value.map_err(|_| Problem::bad("a condition that is no text"))
        };
        match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
            (None, None) => Ok(Self::None),
            (None, Some("*")) => Ok(Self::Absent),
            (Some("*"), None) => Ok(Self::Present),
            (Some(tags), None) => {
                Ok(Self::Tags(tags.split(',').map(|tag| tag.trim().to_owned()).collect()))
            }
            _ => Err(Problem::bad("a write takes `If-Match`, or `If-None-Match: *`")),
        }
    }

    /// Has a transaction depend on it.
    pub fn require(&self, app: &App, transaction: &mut Transaction<'_>, key: &str) -> Answer<()> {
        let expected = match self {
            Self::None => return Ok(()),
            Self::Absent => Expected::Absent,
            Self::Present | Self::Tags(_) => {
                let writes = app.ledger.snapshot()?.register(key)?;
                let tag = tag(&writes);
                let holds = match self {
                    Self::Tags(tags) => tags.contains(&tag),
                    _ => !writes.is_empty(),
                };
                if !holds {
                    let detail = format!("its tag is {tag}");
                    return Err(Problem::new(problem::PRECONDITION, detail));
                }
                // Whatever comes between looking and writing fails the condition.
                match writes.is_empty() {
                    true => Expected::Absent,
                    false => Expected::Writes(writes.iter().map(|write| write.event).collect()),
                }
            }
        };
        transaction.require(key, expected)?;
        Ok(())
    }
}
