//! Checkpoints as signed notes, for whoever follows transparency logs: <https://c2sp.org/tlog-checkpoint>.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use quipu_merge::{CheckpointNote, CheckpointSignature, Height, quorum};
use quipu_proto::COSIGNED_HEIGHTS;
use quipu_store::{ReadError, Snapshot};

use super::app::App;
use super::checkpoints::height_of;
use super::input::Part;
use super::problem::{self, Answer, Problem};

/// The last checkpoint that more than two thirds of its validators have cosigned, as a signed note. Beside
/// it, under `/tlog/tile/`, are the tiles of the certified log, as <https://c2sp.org/tlog-tiles> names them.
#[utoipa::path(get, path = "/tlog/checkpoint", operation_id = "tlog_checkpoint", tag = "checkpoints", responses(
    (status = 200, description = "What was asked for.", body = String, content_type = "text/plain"),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn latest(State(app): State<Arc<App>>) -> Answer<Response> {
    let note = app.read(|app| {
        let snapshot = app.ledger.snapshot()?;
        let last = snapshot.certified_height();
        let last = last.ok_or_else(|| Problem::uncertified(&snapshot))?;
        match cosigned(&snapshot, last)? {
            Some((height, lines)) => signed(&snapshot, height, &lines),
            None => Err(Problem::new(
                problem::NOT_COSIGNED,
                format!("checkpoint {last} is the last one; peers bring what lacks"),
            )),
        }
    });
    Ok(text(note.await?))
}

/// The note of a certified checkpoint, that of a height or `latest`, with the signature lines that have
/// come: these may be fewer than `/tlog/checkpoint` has.
#[utoipa::path(get, path = "/v1/checkpoints/{height}/note", tag = "checkpoints",
    params(("height" = String, Path)), responses(
    (status = 200, description = "What was asked for.", body = String, content_type = "text/plain"),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn note(State(app): State<Arc<App>>, Part(height): Part<String>) -> Answer<Response> {
    let note = app.read(move |app| {
        let snapshot = app.ledger.snapshot()?;
        let height = height_of(&snapshot, &height)?;
        let lines = snapshot.cosignatures(height)?;
        let note = signed(&snapshot, height, &lines)?;
        if lines.is_empty() {
            let why = format!("nobody's lines of checkpoint {height} have come");
            return Err(Problem::new(problem::NOT_COSIGNED, why));
        }
        Ok(note)
    });
    Ok(text(note.await?))
}

fn text(note: String) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))];
    (kind, note).into_response()
}

fn signed(
    snapshot: &Snapshot<'_>,
    height: Height,
    lines: &[CheckpointSignature],
) -> Answer<String> {
    let missing = || Problem::new(problem::NOT_FOUND, "no such checkpoint");
    let certified = snapshot.checkpoint(height)?.ok_or_else(missing)?;
    let note = CheckpointNote::of(&certified.checkpoint, certified.id());
    Ok(note.signed(lines).to_string())
}

/// The last checkpoint up to `last` that more than two thirds have cosigned, among those of which lines
/// still come. Clients and witnesses hold on to what they have been shown, so what too few vouch for is not
/// shown to them.
fn cosigned(
    snapshot: &Snapshot<'_>,
    last: Height,
) -> Result<Option<(Height, Vec<CheckpointSignature>)>, ReadError> {
    let first = last.0.saturating_sub(COSIGNED_HEIGHTS - 1).max(snapshot.first_checkpoint().0);
    for height in (first..=last.0).rev().map(Height) {
        let lines = snapshot.cosignatures(height)?;
        let validators = snapshot.validators_of(height)?;
        if validators.is_some_and(|validators| lines.len() >= quorum(validators.len())) {
            return Ok(Some((height, lines)));
        }
    }
    Ok(None)
}
