//! What peers say to each other and when, as state machines: inputs and time go in, messages and
//! tasks come out.
//!
//! No sockets, no clock, no randomness of its own, and no store: what has to be looked up or
//! written is a [`Task`], and its answer comes back as an input. So the same code runs over QUIC and
//! RocksDB, and in a simulator where every run can be repeated.

mod exchange;
mod frontier;
mod gossip;
mod limits;
mod message;
mod node;
mod peer;
mod pull;
mod score;
mod serve;
mod task;
mod time;
mod wire;

pub use exchange::FULL_LANES;
pub use frontier::{Frontier, FrontierDigest, LaneTips, Placed, Tip};
pub use limits::{
    MAX_ANNOUNCED_LEN, MAX_BATCH_LEN, MAX_CONTROL_FRAME, MAX_GOSSIP_FRAME, MAX_IDS, MAX_LANES,
    MAX_OPENINGS_LEN, MAX_SYNC_FRAME, WINDOW,
};
pub use message::{Channel, Ids, Malformed, Message, Packet, VERSION, Version, Want};
pub use node::{Config, Input, Node, Output};
pub use score::{MOST, Misbehaviour};
pub use task::{Answer, FeedId, Outcome, Task, Ticket};
pub use time::Moment;
