//! The tiles of the certified log, for whoever follows transparency logs: <https://c2sp.org/tlog-tiles>.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use quipu_merge::{
    EventId, Height, LogEntries, LogResource, MAX_LOG_PATH_LEN, TileError, read_entry_tile,
    read_hash_tile,
};
use quipu_store::{ReadError, Snapshot, StorageError};

use super::app::App;
use super::input::Part;
use super::problem::{self, Answer, Problem};

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
