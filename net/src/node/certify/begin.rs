//! What certification starts from.

use std::sync::Arc;

use quipu_merge::{AuthorKey, Chain, CheckpointNote, CheckpointSignature, Height};
use quipu_proto::{COSIGNED_HEIGHTS, CertifyStart, Log, MAX_REPORTED_HEADS, Mark};
use quipu_store::{Ledger, ReadError, StorageError, VoteLog, Votes, VotingKey};

use super::convert;
use crate::node::error::StartError;

/// What certification starts from.
pub struct Begin {
    pub ledger: Arc<Ledger>,
    pub start: CertifyStart,
    pub me: AuthorKey,
    /// What it signs with, and the log of what it has signed. Without, it only follows.
    pub voting: Option<(VotingKey, VoteLog)>,
    /// How many pieces of evidence are kept.
    pub evidence: usize,
    /// The notes of the last checkpoints, ascending.
    pub notes: Vec<KeptNote>,
    /// The height at which the ledger has diverged, if it has.
    pub diverged: Option<Height>,
}

/// The note of a checkpoint.
pub struct KeptNote {
    pub note: CheckpointNote,
    /// Who may sign it, ascending.
    pub validators: Vec<AuthorKey>,
    /// The lines that are kept.
    pub lines: Vec<CheckpointSignature>,
}

impl Begin {
    /// Reads it, where the ledger has validators. To vote, it needs the replica's key.
    pub fn read(ledger: &Arc<Ledger>, votes: bool) -> Result<Option<Self>, StartError> {
        if ledger.genesis().validators.is_empty() {
            return Ok(None);
        }
        let (voting, log, mark) = if votes { voting(ledger)? } else { (None, Log::Lost, None) };
        let (chain, tip, certifiers) = chain(ledger)?;
        let notes = match &tip {
            Some(tip) => notes(ledger, tip.parts.checkpoint().height)?,
            None => Vec::new(),
        };
        let heads = ledger.heads_to_certify(MAX_REPORTED_HEADS);
        let start = CertifyStart { chain, tip, certifiers, log, mark, heads };
        let diverged = ledger.certification().diverged.first().map(quipu_store::Divergence::height);
        let evidence = ledger.evidence().map_err(ReadError::from)?.len();
        let ledger = ledger.clone();
        let me = ledger.author();
        Ok(Some(Self { ledger, start, me, voting, evidence, notes, diverged }))
    }
}

/// The key, the log of what was signed with it, what is in that, and its mark.
fn voting(ledger: &Arc<Ledger>) -> Result<Voting, StartError> {
    let key = ledger.voting_key()?;
    let (votes, log, mark) = VoteLog::open(ledger, key.author()).map_err(ReadError::from)?;
    let (log, mark) = match (log, mark) {
        (Votes::New, None) => (Log::New, None),
        (Votes::Kept(entries), None) => (Log::Kept(entries), None),
        (log, Some(mark)) => match (log, Mark::decode(&mark)) {
            (Votes::Kept(entries), Some(mark)) => (Log::Kept(entries), Some(mark)),
            // A mark that means nothing may stand for any vote.
            (_, mark) => (Log::Lost, mark),
        },
        (Votes::Lost, None) => (Log::Lost, None),
    };
    Ok((Some((key, votes)), log, mark))
}

type Voting = (Option<(VotingKey, VoteLog)>, Log, Option<Mark>);

type Kept = (Chain, Option<quipu_proto::Certified>, Vec<AuthorKey>);

/// The checkpoints that are kept, the last of them, and who has certified it.
fn chain(ledger: &Ledger) -> Result<Kept, ReadError> {
    let snapshot = ledger.snapshot()?;
    let Some(height) = snapshot.certified_height() else {
        return Ok((Chain::new(ledger.id(), &ledger.genesis()), None, Vec::new()));
    };
    let damaged = || StorageError::Damaged { what: format!("checkpoint {height}") };
    let tip = snapshot.checkpoint(height)?.ok_or_else(damaged)?;
    let chain = Chain::trusting(&tip.checkpoint, &tip.validators).map_err(|_| damaged())?;
    let certifiers = snapshot.validators_of(height)?.ok_or_else(damaged)?;
    let tip = convert::to_send(tip).map_err(|_| damaged())?;
    Ok((chain, Some(tip), certifiers))
}

/// The notes of the checkpoint of this height and of those before it whose lines are gathered.
fn notes(ledger: &Ledger, last: Height) -> Result<Vec<KeptNote>, ReadError> {
    let snapshot = ledger.snapshot()?;
    let first = last.0.saturating_sub(COSIGNED_HEIGHTS - 1).max(snapshot.first_checkpoint().0);
    let note = |height| {
        let damaged = || StorageError::Damaged { what: format!("checkpoint {height}") };
        let kept = snapshot.checkpoint(height)?.ok_or_else(damaged)?;
        let note = CheckpointNote::of(&kept.checkpoint, kept.id());
        let validators = snapshot.validators_of(height)?.ok_or_else(damaged)?;
        Ok(KeptNote { note, validators, lines: snapshot.cosignatures(height)? })
    };
    (first..=last.0).map(Height).map(note).collect()
}
