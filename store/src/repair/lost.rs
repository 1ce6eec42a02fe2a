//! What is gone for good, as far as anything tells: the marks beside the database, the index by id,
//! and events whose ancestors are missing.

use std::collections::BTreeMap;
use std::path::Path;

use quipu_merge::{AuthorKey, EventId, Seq};

use super::events::NotHeld;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::lookup;
use crate::mark::{self, Loss, Tip};

/// Events of one author that could not be placed: events that they follow are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// The author.
    pub author: AuthorKey,
    /// How many.
    pub events: u64,
    /// The first of them.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
}

/// The events that could not be placed, by author.
pub fn by_author(unplaced: &NotHeld) -> Vec<Unplaced> {
    let mut authors = BTreeMap::<AuthorKey, Unplaced>::new();
    for &(author, seq) in unplaced.values() {
        let entry =
            authors.entry(author).or_insert(Unplaced { author, events: 0, first: seq, last: seq });
        entry.events += 1;
        entry.first = entry.first.min(seq);
        entry.last = entry.last.max(seq);
    }
    authors.into_values().collect()
}

/// What the store in `dir` has lost, if anything. `own` are events of this replica that were there
/// and are not held; `all` says whether all of the damaged database could be read.
///
/// It is told as a log that was cut off is: so no number of the own chain is used twice.
pub fn loss(
    dir: &Path,
    ledger: &Ledger,
    own: impl Iterator<Item = (EventId, Seq)>,
    all: bool,
) -> Result<Option<Loss>, StorageError> {
    let known = match mark::read_loss(dir)? {
        Some(loss) => match loss.tip() {
            Some(tip) if is_back(ledger, tip)? => mark::marked_tip(dir),
            Some(tip) => Some(tip.clone()),
            None => return Ok(Some(loss)),
        },
        None => mark::marked_tip(dir),
    };
    let gone = own.max_by_key(|(_, seq)| *seq);
    let tip = match (known, gone) {
        (Some(tip), Some((id, seq))) => tip.with_own(ledger.author(), seq, id),
        (None, Some((id, seq))) => Tip::default().with_own(ledger.author(), seq, id),
        (Some(tip), None) => tip,
        // Without a mark nobody can tell what else there was.
        (None, None) => return Ok((!all).then(|| Loss::up_to(None))),
    };
    Ok(if is_back(ledger, &tip)? { None } else { Some(Loss::up_to(Some(tip))) })
}

/// Whether everything is held that a tip names.
fn is_back(ledger: &Ledger, tip: &Tip) -> Result<bool, StorageError> {
    for event in tip.wanted() {
        if lookup::dot_of(ledger.latest(), event)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
