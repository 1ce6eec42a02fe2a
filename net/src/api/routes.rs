//! Where everything is, and the description of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::caller::{Guard, count, guard, unguarded};
use super::problem::{self, Problem};
use super::tokens::Role;
use super::{
    checkpoints, control, history, keys, ledger, notes, registers, stream, tlog, transactions,
    value, watch_over, write,
};

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quipu",
        description = "The HTTP API of a Quipu node. Errors are problem details (RFC 9457) with a \
                       `code` for programs. Keys in paths are percent-encoded, `/` as `%2F`."
    ),
    modifiers(&Bearer),
    security(("token" = [])),
    tags(
        (name = "ledger", description = "The ledger as a whole, and cuts of it"),
        (name = "keys", description = "Reading what keys hold"),
        (name = "writing", description = "Writing keys"),
        (name = "history", description = "Events"),
        (name = "checkpoints", description = "What is certified, and by whom"),
        (name = "admin", description = "Peers, tokens, control operations"),
        (name = "node", description = "For those who watch over a node"),
    )
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// All routes, for any number of connections.
pub fn router(app: &Arc<App>) -> Router {
    let guarded = |routes: OpenApiRouter<Arc<App>>, role| {
        let state = Guard { app: app.clone(), role };
        routes.route_layer(from_fn_with_state(state, guard))
    };
    let (router, description) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(open())
        .merge(match app.public_tlog.load(Ordering::Relaxed) {
            true => tlog().route_layer(from_fn_with_state(app.clone(), unguarded)),
            false => guarded(tlog(), Role::Read),
        })
        .merge(guarded(reading(), Role::Read))
        .merge(guarded(writing(), Role::Write))
        .merge(guarded(administering(), Role::Admin))
        .split_for_parts();
    // All of it is plain data, which always has a form in JSON.
    let description = axum::body::Bytes::from(description.to_json().unwrap_or_default());
    router
        .route(
            "/openapi.json",
            axum::routing::get(move || {
                std::future::ready(([(header::CONTENT_TYPE, "application/json")], description))
            }),
        )
        .fallback(async || Problem::new(problem::NOT_FOUND, "no such path"))
        .method_not_allowed_fallback(async || Problem::new(problem::METHOD, ""))
        // Bodies have limits of their own.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(harden))
        .layer(from_fn_with_state(app.clone(), count))
        .with_state(app.clone())
}

fn open() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(watch_over::live)).routes(routes!(watch_over::ready))
}

fn reading() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(watch_over::metrics))
        .routes(routes!(watch_over::status))
        .routes(routes!(ledger::ledger))
        .routes(routes!(ledger::cut))
        .routes(routes!(ledger::authors))
        .routes(routes!(ledger::forks))
        .routes(routes!(keys::keys))
        .routes(routes!(keys::conflicts))
        .routes(routes!(keys::counter))
        .routes(routes!(keys::set))
        .routes(routes!(keys::list))
        .routes(routes!(registers::register))
        .routes(routes!(value::value))
        .routes(routes!(value::block))
        .routes(routes!(history::events))
        .routes(routes!(history::event))
        .routes(routes!(stream::stream))
        .routes(routes!(checkpoints::checkpoints))
        .routes(routes!(checkpoints::checkpoint))
        .routes(routes!(notes::note))
        .routes(routes!(checkpoints::validators))
}

fn tlog() -> OpenApiRouter<Arc<App>> {
    // Names of tiles have any number of parts, which a description has no form for.
    OpenApiRouter::new()
        .routes(routes!(notes::latest))
        .route("/tlog/tile/{*path}", axum::routing::get(tlog::tile))
}

fn writing() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(registers::put))
        .routes(routes!(registers::delete))
        .routes(routes!(write::counter))
        .routes(routes!(write::set))
        .routes(routes!(write::list))
        .routes(routes!(transactions::transaction))
}

fn administering() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(control::peers))
        .routes(routes!(control::tokens))
        .routes(routes!(control::revoke_token))
        .routes(routes!(control::control))
}

/// Keeps browsers and caches from making something of answers that they are not.
async fn harden(request: Request, next: axum::middleware::Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ] {
        headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        let value = axum::http::HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}
