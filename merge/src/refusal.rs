//! Why an event is refused, in the specification's words.

use std::borrow::Cow;
use std::fmt;

use crate::id::EventId;

/// The rule of admission that an event breaks. Rules are checked in this order and the first
/// that fails gives the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The bytes are not the strict encoding of an event within its limits.
    Encoding,
    /// The signature does not hold under the strict rule.
    Signature,
    /// A second first event, or a first event where none may be.
    Genesis,
    /// `prev`, a parent or the body is not at hand; the event may be admitted later.
    Missing,
    /// `prev` and `seq` do not continue the author's chain.
    Sequence,
    /// `time` is not greater than that of every event it follows.
    Time,
    /// The body has another hash or size, or is not a well-formed list of operations.
    Body,
    /// The author may not write this, by the grants among the event's ancestors.
    Unauthorised,
}

impl Reason {
    /// The specification's word for this rule.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::Signature => "signature",
            Self::Genesis => "genesis",
            Self::Missing => "missing",
            Self::Sequence => "sequence",
            Self::Time => "time",
            Self::Body => "body",
            Self::Unauthorised => "unauthorised",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A refused event: which one, by which rule, and what exactly is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {event} is refused: {reason}: {detail}")]
pub struct Refusal {
    /// The id of the refused bytes (whatever they are, they have a hash).
    pub event: EventId,
    /// The first rule that fails.
    pub reason: Reason,
    /// For people: what exactly is wrong.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    /// A refusal of `event` by the rule `reason`.
    pub fn new(event: EventId, reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { event, reason, detail: detail.into() }
    }
}
