//! For admins: peers, tokens, and operations on who may write.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use quipu_merge::{Control, MAX_OPERATIONS};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::input::{self, Params, Part, Payload, page};
use super::problem::{self, Answer, Problem};
use super::shown::CommittedOut;
use super::tokens::{TokenError, TokenInfo};
use super::waiting::WaitQuery;
use super::write::answer;
use crate::node::{PeerState, PeerStatus};

/// A page of something that has ids.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Goes on after what `next` of the page before says.
    after: Option<String>,
    /// How many; 100 unless given, up to 1000.
    limit: Option<usize>,
}

/// A page of peers.
#[derive(Serialize, ToSchema)]
pub struct PeersOut {
    /// Ascending by key.
    peers: Vec<PeerOut>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// A peer.
#[derive(Serialize, ToSchema)]
struct PeerOut {
    /// Its key.
    key: String,
    /// Whether somebody asked for it to be kept.
    kept: bool,
    /// Where it may be reached.
    places: Vec<String>,
    /// `connected`, `dialling`, `waiting` or `away`.
    state: &'static str,
    /// From where it is connected.
    address: Option<String>,
    /// For how long it has had other events than this node, in seconds.
    lag: Option<f64>,
    /// The time that a question and its answer take, in seconds.
    round_trip: Option<f64>,
    /// How far its clock is ahead, in microseconds.
    clock_ahead: Option<i64>,
    /// Why it could not be reached.
    why: Option<String>,
    /// Bytes received from it.
    received_bytes: u64,
    /// Bytes sent to it.
    sent_bytes: u64,
    /// Events that came from it.
    events_in: u64,
    /// Events that were sent to it.
    events_out: u64,
}

impl From<&PeerStatus> for PeerOut {
    fn from(peer: &PeerStatus) -> Self {
        let mut out = Self {
            key: peer.key.to_string(),
            kept: peer.kept,
            places: peer.places.iter().map(ToString::to_string).collect(),
            state: "away",
            address: None,
            lag: None,
            round_trip: None,
            clock_ahead: None,
            why: None,
            received_bytes: peer.received_bytes,
            sent_bytes: peer.sent_bytes,
            events_in: peer.events_in,
            events_out: peer.events_out,
        };
        match &peer.state {
            PeerState::Connected { address, lag, round_trip, clock_ahead, .. } => {
                out.state = "connected";
                out.address = Some(address.to_string());
                out.lag = Some(lag.as_secs_f64());
                out.round_trip = Some(round_trip.as_secs_f64());
                out.clock_ahead = Some(*clock_ahead);
            }
            PeerState::Dialling => out.state = "dialling",
            PeerState::Waiting { why, .. } => {
                out.state = "waiting";
                out.why = Some(why.clone());
            }
            PeerState::Away => {}
        }
        out
    }
}

/// The node's peers.
#[utoipa::path(get, path = "/v1/peers", tag = "admin", params(PageQuery), responses(
    (status = 200, description = "What was asked for.", body = PeersOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn peers(
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Answer<Json<PeersOut>> {
    let limit = page(query.limit)?;
    let after = query.after.as_deref().map(input::author).transpose()?;
    app.read(move |app| {
        let peers = app.node.as_ref().map(|view| view().peers).unwrap_or_default();
        let mut rest = peers.iter().filter(|peer| after.is_none_or(|after| peer.key > after));
        let peers: Vec<_> = rest.by_ref().take(limit).map(PeerOut::from).collect();
        let more = rest.next().is_some();
        let next = peers.last().filter(|_| more).map(|last| last.key.clone());
        Ok(Json(PeersOut { peers, next }))
    })
    .await
}

/// A page of tokens.
#[derive(Serialize, ToSchema)]
pub struct TokensOut {
    /// By the time at which they were made.
    tokens: Vec<TokenInfo>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// The tokens, without what proves them.
#[utoipa::path(get, path = "/v1/tokens", tag = "admin", params(PageQuery), responses(
    (status = 200, description = "What was asked for.", body = TokensOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn tokens(
    State(app): State<Arc<App>>,
    Params(query): Params<PageQuery>,
) -> Answer<Json<TokensOut>> {
    let limit = page(query.limit)?;
    app.read(move |app| {
        let mut tokens = app.tokens.list().map_err(failed)?;
        if let Some(after) = &query.after {
            let place = tokens.iter().position(|token| token.id == *after);
            let place = place.ok_or_else(|| Problem::bad("`after` is no token's id"))?;
            tokens.drain(..=place);
        }
        let more = tokens.len() > limit;
        tokens.truncate(limit);
        let next = tokens.last().filter(|_| more).map(|last| last.id.clone());
        Ok(Json(TokensOut { tokens, next }))
    })
    .await
}

/// Ends a token.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "admin", params(("id" = String, Path)),
    responses(
        (status = 204, description = "It holds no more."),
        (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
    ))]
pub async fn revoke_token(
    State(app): State<Arc<App>>,
    Part(id): Part<String>,
) -> Answer<StatusCode> {
    app.work(move |app| match app.tokens.revoke(&id).map_err(failed)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(problem::NOT_FOUND, "no such token")),
    })
    .await
}

fn failed(error: TokenError) -> Problem {
    tracing::error!(%error, "the tokens cannot be read or changed");
    Problem::new(problem::INTERNAL, "")
}

/// Control operations that become one event.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlIn {
    /// The operations.
    operations: Vec<ControlOperation>,
}

/// A control operation.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum ControlOperation {
    /// Gives a role to an author.
    Grant {
        /// The author's key.
        author: String,
        /// `writer`, `admin` or `validator`.
        role: String,
    },
    /// Takes all roles away from an author.
    Revoke {
        /// The author's key.
        author: String,
    },
    /// Erases the values of an event.
    Redact {
        /// The event.
        event: String,
    },
}

impl ControlOperation {
    fn parse(&self) -> Answer<Control> {
        Ok(match self {
            Self::Grant { author, role } => {
                let unknown = |_| Problem::bad(format!("{role:?} is no role"));
                let role = role.parse().map_err(unknown)?;
                Control::Grant { author: input::author(author)?, role }
            }
            Self::Revoke { author } => Control::Revoke { author: input::author(author)? },
            Self::Redact { event } => Control::Redact { event: input::event(event)? },
        })
    }
}

/// Grants and revokes roles, and erases values, as one event. It takes no idempotency key.
#[utoipa::path(post, path = "/v1/control", tag = "admin", params(WaitQuery), request_body = ControlIn, responses(
    (status = 201, description = "It is written, and certified if that was waited for.", body = CommittedOut),
    (status = 202, description = "It is written, and was not certified in time.", body = CommittedOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn control(
    State(app): State<Arc<App>>,
    Params(query): Params<WaitQuery>,
    headers: HeaderMap,
    Payload { content, .. }: Payload<ControlIn>,
) -> Answer<Response> {
    let wait = query.check(&app)?;
    if headers.contains_key("idempotency-key") {
        return Err(Problem::bad("control operations take no idempotency key"));
    }
    if !(1..=MAX_OPERATIONS).contains(&content.operations.len()) {
        return Err(Problem::bad(format!("1 to {MAX_OPERATIONS} operations")));
    }
    let written = app.work(move |app| {
        let operations = content.operations.iter().map(ControlOperation::parse);
        Ok(app.ledger.control(operations.collect::<Answer<_>>()?)?)
    });
    Ok(answer(&app, &written.await?, wait).await)
}
