//! What nodes that replicate live ask of their stores: what there is, what is missing, and a way in
//! for what comes.
//!
//! A peer is compared with by **tips**, the last events of each author's branches. Who holds an event
//! holds all that precedes it, so tips name a whole history.

mod admit;
mod feed;
mod fetch;
mod follow;
mod frontier;
mod plan;
mod ranges;
mod unseen;
mod value_sink;
mod values;

use quipu_merge::{AuthorKey, EventId, Seq};

pub use admit::{AdmitReport, CheckedEvents};
pub use feed::{Feed, Portion};
pub use fetch::MAX_OPENINGS_LEN;
pub use follow::{Follower, Followers, HeldEvent, News, Notice};
pub use plan::MAX_HELD;
pub use value_sink::ValueSink;
pub use values::{Lacks, MAX_MISSING_BLOCKS, MissingValue};

/// The last events of an author's branches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branches {
    /// Whose branches they are.
    pub author: AuthorKey,
    /// Their last events, ascending; one, unless the author forked.
    pub tips: Vec<(Seq, EventId)>,
}

/// Up to which events of an author something is wanted, and from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The last events that are wanted, with what precedes them on the author's chain.
    pub up_to: Vec<EventId>,
    /// Events of the same author that are held, with what precedes them.
    pub held: Vec<(Seq, EventId)>,
}
