//! What is not certified, and may never be.

use quipu_merge::EventId;
use quipu_store::Snapshot;

/// Why something is not final.
#[derive(Debug, thiserror::Error)]
pub enum NotFinal {
    /// The ledger's genesis names no validators.
    #[error("the ledger has no validators: nothing in it is ever certified")]
    NoValidators,
    /// No checkpoint counts here.
    #[error("nothing is certified here yet")]
    Nothing,
    /// An event is held, and not certified.
    #[error("event {0} is not certified yet")]
    Event(EventId),
    /// No daemon runs, and nothing else brings certificates.
    #[error("nothing is certified without a daemon; nothing was written")]
    NoDaemon,
    /// Something certified contradicts this replica.
    #[error(
        "certification has stopped here: something certified contradicts this replica; nothing was \
         written"
    )]
    Diverged,
    /// Nothing is certified by this node any more.
    #[error("certification has stopped here: {0}; nothing was written")]
    Stopped(String),
    /// Nobody can wait any longer.
    #[error("event {event} is written, and is not certified yet: {why}")]
    Ended { event: EventId, why: String },
    /// It took longer than somebody wanted to wait.
    #[error("event {0} is written, and is not certified yet")]
    Late(EventId),
}

impl NotFinal {
    /// Why nothing is certified.
    pub fn nothing(snapshot: &Snapshot<'_>) -> Self {
        if snapshot.next_validators().is_empty() { Self::NoValidators } else { Self::Nothing }
    }

    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoValidators => "only `quipu init` can name validators, for a new ledger",
            Self::Nothing | Self::Event(_) => {
                "more than two thirds of the validators (`quipu validators`) have to run `quipu serve`; \
                 `quipu merge` and `quipu import` bring what they have certified"
            }
            Self::NoDaemon => "run `quipu serve` on this store, or write without --wait",
            Self::Stopped(_) => "see `quipu status`, and docs/operations.md",
            Self::Diverged => "`quipu status` tells what contradicts: see docs/operations.md",
            Self::Late(_) | Self::Ended { .. } => {
                "it stays written, and is certified when enough validators take part: see `quipu status`"
            }
        }
    }
}
