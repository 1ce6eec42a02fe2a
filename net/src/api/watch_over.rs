//! For those who watch over a node: whether it lives, whether it is ready, and how it does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::checkpoints::CertificationOut;
use super::metrics;
use super::problem::{Answer, Problem};

/// Whether something is so.
#[derive(Serialize, ToSchema)]
pub struct HealthOut {
    /// `ok`.
    status: &'static str,
}

const OK: Json<HealthOut> = Json(HealthOut { status: "ok" });

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", tag = "node", security(()), responses(
    (status = 200, description = "What was asked for.", body = HealthOut),
))]
pub async fn live() -> Json<HealthOut> {
    OK
}

/// Whether the store takes writes.
#[utoipa::path(get, path = "/readyz", tag = "node", security(()), responses(
    (status = 200, description = "What was asked for.", body = HealthOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn ready(State(app): State<Arc<App>>) -> Answer<Json<HealthOut>> {
    app.read(|app| {
        app.ledger.check_writable().map_err(|error| Problem::from(error).not_ready())?;
        Ok(OK)
    })
    .await
}

/// Numbers in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "node", responses(
    (status = 200, description = "What was asked for.", body = String, content_type = "text/plain"),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn metrics(State(app): State<Arc<App>>) -> Answer<Response> {
    let page = app.read(|app| Ok(metrics::render(app)?)).await?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], page).into_response())
}

/// How the store and the node are doing.
#[derive(Serialize, ToSchema)]
pub struct StatusOut {
    /// The ledger's id.
    ledger: String,
    /// This replica's key.
    author: String,
    /// What it holds.
    roles: Vec<&'static str>,
    /// How many events are held.
    events: u64,
    /// How many authors wrote them.
    authors: u64,
    /// How many events no other follows.
    heads: usize,
    /// How many authors have forked.
    forks: usize,
    /// How many events are void.
    void: u64,
    /// How many registers have more than one value.
    conflicts: u64,
    /// How many events wait for others or for their time.
    waiting: usize,
    /// How many bytes they have.
    waiting_bytes: u64,
    /// How many values are not whole here.
    missing_values: u64,
    /// How many values were pruned here.
    pruned_values: u64,
    /// The height of the checkpoint up to which operations may have been pruned here; null where none
    /// have.
    pruned_to: Option<u64>,
    /// The height of the checkpoint that the store starts from; null where it has all events.
    shallow: Option<u64>,
    /// Whether the store looks like a copy of another.
    copied: bool,
    /// What the store takes up on the disk, in bytes.
    disk_bytes: u64,
    /// The node, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeOut>,
}

/// How the node is doing.
#[derive(Serialize, ToSchema)]
struct NodeOut {
    /// For how long it runs, in seconds.
    up: u64,
    /// Peers that are there.
    connected: usize,
    /// Peers in all.
    peers: usize,
    /// Events that came from peers and were admitted.
    events_in: u64,
    /// Events that were sent to peers.
    events_out: u64,
    /// Where certification stands.
    certification: CertificationOut,
}

/// How the store and the node are doing.
#[utoipa::path(get, path = "/v1/status", tag = "node", responses(
    (status = 200, description = "What was asked for.", body = StatusOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn status(State(app): State<Arc<App>>) -> Answer<Json<StatusOut>> {
    app.read(|app| {
        let status = app.ledger.status()?;
        let node = app.node.as_ref().map(|view| view()).map(|node| NodeOut {
            up: node.up.as_secs(),
            connected: node
                .peers
                .iter()
                .filter(|peer| matches!(peer.state, crate::node::PeerState::Connected { .. }))
                .count(),
            peers: node.peers.len(),
            events_in: node.events_in,
            events_out: node.events_out,
            certification: CertificationOut::from(&node.certification),
        });
        Ok(Json(StatusOut {
            ledger: status.ledger.to_string(),
            author: status.author.to_string(),
            roles: status.roles,
            events: status.events,
            authors: status.authors,
            heads: status.heads.len(),
            forks: status.forks.len(),
            void: status.void,
            conflicts: status.conflicts,
            waiting: status.waiting.len(),
            waiting_bytes: status.waiting_bytes,
            missing_values: status.missing_values,
            pruned_values: status.pruned_values,
            pruned_to: status.pruned_to.map(|height| height.0),
            shallow: status.shallow.as_ref().map(|shallow| shallow.height.0),
            copied: status.copied,
            disk_bytes: status.disk_bytes,
            node,
        }))
    })
    .await
}
