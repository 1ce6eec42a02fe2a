//! What requests ask for: queries, paths, bodies in JSON.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use quipu_merge::{AuthorKey, EventId};
use serde::de::DeserializeOwned;
use std::error::Error;
use std::sync::Arc;

use super::app::App;
use super::limits::{MAX_PAGE, PAGE};
use super::problem::{Answer, Problem};

/// The query of a request.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Answer<Self> {
        let query = Query::<T>::from_request_parts(parts, app).await;
        query.map(|Query(query)| Self(query)).map_err(|error| misread("query", &error))
    }
}

/// A part of the path.
pub struct Part<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Part<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Answer<Self> {
        let part = Path::<T>::from_request_parts(parts, app).await;
        part.map(|Path(part)| Self(part)).map_err(|error| misread("path", &error))
    }
}

/// What is wrong with a part of the request, without what the library says around it.
fn misread(part: &str, error: &dyn Error) -> Problem {
    let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    Problem::bad(format!("the {part}: {why}"))
}

/// A body in JSON, with its bytes.
pub struct Payload<T> {
    /// What it says.
    pub content: T,
    /// What it is. As long as these are there, room in memory is taken for both.
    pub bytes: axum::body::Bytes,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Payload<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Answer<Self> {
        let limits = &app.limits;
        let (body, idle) = (request.into_body(), limits.idle_timeout);
        let bytes = app.bodies.read_all(body, limits.json_bytes, idle).await?;
        let content = serde_json::from_slice(&bytes);
        let content = content.map_err(|error| Problem::bad(format!("the body: {error}")))?;
        Ok(Self { content, bytes })
    }
}

/// How long a page is to be.
pub fn page(limit: Option<usize>) -> Answer<usize> {
    match limit.unwrap_or(PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        _ => Err(Problem::bad(format!("a page has 1 to {MAX_PAGE} entries"))),
    }
}

/// The id of an event.
pub fn event(text: &str) -> Answer<EventId> {
    text.parse().map_err(|_| Problem::bad(format!("{text:?} is no id of an event")))
}

/// The key of an author.
pub fn author(text: &str) -> Answer<AuthorKey> {
    text.parse().map_err(|_| Problem::bad(format!("{text:?} is no key of an author")))
}
