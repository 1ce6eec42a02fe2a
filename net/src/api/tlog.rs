//! The certified log, for whoever follows transparency logs: <https://c2sp.org/tlog-tiles>.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use quipu_merge::{
    CheckpointNote, CheckpointSignature, EventId, Height, LogEntries, LogResource,
    MAX_LOG_PATH_LEN, TileError, read_entry_tile, read_hash_tile,
};
use quipu_store::{ReadError, Snapshot, StorageError};

use super::app::App;
use super::input::Part;
use super::problem::{self, Answer, Problem};

/// So many checkpoints are looked at for one that more than two thirds have cosigned.
const LOOK_BACK: u64 = 8;

/// The last checkpoint that validators have cosigned, as a signed note. Beside it, under `/tlog/tile/`,
/// are the tiles of the certified log, as <https://c2sp.org/tlog-tiles> names them.
#[utoipa::path(get, path = "/tlog/checkpoint", operation_id = "tlog_checkpoint", tag = "checkpoints", responses(
    (status = 200, description = "What was asked for.", body = String, content_type = "text/plain"),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn checkpoint(State(app): State<Arc<App>>) -> Answer<Response> {
    let note = app.read(|app| {
        let snapshot = app.ledger.snapshot()?;
        let nothing = || match snapshot.certified_height() {
            Some(height) => {
                let why = format!("checkpoint {height} is the last one; peers bring what lacks");
                Problem::new(problem::NOT_COSIGNED, why)
            }
            None => Problem::uncertified(&snapshot),
        };
        let (height, signatures) = cosigned(&snapshot)?.ok_or_else(nothing)?;
        let certified = snapshot.checkpoint(height)?.ok_or_else(nothing)?;
        let note = CheckpointNote::of(&certified.checkpoint, certified.id());
        Ok(note.signed(&signatures).to_string())
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))];
    Ok((kind, note.await?).into_response())
}

/// The last checkpoint that more than two thirds have cosigned, or else the last that most have.
fn cosigned(
    snapshot: &Snapshot<'_>,
) -> Result<Option<(Height, Vec<CheckpointSignature>)>, ReadError> {
    let Some(last) = snapshot.certified_height() else { return Ok(None) };
    let mut best: Option<(Height, Vec<CheckpointSignature>)> = None;
    let first = last.0.saturating_sub(LOOK_BACK - 1).max(snapshot.first_checkpoint().0);
    for height in (first..=last.0).rev().map(Height) {
        let signatures = snapshot.cosignatures(height)?;
        let validators = snapshot.validators_of(height)?.map_or(0, |validators| validators.len());
        if signatures.len() * 3 > validators * 2 {
            return Ok(Some((height, signatures)));
        }
        let more = best.as_ref().is_none_or(|(_, most)| signatures.len() > most.len());
        if more && !signatures.is_empty() {
            best = Some((height, signatures));
        }
    }
    Ok(best)
}

/// A tile of hashes, or a bundle of entries, of the certified log: `0/000`, `entries/000.p/7`.
pub async fn tile(State(app): State<Arc<App>>, Part(path): Part<String>) -> Answer<Response> {
    let missing = || Problem::new(problem::NOT_FOUND, "the log has no such tile");
    if path.len() > MAX_LOG_PATH_LEN {
        return Err(missing());
    }
    let resource = format!("tile/{path}").parse::<LogResource>().map_err(|_| missing())?;
    let tile = app.read(move |app| {
        let snapshot = app.ledger.snapshot()?;
        let size = snapshot.certified_len();
        let bytes = match resource {
            LogResource::Checkpoint => None,
            LogResource::Hashes { level, tile } => {
                let tile = read_hash_tile(&snapshot.log_hashes(), size, level, tile);
                tile.map_err(|error| broken(&snapshot, error))?
            }
            LogResource::Entries(tile) => {
                let tile = read_entry_tile(&Entries(&snapshot), size, tile);
                tile.map_err(|error| broken(&snapshot, error))?
            }
        };
        bytes.ok_or_else(missing)
    });
    let kind = HeaderValue::from_static("application/octet-stream");
    // What is certified stays as it is.
    let cache = HeaderValue::from_static("max-age=31536000, immutable");
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)];
    Ok((headers, tile.await?).into_response())
}

struct Entries<'s, 'l>(&'s Snapshot<'l>);

impl LogEntries for Entries<'_, '_> {
    type Error = ReadError;

    fn read(&self, index: u64) -> Result<Option<EventId>, ReadError> {
        self.0.log_entry(index)
    }
}

fn broken<E: Into<ReadError> + std::fmt::Display>(
    snapshot: &Snapshot<'_>,
    error: TileError<E>,
) -> Problem {
    match error {
        TileError::Store(error) => Problem::from(error.into()),
        // The store starts from a checkpoint, and the tile begins before that.
        _ if snapshot.first_checkpoint() > Height::FIRST => {
            ReadError::BelowStart(snapshot.first_checkpoint()).into()
        }
        other => StorageError::Damaged { what: other.to_string() }.into(),
    }
}
