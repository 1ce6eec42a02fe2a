//! Who is asking: authentication, roles, rates, and what the audit log tells of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::app::{App, panicked};
use super::audit::{Entry, Phase};
use super::problem::{self, Answer, Problem};
use super::rate::network_of;
use super::tokens::Role;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// TLS.
    Remote(SocketAddr),
    /// The Unix socket, which only the store's owner can open.
    Local,
}

/// Who is asking.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the token.
    pub token: String,
    name: String,
    role: Role,
}

impl Caller {
    const fn nobody() -> Self {
        Self { token: String::new(), name: String::new(), role: Role::Read }
    }
}

/// The event that a request has written: for the audit log.
#[derive(Clone, Debug)]
pub struct Written(pub String);

/// How many bytes of the request's body came.
#[derive(Clone, Copy, Debug)]
pub struct BodyLen(pub u64);

impl Origin {
    fn network(self) -> Option<IpAddr> {
        match self {
            Self::Remote(address) => Some(network_of(address.ip())),
            Self::Local => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Remote(address) => address.ip().to_canonical().to_string(),
            Self::Local => "socket".to_owned(),
        }
    }
}

/// Counts what requests come to.
pub async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let response = next.run(request).await;
    // Others than these are one: callers can make up any number of them.
    let known = [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE];
    let word = if known.contains(&method) { method.as_str() } else { "other" };
    let status = response.status().as_u16();
    app.metrics.answered(word, &route, status, start.elapsed());
    if status == 429 {
        app.metrics.limited.fetch_add(1, Ordering::Relaxed);
    }
    tracing::debug!(%method, route, status, took = ?start.elapsed(), "answered");
    response
}

/// What a router's requests need.
#[derive(Clone)]
pub struct Guard {
    pub app: Arc<App>,
    pub role: Role,
}

/// Lets requests through whose token has a role, and notes them.
pub async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let Guard { app, role } = guard;
    // Where nobody says where a request comes from, nobody is taken for the admin.
    let Some(origin) = request.extensions().get::<Origin>().copied() else {
        return Problem::new(problem::INTERNAL, "").into_response();
    };
    let about = About {
        number: app.requests.fetch_add(1, Ordering::Relaxed),
        address: origin.text(),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
    };
    let caller = match authenticate(&app, origin, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) if problem.code() == "unauthenticated" => {
            return ended(&app, &about, &Caller::nobody(), problem.into_response()).await;
        }
        Err(problem) => return problem.into_response(),
    };
    let allowed = allow(&app, &caller, role);
    if let Err(problem) = allowed {
        let response = problem.into_response();
        return ended(&app, &about, &caller, response).await;
    }
    request.extensions_mut().insert(caller.clone());
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let response = next.run(request).await;
        return ended(&app, &about, &caller, response).await;
    }
    // What has begun to write goes on, and is noted, when the caller does not wait for it.
    let writing = tokio::spawn(async move {
        let begun = about.entry(&app, &caller, Phase::Begin, Outcome::default()).await;
        match begun {
            Ok(()) => ended(&app, &about, &caller, next.run(request).await).await,
            Err(problem) => problem.into_response(),
        }
    });
    writing.await.unwrap_or_else(|error| panicked(&error).into_response())
}

/// Lets requests through that need no token, as often as those of one token.
pub async fn unguarded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let network = request.extensions().get::<Origin>().and_then(|origin| origin.network());
    let taken = network.map(|network| app.rates.strangers.take(&network, 1, Instant::now()));
    match taken {
        Some(Err(wait)) => Problem::for_now(problem::TOO_MANY, "requests", wait).into_response(),
        _ => next.run(request).await,
    }
}

/// Notes what a request has come to.
async fn ended(app: &Arc<App>, about: &About, caller: &Caller, response: Response) -> Response {
    let outcome = Outcome::of(&response);
    let noted = about.entry(app, caller, Phase::End, outcome).await;
    match noted {
        // What was written stays so, and must not look otherwise.
        Err(problem) if response.extensions().get::<Written>().is_none() => problem.into_response(),
        _ => response,
    }
}

async fn authenticate(app: &Arc<App>, origin: Origin, headers: &HeaderMap) -> Answer<Caller> {
    let Some(network) = origin.network() else {
        let (token, name) = ("socket".to_owned(), "socket".to_owned());
        return Ok(Caller { token, name, role: Role::Admin });
    };
    let too_many = |wait| Problem::for_now(problem::TOO_MANY, "failed authentications", wait);
    if let Some(text) = bearer(headers) {
        // The file of the tokens may have changed: looking is work for the disk.
        let known = app.work(move |app| {
            app.tokens.check(&text).map_err(|error| {
                tracing::error!(%error, "the tokens cannot be read");
                Problem::new(problem::INTERNAL, "")
            })
        });
        if let Some(info) = known.await? {
            return Ok(Caller { token: info.id, name: info.name, role: info.role });
        }
    }
    app.metrics.unauthenticated.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(address = %network, "a request without a valid token");
    app.rates.failures.take(&network, 1, Instant::now()).map_err(too_many)?;
    Err(Problem::new(problem::UNAUTHENTICATED, ""))
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn allow(app: &App, caller: &Caller, role: Role) -> Answer<()> {
    let taken = app.rates.requests.take(&caller.token, 1, Instant::now());
    taken.map_err(|wait| Problem::for_now(problem::TOO_MANY, "requests", wait))?;
    if caller.role < role {
        return Err(Problem::new(problem::FORBIDDEN, ""));
    }
    Ok(())
}

/// What the audit log tells of a request.
struct About {
    number: u64,
    address: String,
    method: String,
    path: String,
}

/// What the audit log tells of an answer.
#[derive(Default)]
struct Outcome {
    status: Option<u16>,
    event: Option<Written>,
    bytes: Option<BodyLen>,
}

impl Outcome {
    fn of(response: &Response) -> Self {
        let told = response.extensions();
        let status = Some(response.status().as_u16());
        Self { status, event: told.get().cloned(), bytes: told.get().copied() }
    }
}

impl About {
    async fn entry(
        &self,
        app: &Arc<App>,
        caller: &Caller,
        phase: Phase,
        Outcome { status, event, bytes }: Outcome,
    ) -> Answer<()> {
        let (number, caller) = (self.number, caller.clone());
        let (address, method, path) =
            (self.address.clone(), self.method.clone(), self.path.clone());
        app.work(move |app| {
            let entry = Entry {
                time: Timestamp::now(),
                request: number,
                phase,
                token: Some(caller.token.as_str()).filter(|token| !token.is_empty()),
                name: Some(caller.name.as_str()).filter(|name| !name.is_empty()),
                address: &address,
                method: &method,
                path: &path,
                status,
                event: event.as_ref().map(|event| event.0.as_str()),
                bytes: bytes.map(|bytes| bytes.0),
            };
            app.audit.add(&entry).map_err(|error| {
                tracing::error!(%error, "the audit log cannot be written");
                Problem::new(problem::NO_AUDIT, "")
            })
        })
        .await
    }
}
