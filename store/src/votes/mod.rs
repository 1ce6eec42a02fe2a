//! What a validator signs, and what it must remember of that. All of it is this replica's alone: it
//! is in no export, and a store that may not be the only one with its key has lost it.

mod evidence;
mod key;
mod log;
mod mark;
mod record;

pub use evidence::{
    KeptEvidence, MAX_ACCUSED, MAX_EVIDENCE_AGAINST, MAX_EVIDENCE_NAME, MAX_KEPT_EVIDENCE_LEN,
};
pub use key::VotingKey;
pub use log::{VoteEntry, VoteLog, Votes};
pub use mark::MAX_VOTE_MARK;
pub use record::{is_sound, lose};
