//! Events as they are admitted: server-sent events, with a durable cursor as their ids.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use quipu_merge::{AuthorKey, Height};
use quipu_store::{EventInfo, ReadError, Snapshot};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::app::App;
use super::body::{Pieces, send};
use super::caller::{Caller, Origin};
use super::history::SHOWN;
use super::input::Params;
use super::problem::{self, Answer, Problem};
use super::serve::Stopping;
use super::shown::EventOut;
use crate::watch::{Cursor, Watch};

/// How often it is looked whether the stream is to end.
const LOOK: Duration = Duration::from_millis(250);
/// How often something is sent where nothing happens.
const BEAT: Duration = Duration::from_secs(15);
/// How often it is looked whether the token holds.
const CHECK: Duration = Duration::from_secs(1);
/// How long a caller is to wait before it connects again, in milliseconds.
const RETRY: u32 = 1000;

/// Where a stream begins that does not go on.
#[derive(Clone, Copy)]
enum Start {
    /// With what is admitted from now on.
    Now,
    /// With the first event.
    First,
    /// With what this checkpoint does not hold.
    Checkpoint(Height),
}

impl Start {
    fn parse(text: Option<&str>) -> Answer<Self> {
        match text {
            None | Some("now") => Ok(Self::Now),
            Some("start") => Ok(Self::First),
            Some(text) => {
                let height =
                    text.strip_prefix("checkpoint:").and_then(|height| height.parse().ok());
                let bad = || Problem::bad("`from` is `now`, `start` or `checkpoint:N`");
                height.map(|height| Self::Checkpoint(Height(height))).ok_or_else(bad)
            }
        }
    }
}

/// Which events are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Only those that work on a key that begins with this, and only those operations of them.
    key: Option<String>,
    /// Only those of this author, by key or local name.
    author: Option<String>,
    /// Without a cursor: `now`, unless given; `start`, with the first event; or `checkpoint:7`, with what
    /// that checkpoint does not hold.
    from: Option<String>,
    /// The cursor, for those who cannot send `Last-Event-ID`, which counts more.
    after: Option<String>,
}

/// Events as they are admitted, from a cursor on: the id of a message that came earlier, maybe long ago
/// and from before a restart.
#[utoipa::path(get, path = "/v1/events/stream", tag = "history",
    params(StreamQuery, ("Last-Event-ID" = Option<String>, Header)), responses(
    (status = 200, description = "Messages whose data is an event, as `/v1/events/{id}` has it.",
        body = String, content_type = "text/event-stream"),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn stream(
    State(app): State<Arc<App>>,
    Params(query): Params<StreamQuery>,
    Extension(caller): Extension<Caller>,
    Extension(origin): Extension<Origin>,
    Extension(stopping): Extension<Stopping>,
    headers: HeaderMap,
) -> Answer<Response> {
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?").to_owned());
    let cursor = last.filter(|id| !id.is_empty()).or(query.after);
    let cursor = cursor.map(|text| text.parse::<Cursor>()).transpose()?;
    let from = Start::parse(query.from.as_deref())?;
    let place = app.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::for_now(problem::BUSY, "too many streams", 5))?;
    let started = app.work(move |app| {
        let ledger = app.ledger.clone();
        let author = match query.author {
            Some(name) => Some(ledger.snapshot()?.find_author(&name)?),
            None => None,
        };
        let watch = match (cursor, from) {
            (Some(cursor), _) => Watch::after(ledger, &cursor)?,
            (None, Start::First) => Watch::from_start(ledger)?,
            (None, Start::Checkpoint(height)) => Watch::from_checkpoint(ledger, height)?,
            (None, Start::Now) => Watch::from_now(ledger)?,
        };
        if query.key.is_some() {
            watch.check_operations()?;
        }
        Ok((watch, Wanted { prefix: query.key, author }))
    });
    let (watch, wanted) = started.await?;
    let (pieces, body) = Pieces::new(None);
    let remote = matches!(origin, Origin::Remote(_));
    let token = remote.then_some(caller.token);
    let sender = Sender { app, watch, wanted, token, stopping, pieces };
    tokio::task::spawn_blocking(move || {
        sender.run();
        drop(place);
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((kind, Body::new(body)).into_response())
}

/// Which events are wanted.
struct Wanted {
    prefix: Option<String>,
    author: Option<AuthorKey>,
}

impl Wanted {
    fn has(&self, snapshot: &Snapshot<'_>, event: &EventInfo) -> Result<bool, ReadError> {
        if self.author.is_some_and(|author| author != event.author) {
            return Ok(false);
        }
        let Some(prefix) = &self.prefix else { return Ok(true) };
        // What it worked on was pruned while the stream was open: nobody knows whether it is wanted.
        if event.body.is_none() {
            snapshot.check_history()?;
        }
        let operations = event.operations();
        Ok(operations.iter().any(|operation| operation.key().as_str().starts_with(prefix)))
    }
}

/// Sends a stream.
struct Sender {
    app: Arc<App>,
    watch: Watch,
    wanted: Wanted,
    /// The token that must hold.
    token: Option<String>,
    stopping: Stopping,
    pieces: mpsc::Sender<std::io::Result<Bytes>>,
}

impl Sender {
    fn run(mut self) {
        if let Err(problem) = self.send_all() {
            // The stream ends where it is, and its cursor leads on.
            tracing::warn!(code = problem.code(), detail = problem.detail(), "a stream has failed");
        }
    }

    fn send_all(&mut self) -> Answer<()> {
        let start = format!("retry: {RETRY}\nid: {}\n\n", self.watch.cursor()?);
        if !self.send(start) {
            return Ok(());
        }
        let (mut sent, mut checked, mut passed) = (Instant::now(), Instant::now(), false);
        loop {
            if *self.stopping.0.borrow() || self.pieces.is_closed() {
                return Ok(());
            }
            if checked.elapsed() >= CHECK {
                if !self.may_go_on() {
                    return Ok(());
                }
                checked = Instant::now();
            }
            let message = match self.watch.next(LOOK)? {
                Some(event) => self.message(event.id)?,
                None => None,
            };
            // Events that are not wanted move the cursor on, too.
            passed |= message.is_none();
            let message = match message {
                Some(message) => message,
                None if sent.elapsed() < BEAT => continue,
                None if passed => format!("id: {}\n\n", self.watch.cursor()?),
                None => ":\n\n".to_owned(),
            };
            if !self.send(message) {
                return Ok(());
            }
            (sent, passed) = (Instant::now(), false);
        }
    }

    /// The message on an event that was just seen, where it is wanted.
    fn message(&mut self, id: quipu_merge::EventId) -> Answer<Option<String>> {
        let data = {
            let snapshot = self.app.ledger.snapshot()?;
            let event = snapshot.event(id)?;
            if !self.wanted.has(&snapshot, &event)? {
                return Ok(None);
            }
            let prefix = self.wanted.prefix.as_deref().unwrap_or_default();
            let wanted =
                |operation: &quipu_merge::Operation| operation.key().as_str().starts_with(prefix);
            let shown = EventOut::new(&snapshot, &event, 0, SHOWN, wanted)?;
            serde_json::to_string(&shown).map_err(|error| Problem::bad(error.to_string()))?
        };
        let cursor = self.watch.cursor()?;
        self.app.metrics.streamed.fetch_add(1, Ordering::Relaxed);
        Ok(Some(format!("id: {cursor}\ndata: {data}\n\n")))
    }

    fn send(&self, message: String) -> bool {
        let idle = self.app.limits.idle_timeout;
        Handle::current().block_on(send(&self.pieces, Ok(message.into()), idle))
    }

    fn may_go_on(&self) -> bool {
        self.token.as_ref().is_none_or(|token| self.app.tokens.holds(token).unwrap_or(false))
    }
}
