//! Registers: what they hold, and writing them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quipu_store::RegisterWrite;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::caller::Caller;
use super::condition::Condition;
use super::input::{Params, Part};
use super::keys::AtQuery;
use super::limits::MAX_PAGE;
use super::problem::{self, Answer, Problem};
use super::shown::CommittedOut;
use super::waiting::WaitQuery;
use super::write::{Write, put_value};
use crate::shown::WriteOut;

/// A register.
#[derive(Serialize, ToSchema)]
pub struct RegisterOut {
    /// The key.
    key: String,
    #[serde(flatten)]
    write: WriteOut,
    /// How many values conflict with this one.
    conflicts: usize,
    /// Those values, up to a thousand.
    others: Vec<WriteOut>,
}

/// What names the state of a register: the events whose writes stand in it.
pub fn tag(writes: &[RegisterWrite]) -> String {
    /// With more of them, their hash names them.
    const FEW: usize = 16;
    let mut events: Vec<_> = writes.iter().map(|write| write.event).collect();
    events.sort_unstable();
    if events.len() > FEW {
        let mut hasher = blake3::Hasher::new();
        events.iter().for_each(|event| {
            hasher.update(&event.0);
        });
        return format!("\"{}\"", hasher.finalize().to_hex());
    }
    let events: Vec<_> = events.iter().map(ToString::to_string).collect();
    format!("\"{}\"", events.join("+"))
}

/// Whether the caller has what it asks for already.
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let bare = |known: &str| known.trim().trim_start_matches("W/").to_owned();
    known.is_some_and(|known| {
        known.trim() == "*" || known.split(',').any(|known| bare(known) == tag)
    })
}

/// A header with a tag. It is of letters that may stand there.
pub fn tag_header(tag: &str) -> HeaderValue {
    HeaderValue::from_str(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// A register: its value, who wrote it, and what conflicts with it. `ETag` names the events whose writes
/// stand.
#[utoipa::path(get, path = "/v1/registers/{key}", tag = "keys", params(AtQuery, ("key" = String, Path)), responses(
    (status = 200, description = "What was asked for.", body = RegisterOut, headers(("ETag" = String))),
    (status = 304, description = "It is as `If-None-Match` says."),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn register(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Params(query): Params<AtQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    app.read(move |app| {
        let writes = app.snapshot(query.at.as_deref(), query.certified)?.register(&key)?;
        let missing = || Problem::new(problem::NOT_FOUND, "no such register");
        let (first, others) = writes.split_first().ok_or_else(missing)?;
        let tag = tag(&writes);
        let tagged = [(header::ETAG, tag_header(&tag))];
        if is_known(&headers, &tag) {
            return Ok((StatusCode::NOT_MODIFIED, tagged).into_response());
        }
        let (write, conflicts) = (WriteOut::from(first), others.len());
        let others = others.iter().take(MAX_PAGE).map(WriteOut::from).collect();
        Ok((tagged, Json(RegisterOut { key, write, conflicts, others })).into_response())
    })
    .await
}

/// Writes a register with the bytes of the body, of any length up to a limit. `If-Match` and
/// `If-None-Match: *` make it depend on what stands there; `Idempotency-Key` makes it happen once.
#[utoipa::path(put, path = "/v1/registers/{key}/value", operation_id = "put_register", tag = "writing",
    params(WaitQuery, ("key" = String, Path), ("If-Match" = Option<String>, Header),
        ("If-None-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "It is written.", body = CommittedOut, headers(("ETag" = String), ("Location" = String))),
        (status = 202, description = "It is written, and was not certified in time.", body = CommittedOut, headers(("Location" = String))),
        (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<WaitQuery>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let condition = Condition::of(&headers)?;
    let wait = query.check(&app)?;
    let write = Write::new(caller, headers, format!("PUT register {key}")).tagged().waiting(wait);
    put_value(app, write, key, condition, body).await
}

/// Deletes a register. The conditions are those of writing it.
#[utoipa::path(delete, path = "/v1/registers/{key}", operation_id = "delete_register", tag = "writing",
    params(WaitQuery, ("key" = String, Path), ("If-Match" = Option<String>, Header),
        ("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 201, description = "It is written.", body = CommittedOut, headers(("Location" = String))),
        (status = 202, description = "It is written, and was not certified in time.", body = CommittedOut, headers(("Location" = String))),
        (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
    ))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<WaitQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let condition = Condition::of(&headers)?;
    let wait = query.check(&app)?;
    let write = Write::new(caller, headers, format!("DELETE register {key}")).waiting(wait);
    write
        .commit(&app, axum::body::Bytes::new(), 1, move |app, transaction| {
            if app.ledger.snapshot()?.register(&key)?.is_empty() {
                return Err(Problem::new(problem::NOT_FOUND, "no such register"));
            }
            condition.require(app, transaction, &key)?;
            transaction.del(&key)?;
            Ok(())
        })
        .await
}
