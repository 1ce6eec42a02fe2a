//! Writing: conditions, idempotency, rates, and what comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quipu_store::{Committed, Transaction};
use serde::Deserialize;
use utoipa::ToSchema;

use super::app::{App, panicked};
use super::body::{BodyReader, Incoming};
use super::caller::{BodyLen, Caller, Written};
use super::condition::Condition;
use super::idempotency::Claim;
use super::input::{Params, Part, Payload};
use super::problem::{self, Answer, Problem};
use super::registers::tag_header;
use super::shown::CommittedOut;
use super::waiting::{Wait, WaitQuery};
use crate::operation;

/// Values up to this length are read before anything else is done.
const SHORT: usize = 1 << 20;

/// A request to write.
pub struct Write {
    caller: Caller,
    headers: HeaderMap,
    /// The method and what it is about.
    what: String,
    manner: Manner,
}

/// What the answer is like.
#[derive(Clone, Copy)]
struct Manner {
    tagged: bool,
    wait: Wait,
}

/// What a request has come to.
struct Done {
    committed: Committed,
    /// Length of its body, in bytes.
    len: u64,
    is_repeat: bool,
}

impl Write {
    /// A request by a caller.
    pub const fn new(caller: Caller, headers: HeaderMap, what: String) -> Self {
        let manner = Manner { tagged: false, wait: Wait::NO };
        Self { caller, headers, what, manner }
    }

    /// The answer carries the tag of the register that was written.
    pub const fn tagged(mut self) -> Self {
        self.manner.tagged = true;
        self
    }

    /// The answer comes when it is certified, if that is waited for.
    pub const fn waiting(mut self, wait: Wait) -> Self {
        self.manner.wait = wait;
        self
    }

    /// Commits what `fill` puts into a transaction, once for an idempotency key. `body` is the body of
    /// the request.
    pub async fn commit(
        self,
        app: &Arc<App>,
        body: Bytes,
        operations: usize,
        fill: impl FnOnce(&App, &mut Transaction<'_>) -> Answer<()> + Send + 'static,
    ) -> Answer<Response> {
        let manner = self.manner;
        let done = app.work(move |app| {
            let claim = self.claim(app)?;
            let mut hasher = self.hasher();
            hasher.update(&body);
            let (hash, len) = (hasher.finalize(), body.len() as u64);
            if let Some(earlier) = known(claim.as_ref(), &hash)? {
                return Ok(Done { committed: earlier, len, is_repeat: true });
            }
            app.rates.take_operations(&self.caller.token, operations)?;
            app.rates.take_bytes(&self.caller.token, len)?;
            let mut transaction = app.ledger.transaction();
            fill(app, &mut transaction)?;
            self.finish(app, transaction, claim.as_ref(), &hash, len)
        });
        Ok(manner.answer(app, done.await?).await)
    }

    /// Commits a value that goes on beyond what has been read of it.
    fn commit_long(
        &self,
        app: &App,
        reader: &mut BodyReader,
        key: &str,
        condition: &Condition,
    ) -> Answer<Done> {
        let claim = self.claim(app)?;
        if claim.as_ref().is_some_and(Claim::is_known) {
            reader.drain().map_err(quipu_store::WriteError::Content)?;
            let (hash, len) = reader.finish();
            let earlier = known(claim.as_ref(), &hash)?;
            let earlier = earlier.ok_or_else(|| Problem::new(problem::OTHER_REQUEST, ""))?;
            return Ok(Done { committed: earlier, len, is_repeat: true });
        }
        app.rates.take_operations(&self.caller.token, 1)?;
        let mut transaction = app.ledger.transaction();
        condition.require(app, &mut transaction, key)?;
        transaction.put_from(key, &mut *reader)?;
        let (hash, len) = reader.finish();
        app.rates.take_bytes(&self.caller.token, len)?;
        self.finish(app, transaction, claim.as_ref(), &hash, len)
    }

    fn finish(
        &self,
        app: &App,
        mut transaction: Transaction<'_>,
        claim: Option<&Claim>,
        hash: &blake3::Hash,
        len: u64,
    ) -> Answer<Done> {
        if let Some(claim) = claim {
            claim.note(&mut transaction, hash)?;
        }
        let operations = transaction.len() as u64;
        let committed = transaction.commit()?;
        if let Some(claim) = claim {
            claim.committed();
        }
        app.metrics.events.fetch_add(1, Ordering::Relaxed);
        app.metrics.operations.fetch_add(operations, Ordering::Relaxed);
        Ok(Done { committed, len, is_repeat: false })
    }

    fn claim(&self, app: &App) -> Answer<Option<Claim>> {
        app.remembered.claim(&app.ledger, &self.caller.token, &self.headers)
    }

    /// Hashes what the request asks for, but its body.
    fn hasher(&self) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        let conditions = [header::IF_MATCH, header::IF_NONE_MATCH]
            .map(|name| self.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default());
        for part in [self.what.as_bytes(), conditions[0], conditions[1]] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher
    }
}

/// What is said of an event that has been written, once it is certified if that is waited for.
pub async fn answer(app: &Arc<App>, committed: &Committed, wait: Wait) -> Response {
    let certified = wait.until_final(app, committed.event).await;
    let out = CommittedOut::new(committed, certified);
    let event = out.event.clone();
    let location = HeaderValue::from_str(&format!("/v1/events/{event}"));
    let in_time = !wait.is_some() || certified.is_some();
    let status = if in_time { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(out)).into_response();
    location.into_iter().for_each(|location| {
        response.headers_mut().insert(header::LOCATION, location);
    });
    response.extensions_mut().insert(Written(event));
    response
}

impl Manner {
    async fn answer(self, app: &Arc<App>, done: Done) -> Response {
        let Done { committed, len, is_repeat } = done;
        let mut response = answer(app, &committed, self.wait).await;
        let headers = response.headers_mut();
        if self.tagged {
            headers.insert(header::ETAG, tag_header(&format!("\"{}\"", committed.event)));
        }
        if is_repeat {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        response.extensions_mut().insert(BodyLen(len));
        response
    }
}

fn known(claim: Option<&Claim>, hash: &blake3::Hash) -> Answer<Option<Committed>> {
    claim.map_or(Ok(None), |claim| claim.earlier(hash))
}

/// Writes a register with the body of a request.
pub async fn put_value(
    app: Arc<App>,
    write: Write,
    key: String,
    condition: Condition,
    body: Body,
) -> Answer<Response> {
    let limits = app.limits;
    let mut incoming = Incoming::new(body, limits.value_bytes, limits.idle_timeout);
    let mut first = app.bodies.gather();
    while let Some(piece) = incoming.next().await? {
        first.push(&piece)?;
        if first.len() > SHORT {
            return put_long(&app, write, key, condition, first.finish(), incoming).await;
        }
    }
    let body = first.finish();
    let value = body.clone();
    write
        .commit(&app, body, 1, move |app, transaction| {
            condition.require(app, transaction, &key)?;
            transaction.put(&key, &value)?;
            Ok(())
        })
        .await
}

async fn put_long(
    app: &Arc<App>,
    write: Write,
    key: String,
    condition: Condition,
    first: Bytes,
    rest: Incoming,
) -> Answer<Response> {
    let place = app.uploads.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::for_now(problem::BUSY, "too many long values", 1))?;
    let (pieces, mut reader) = BodyReader::new(first, write.hasher());
    let (writer, manner) = (app.clone(), write.manner);
    let writing = tokio::task::spawn_blocking(move || {
        let written = write.commit_long(&writer, &mut reader, &key, &condition);
        drop(place);
        written
    });
    rest.pump(pieces).await;
    let done = writing.await.unwrap_or_else(|error| Err(panicked(&error)))?;
    Ok(manner.answer(app, done).await)
}

/// A change of a counter.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CounterIn {
    /// How much is added; not 0.
    by: i64,
}

/// Adds to a counter.
#[utoipa::path(post, path = "/v1/counters/{key}", operation_id = "add_to_counter", tag = "writing", request_body = CounterIn,
    params(WaitQuery, ("key" = String, Path), ("Idempotency-Key" = Option<String>, Header)), responses(
    (status = 201, description = "It is written.", body = CommittedOut, headers(("Location" = String))),
    (status = 202, description = "It is written, and was not certified in time.", body = CommittedOut, headers(("Location" = String))),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn counter(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<WaitQuery>,
    headers: HeaderMap,
    Payload { content, bytes }: Payload<CounterIn>,
) -> Answer<Response> {
    let wait = query.check(&app)?;
    let write = Write::new(caller, headers, format!("POST counter {key}")).waiting(wait);
    write
        .commit(&app, bytes, 1, move |_, transaction| {
            transaction.inc(&key, content.by)?;
            Ok(())
        })
        .await
}

/// A change of a set, in one event.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetIn {
    /// Members that are put in.
    #[serde(default)]
    add: Vec<operation::Bytes>,
    /// Members that are taken out.
    #[serde(default)]
    rem: Vec<operation::Bytes>,
}

/// Puts members into a set, and takes members out.
#[utoipa::path(post, path = "/v1/sets/{key}", operation_id = "change_set", tag = "writing", request_body = SetIn,
    params(WaitQuery, ("key" = String, Path), ("Idempotency-Key" = Option<String>, Header)), responses(
    (status = 201, description = "It is written.", body = CommittedOut, headers(("Location" = String))),
    (status = 202, description = "It is written, and was not certified in time.", body = CommittedOut, headers(("Location" = String))),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn set(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<WaitQuery>,
    headers: HeaderMap,
    Payload { content, bytes }: Payload<SetIn>,
) -> Answer<Response> {
    let wait = query.check(&app)?;
    let write = Write::new(caller, headers, format!("POST set {key}")).waiting(wait);
    let operations = content.add.len() + content.rem.len();
    write
        .commit(&app, bytes, operations, move |_, transaction| {
            for member in &content.rem {
                transaction.rem(&key, &member.decode()?)?;
            }
            for member in &content.add {
                transaction.add(&key, &member.decode()?)?;
            }
            Ok(())
        })
        .await
}

/// Values to be added to a list.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListIn {
    /// The values, in order.
    append: Vec<operation::Bytes>,
}

/// Adds values to the end of a list, in one event.
#[utoipa::path(post, path = "/v1/lists/{key}", operation_id = "append_to_list", tag = "writing", request_body = ListIn,
    params(WaitQuery, ("key" = String, Path), ("Idempotency-Key" = Option<String>, Header)), responses(
    (status = 201, description = "It is written.", body = CommittedOut, headers(("Location" = String))),
    (status = 202, description = "It is written, and was not certified in time.", body = CommittedOut, headers(("Location" = String))),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<WaitQuery>,
    headers: HeaderMap,
    Payload { content, bytes }: Payload<ListIn>,
) -> Answer<Response> {
    let wait = query.check(&app)?;
    let write = Write::new(caller, headers, format!("POST list {key}")).waiting(wait);
    let operations = content.append.len();
    write
        .commit(&app, bytes, operations, move |_, transaction| {
            for value in &content.append {
                transaction.append(&key, &value.decode()?)?;
            }
            Ok(())
        })
        .await
}
