//! `quipu checkpoint show --note`

use quipu_merge::{CheckpointNote, Height, quorum};
use quipu_store::Snapshot;
use serde::Serialize;

use super::find;
use crate::context::Context;
use crate::exit::{Failure, NOT_COSIGNED};
use crate::output;
use crate::shown::AuthorJson;

#[derive(Serialize)]
struct NoteJson {
    height: u64,
    checkpoint: String,
    /// The text and its signature lines.
    note: String,
    /// Whose lines it has.
    cosigned: Vec<AuthorJson>,
}

/// Prints a checkpoint as a signed note, with the lines that have come.
pub fn show(snapshot: &Snapshot<'_>, height: Height, context: &mut Context) -> Result<(), Failure> {
    let certified = find(snapshot, height)?;
    let lines = snapshot.cosignatures(height)?;
    if lines.is_empty() {
        let what = format!("the note of checkpoint {height}");
        return Err(Failure::Unavailable { what, why: NOT_COSIGNED });
    }
    let note = CheckpointNote::of(&certified.checkpoint, certified.id()).signed(&lines);
    let out = &mut context.out;
    if out.is_json() {
        return Ok(out.json(&NoteJson {
            height: height.0,
            checkpoint: certified.id().to_string(),
            note: note.to_string(),
            cosigned: lines.iter().map(|line| AuthorJson(line.validator)).collect(),
        })?);
    }
    out.bytes(note.to_string().as_bytes())?;
    let (signed, all) = (lines.len(), snapshot.validators_of(height)?.map_or(0, |all| all.len()));
    if signed < quorum(all) {
        out.flush()?;
        output::note(format_args!(
            "{signed} of its {all} validators have signed this note, as far as is known here"
        ));
    }
    Ok(())
}
