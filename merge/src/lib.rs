//! What an event of a Quipu ledger is, and what a set of events means.
//!
//! No IO, no clock, no randomness: bytes and times come in, verdicts and states go out.

#![forbid(unsafe_code)]

mod admission;
mod authority;
mod body;
mod cbor;
mod clock;
mod cut;
mod dump;
mod event;
mod history;
mod id;
mod lanes;
mod refusal;
mod state;
mod state_root;
mod value;
mod verdicts;
mod view;

pub use admission::{
    Admission, Ancestor, Ancestors, MAX_AHEAD, admit, admit_genesis, check_body, check_follows,
};
pub use authority::{Act, Authority, ControlEvent};
pub use body::{
    Body, Control, ForkPolicy, Genesis, Key, MAX_KEY_LEN, MAX_MEMBER_LEN, MAX_NAME_LEN,
    MAX_OPERATIONS, Member, Operation, Policy, Role, UnknownWord,
};
pub use cbor::Malformed;
pub use clock::{Clock, Dot, Lane};
pub use cut::Cut;
pub use dump::{DagJsonBytes, DagJsonLink, Dump, Overview, Shown, ShownWrite};
pub use event::{Event, MAX_BODY_LEN, MAX_EVENT_LEN, MAX_PARENTS, ParsedEvent, SignedEvent};
pub use history::{Entry, History, UnknownEvent};
pub use id::{
    AuthorKey, BlockId, BodyId, CheckpointId, Codec, EventId, InvalidId, InvalidKey, Micros,
    OpeningId, Seq,
};
pub use lanes::{LaneInfo, LaneTable, Lanes, Placement};
pub use refusal::{Reason, Refusal};
pub use state::{Counter, Effect, List, Place, Register, Set, State, ValueRef, Write};
pub use value::{
    CONTENT_LEN_LIMIT, Content, Link, MAX_CHUNKS, MAX_INLINE_LEN, MAX_MANIFEST_DEPTH, MAX_RAW_LEN,
    Manifest, Opening, SALT_LEN,
};
pub use verdicts::{CutNumber, Subject, UNCERTIFIED, Verdicts, cut_number};
pub use view::View;
