//! Where certification stands, for people.

use quipu_merge::{AuthorKey, Checkpoint, Height, quorum};

use super::certifier::Certifier;
use super::engine::{Engine, Step};
use super::parts::Certified;
use super::shell::Fault;

/// Where certification stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifyStatus {
    /// The height that is worked on: one more than that of the last checkpoint.
    pub height: Height,
    /// The round in it and what is being done, once it has begun here.
    pub round: Option<(u32, Step)>,
    /// The validators of this height.
    pub validators: usize,
    /// Those that are missing: who is not connected, or has not voted in the round before this one.
    pub missing: Vec<AuthorKey>,
    /// What is going on.
    pub state: CertifyState,
}

/// What certification waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertifyState {
    /// The ledger has no validators: nothing will be certified.
    NoValidators,
    /// This node is not a validator of this height, and follows.
    Follows,
    /// All that is held here is certified.
    Idle,
    /// What is new is not known to be held by enough validators, or not due yet.
    Waits,
    /// Validators are being asked where they stand: so many have answered, so many must.
    Asking(usize, usize),
    /// A checkpoint is being voted on.
    Votes,
    /// A checkpoint has been certified, and is being derived and written here.
    Keeps,
    /// A checkpoint has been certified that names events which are not here yet, or not due.
    Lacks,
    /// Not enough validators can be reached: so many, with this one, and so many must.
    NoQuorum(usize, usize),
    /// This validator has lost its log, and signs nothing until it knows that it cannot have signed
    /// before.
    Abstains,
    /// It has stopped for ever.
    Stopped(Stopped),
}

/// Why certification has stopped here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Signing on could mean to sign twice.
    #[error(
        "{0}. Nothing is signed with this key any more. Keep a copy of the store for whoever is to find \
         out why, give this replica another key, have an admin grant `validator` to that and revoke \
         the old one"
    )]
    Fault(Fault),
    /// The key cannot be used.
    #[error("the key of this replica cannot be read: start again when it can")]
    NoKey,
    /// Validators have certified two checkpoints of one height, or one that does not follow from its
    /// events.
    #[error(
        "the ledger has diverged at height {0}: compare with other replicas, and find the validators \
         that have signed what they must not"
    )]
    Diverged(Height),
}

/// The ledger has two histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// Two checkpoints of one height are certified. The first stays.
    Twice(Certified, Certified),
    /// A certified checkpoint does not follow from its events: from them follows another, if any.
    /// It does not count.
    Derived(Certified, Option<Checkpoint>),
}

impl Certifier {
    /// Where it stands.
    pub fn status(&self) -> CertifyStatus {
        let validators = self.chain.validators();
        let stand = self.engine.as_ref().map(Engine::stand);
        let before = stand.and_then(|stand| stand.round.checked_sub(1));
        let voted = |key: &AuthorKey| {
            let (Some(before), Some(engine)) = (before, &self.engine) else { return true };
            engine.votes(before).any(|vote| vote.by == *key)
        };
        let there = |key: &AuthorKey| *key == self.config.me || self.peers.get(key).is_some();
        let here = |key: &AuthorKey| there(key) && voted(key);
        CertifyStatus {
            height: self.height(),
            round: stand.map(|stand| (stand.round, stand.step)),
            validators: validators.len(),
            missing: validators.iter().filter(|key| !here(key)).copied().collect(),
            state: self.state(validators.iter().filter(|key| there(key)).count()),
        }
    }

    fn state(&self, there: usize) -> CertifyState {
        let validators = self.chain.validators();
        let needed = quorum(validators.len());
        if let Some(stopped) = &self.stopped {
            return CertifyState::Stopped(stopped.clone());
        }
        if let Some(keeping) = &self.keeping {
            let lacks = keeping.retry.is_some();
            return if lacks { CertifyState::Lacks } else { CertifyState::Keeps };
        }
        if self.decided {
            CertifyState::Lacks
        } else if validators.is_empty() {
            CertifyState::NoValidators
        } else if !self.is_validator() {
            CertifyState::Follows
        } else if self.recall.lost {
            CertifyState::Abstains
        } else if there < needed {
            CertifyState::NoQuorum(there, needed)
        } else if !self.recall.done {
            CertifyState::Asking(self.recall.answers(self.config.me, validators), needed)
        } else if self.engine.is_some() {
            CertifyState::Votes
        } else if self.holds_more() {
            CertifyState::Waits
        } else {
            CertifyState::Idle
        }
    }

    /// Whether events are held here that the last checkpoint does not hold.
    fn holds_more(&self) -> bool {
        let certified = self.tip.as_ref().map_or(&[][..], |tip| tip.parts.cut().heads());
        self.reports.own().iter().any(|head| certified.binary_search(head).is_err())
    }
}
