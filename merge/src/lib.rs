//! What an event of a Quipu ledger is, and what a set of events means.
//!
//! No IO, no clock, no randomness: bytes and times come in, verdicts and states go out.

#![forbid(unsafe_code)]

mod admission;
mod authority;
mod body;
mod car;
mod cbor;
mod certificate;
mod certified;
mod chain;
mod checkpoint;
mod clock;
mod content;
mod cut;
mod dump;
mod event;
mod history;
mod id;
mod lanes;
mod log_tree;
mod note;
mod proof;
mod refusal;
mod state;
mod state_root;
mod state_tree;
mod tiles;
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
pub use car::{
    CarBlock, CarError, CarFault, CarReader, CarWriter, MAX_BLOCK_LEN, MAX_CAR_HEADER_LEN,
    MAX_CAR_ROOTS,
};
pub use cbor::Malformed;
pub use certificate::{
    Certificate, CertificateError, MAX_CERTIFICATE_LEN, MAX_ROUND, Round, Vote, VoteError,
    VoteType, quorum,
};
pub use certified::{CertifiedCuts, CutNumber, UNCERTIFIED};
pub use chain::{Chain, ChainError};
pub use checkpoint::{
    Checkpoint, CutBlock, HEIGHT_LIMIT, Height, MAX_CUT_HEADS, MAX_VALIDATORS, ValidatorsBlock,
};
pub use clock::{Clock, Dot, Lane};
pub use content::{
    AVERAGE_CHUNK_LEN, ContentReadError, ContentWriteError, ContentWriter, MAX_CHUNK_LEN,
    MIN_CHUNK_LEN, read_content, read_content_range,
};
pub use cut::{Cut, CutExpression, InvalidCut};
pub use dump::{DagJsonBytes, DagJsonLink, Dump, Overview, Shown, ShownWrite};
pub use event::{
    Event, Keyring, MAX_BODY_LEN, MAX_EVENT_LEN, MAX_PARENTS, ParsedEvent, SignedEvent,
};
pub use history::{Entry, History, UnknownEvent};
pub use id::{
    AuthorKey, BlockId, BodyId, CheckpointId, Codec, EventId, InvalidId, InvalidKey, Micros,
    OpeningId, Seq,
};
pub use lanes::{LaneInfo, LaneTable, Lanes, Placement};
pub use log_tree::{
    InvalidProof, LOG_SIZE_LIMIT, LogHash, LogProofError, LogTree, MAX_PROOF_LEN, StoredHashes,
    check_consistency, check_inclusion, event_leaf_hash, leaf_hash, prove_consistency,
    prove_inclusion,
};
pub use note::{
    CheckpointNote, CheckpointSignature, MAX_NOTE_LEN, MAX_NOTE_SIGNATURES, NoteError, NoteKey,
    NoteKeyKind, NoteSignature, SignedNote, VerifiedLine, log_origin,
};
pub use proof::{
    Certified, CheckpointFacts, Claim, Fact, KeyEntry, KeyFacts, ListFacts, MAX_PROOF_FILE_LEN,
    MAX_PROOF_STEPS, Proof, ProofError, ProofStart, ProofStep, ProvedKey, ProvedWrite, Proven,
    StepFault, Trust, check_chain, proof_steps, register_writes,
};
pub use refusal::{Reason, Refusal};
pub use state::{Counter, Effect, List, Place, Register, Set, State, ValueRef, Write};
pub use state_root::{
    EMPTY_STATE_ROOT, Leaf, LeafKind, StateRootError, list_entry_hash, state_root,
};
pub use state_tree::{
    MAX_STATE_PROOF_LEN, StateChange, StateNodes, StateProof, StateTreeError, StateUpdate,
    extend_state, prove_state, update_state,
};
pub use tiles::{
    LogEntries, LogResource, MAX_LOG_PATH_LEN, TILE_WIDTH, Tile, TileError, UnknownResource,
    read_entry_tile, read_hash_tile,
};
pub use value::{
    CONTENT_LEN_LIMIT, Content, Link, MAX_CHUNKS, MAX_INLINE_LEN, MAX_MANIFEST_DEPTH, MAX_RAW_LEN,
    Manifest, Opening, SALT_LEN,
};
pub use verdicts::{Subject, Verdicts};
pub use view::View;
