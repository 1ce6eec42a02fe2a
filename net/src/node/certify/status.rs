//! Where certification stands at a node, for people and programs.

use std::time::Duration;

use quipu_merge::{AuthorKey, EventId, Height};
use quipu_proto::{CertifyState, Evidence, Step};
use quipu_store::{Ledger, StorageError};

/// Upper bounds of the buckets of the times that checkpoints took, in seconds.
pub const TIME_BOUNDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Where certification stands at a node. Counts are since it started, but for evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificationStatus {
    /// What is going on, and what to do where it has stopped.
    pub state: CertifyState,
    /// What has gone wrong here, so that nothing is signed until the node is started anew.
    pub broken: Option<String>,
    /// Why this node cannot propose a checkpoint, as long as it cannot.
    pub hindered: Option<String>,
    /// The last checkpoint that counts here.
    pub certified: Option<Height>,
    /// How many events it holds.
    pub events: u64,
    /// The height that is worked on.
    pub height: Height,
    /// The round in it, and what is being done, once it has begun here.
    pub round: Option<(u32, Step)>,
    /// The validators of this height, ascending.
    pub validators: Vec<AuthorKey>,
    /// Those that are missing: who is not connected, or has not voted in the round before this one.
    pub missing: Vec<AuthorKey>,
    /// How many validators are to be there for more than two thirds.
    pub quorum: usize,
    /// Whether this node is one of them.
    pub is_validator: bool,
    /// Whether its key has lost all its roles, as far as is known here.
    pub is_revoked: bool,
    /// Checkpoints that came to count here.
    pub checkpoints: u64,
    /// How long they took, from the beginning of their heights here.
    pub times: Times,
    /// Pieces of evidence against validators: those that were kept when it started, and all that came
    /// since, whether there was room for them or not. See [`evidence`].
    pub evidence: usize,
    /// Length of the log of what is signed, in bytes.
    pub log_bytes: u64,
}

impl CertificationStatus {
    /// Of a ledger without validators, or a node that does not certify.
    pub const fn none() -> Self {
        Self {
            state: CertifyState::NoValidators,
            broken: None,
            hindered: None,
            certified: None,
            events: 0,
            height: Height::FIRST,
            round: None,
            validators: Vec::new(),
            missing: Vec::new(),
            quorum: 0,
            is_validator: false,
            is_revoked: false,
            checkpoints: 0,
            times: Times::none(),
            evidence: 0,
            log_bytes: 0,
        }
    }

    /// What is being done in the round, as a word.
    pub const fn step(&self) -> Option<&'static str> {
        match self.round {
            None => None,
            Some((_, Step::Propose)) => Some("propose"),
            Some((_, Step::Prevote)) => Some("prevote"),
            Some((_, Step::Precommit)) => Some("precommit"),
            Some((_, Step::Commit)) => Some("commit"),
        }
    }

    /// The state as a word: `none`, `follows`, `idle`, `waits`, `asking`, `votes`, `keeps`, `lacks`, `no-quorum`,
    /// `abstains`, `stopped` or `broken`.
    pub const fn word(&self) -> &'static str {
        if self.broken.is_some() {
            return "broken";
        }
        match self.state {
            CertifyState::NoValidators => "none",
            CertifyState::Follows => "follows",
            CertifyState::Idle => "idle",
            CertifyState::Waits => "waits",
            CertifyState::Asking(..) => "asking",
            CertifyState::Votes => "votes",
            CertifyState::Keeps => "keeps",
            CertifyState::Lacks => "lacks",
            CertifyState::NoQuorum(..) => "no-quorum",
            CertifyState::Abstains => "abstains",
            CertifyState::Stopped(_) => "stopped",
        }
    }

    /// What somebody is to know or do, where certification does not go on by itself.
    pub fn advice(&self) -> Option<String> {
        if let Some(why) = &self.broken {
            return Some(format!(
                "what is signed cannot be logged ({why}): mend the disk, then start the daemon again"
            ));
        }
        match &self.state {
            CertifyState::Stopped(stopped) => Some(stopped.to_string()),
            CertifyState::NoQuorum(..) if self.is_revoked => Some(
                "this replica's key has been revoked, so that others turn it away: an admin may grant it \
                 a role again"
                    .to_owned(),
            ),
            CertifyState::NoQuorum(there, needed) => Some(format!(
                "{there} of {} validators can be reached, and {needed} are needed: start the others, \
                 and see that nodes can reach each other",
                self.validators.len()
            )),
            CertifyState::Abstains if self.validators.len() <= self.quorum => Some(
                "this validator does not know all that was signed with its key, and nothing can be \
                 certified without it: where it is known that the key has signed nothing else, \
                 `quipu identity vouch` has it sign again"
                    .to_owned(),
            ),
            CertifyState::Abstains => Some(
                "this validator does not know all that was signed with its key, and signs nothing until \
                 the others have certified two more heights"
                    .to_owned(),
            ),
            _ => self.hindered.clone(),
        }
    }
}

/// How long checkpoints took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// How many took up to each of [`TIME_BOUNDS`].
    pub buckets: [u64; TIME_BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long all took together, in seconds.
    pub seconds: f64,
}

impl Times {
    pub(super) const fn none() -> Self {
        Self { buckets: [0; TIME_BOUNDS.len()], count: 0, seconds: 0.0 }
    }

    pub(super) fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (bucket, bound) in self.buckets.iter_mut().zip(TIME_BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.seconds += seconds;
    }
}

/// What a validator has signed and must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceInfo {
    /// Who.
    pub validator: AuthorKey,
    /// In which height.
    pub height: Height,
    /// In which round.
    pub round: u32,
    /// What was signed twice: `proposal`, `prevote` or `precommit`.
    pub kind: &'static str,
    /// The proof, as nodes write it.
    pub proof: Vec<u8>,
}

/// The evidence against validators that a store keeps, ascending by validator, height and round: of
/// each at most [`quipu_store::MAX_EVIDENCE_AGAINST`] pieces.
///
/// # Errors
/// The disk, the database or its content.
pub fn evidence(ledger: &Ledger) -> Result<Vec<EvidenceInfo>, StorageError> {
    let id: EventId = ledger.id();
    let read = |proof: Vec<u8>| {
        let evidence = Evidence::decode(&proof, id).map_err(|error| StorageError::Damaged {
            what: format!("evidence against a validator: {error}"),
        })?;
        Ok(EvidenceInfo {
            validator: evidence.validator(),
            height: evidence.height(),
            round: evidence.round(),
            kind: evidence.kind(),
            proof,
        })
    };
    ledger.evidence()?.into_iter().map(read).collect()
}
