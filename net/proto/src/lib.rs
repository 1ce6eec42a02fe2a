//! What peers say to each other and when, as state machines: inputs and time go in, messages and
//! tasks come out.
//!
//! No sockets, no clock, no randomness of its own, and no store: what has to be looked up or
//! written is a [`Task`], and its answer comes back as an input. So the same code runs over QUIC and
//! RocksDB, and in a simulator where every run can be repeated.
//!
//! ```
//! use quipu_merge::{AuthorKey, EventId, Micros};
//! use quipu_proto::{Config, Input, Message, Moment, Node, Output, Task};
//!
//! let (me, peer, ledger) = (AuthorKey([1; 32]), AuthorKey([2; 32]), EventId([3; 32]));
//! let mut node = Node::new(Config::new(me, ledger), []);
//! node.handle(Input::Connected(peer), Moment(0), Micros(1_000_000));
//! // The node greets its peer, asks its store what it lacks, and wants to be woken when it ought
//! // to have heard of the peer.
//! assert!(matches!(node.output(), Some(Output::Send { message: Message::Hello(_), .. })));
//! assert!(matches!(node.output(), Some(Output::Do(Task::Lacking { .. }))));
//! assert!(node.output().is_none());
//! assert!(node.next().is_some());
//! ```

mod addresses;
mod backing;
mod certify;
mod channel;
mod defer;
mod exchange;
mod frontier;
mod give;
mod gossip;
mod history;
mod limits;
mod marks;
mod message;
mod named;
mod node;
mod peer;
mod pull;
mod quota;
mod rate;
mod reconcile;
mod score;
mod serve;
mod shelf;
mod task;
mod tell;
mod time;
mod values;
mod wire;

#[doc(hidden)]
pub use certify::Sabotage;
pub use certify::{
    AskProposal, COSIGNED_HEIGHTS, CatchingUp, Certified, CertifiedBytes, Certifier, CertifyAnswer,
    CertifyConfig, CertifyInput, CertifyMessage, CertifyOutput, CertifyStart, CertifyState,
    CertifyStatus, CertifyTask, Claim, CosignOutput, Cosigned, Cosigning, Derived, Divergence,
    Evidence, EvidenceError, Fault, Id, Keys, Lines as NoteLines, Log, MAX_CHECKPOINTS,
    MAX_CHECKPOINTS_LEN, MAX_EVIDENCE_LEN, MAX_PARTS_LEN, MAX_REPORTED_HEADS, Mark, Parts,
    PartsBytes, Patience, Polka, Proposed, Report, Reports, RoundProof, RoundVote, Signed,
    SignedProposal, SignedVote, Step, Stopped, TipOf,
};
pub use channel::Channel;
pub use exchange::FULL_LANES;
pub use frontier::{Frontier, FrontierDigest, LaneTips, Placed, Tip};
pub use limits::{
    MAX_ANNOUNCED_LEN, MAX_BATCH_LEN, MAX_BLOCKS_FRAME, MAX_CONTROL_FRAME, MAX_GOSSIP_FRAME,
    MAX_GOSSIP_PENDING_LEN, MAX_GOSSIP_PENDING_OF_AUTHOR, MAX_HISTORY_ITEMS, MAX_HISTORY_LEN,
    MAX_IDS, MAX_KNOWN, MAX_LANES, MAX_LANES_LEN, MAX_OPENINGS_LEN, MAX_PART_LEN, MAX_PARTS,
    MAX_PLACE_LEN, MAX_PLACES, MAX_PULL_LEN, MAX_QUESTIONS, MAX_SHELVED, MAX_SHELVED_LEN,
    MAX_SIGNATURES, MAX_SYNC_FRAME, MAX_TOLD_PEERS, WINDOW,
};
pub use message::{
    Ask, AskHistory, AskLanes, AskMarked, AskPart, Batch, Compare, Credit, End, Given, Got, Hello,
    HistoryItem, HistoryPart, Ids, Item, KnownPeer, Lanes, Malformed, Marks, Message, Packet,
    PacketOpening, Part, Peers, Ping, Pull, PullTold, Reconcile, Start, StartFile, Sums, VERSION,
    Version, Want,
};
pub use node::{Config, Input, Node, Output};
pub use peer::PeerInfo;
pub use quota::{Allowance, Quota};
pub use score::{MOST, Misbehaviour};
pub use task::{Answer, FeedId, HistoryEntry, Outcome, Task, Ticket, ValuePlace};
pub use time::Moment;
