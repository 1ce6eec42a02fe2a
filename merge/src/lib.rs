//! What an event of a Quipu ledger is, and what a set of events means.
//!
//! No IO, no clock, no randomness: bytes and times come in, verdicts and states go out.

#![forbid(unsafe_code)]

mod body;
mod cbor;
mod event;
mod id;
mod refusal;
mod value;

pub use body::{
    Body, Control, ForkPolicy, Genesis, Key, MAX_KEY_LEN, MAX_MEMBER_LEN, MAX_NAME_LEN,
    MAX_OPERATIONS, Member, Operation, Policy, Role, UnknownWord,
};
pub use cbor::Malformed;
pub use event::{Event, MAX_BODY_LEN, MAX_EVENT_LEN, MAX_PARENTS, ParsedEvent, SignedEvent};
pub use id::{
    AuthorKey, BlockId, BodyId, CheckpointId, Codec, EventId, InvalidId, InvalidKey, Micros,
    OpeningId, Seq,
};
pub use refusal::{Reason, Refusal};
pub use value::{
    CONTENT_LEN_LIMIT, Content, Link, MAX_CHUNKS, MAX_INLINE_LEN, MAX_MANIFEST_DEPTH, MAX_RAW_LEN,
    Manifest, Opening, SALT_LEN,
};
