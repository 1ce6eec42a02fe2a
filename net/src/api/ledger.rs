//! The ledger as a whole, and cuts of it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::input::{Params, author, page};
use super::limits::MAX_PAGE;
use super::problem::{Answer, Problem};

/// The ledger.
#[derive(Serialize, ToSchema)]
pub struct LedgerOut {
    /// Its id.
    id: String,
    /// Its name, for people.
    name: String,
    /// Who may write: `open` or `members`.
    policy: &'static str,
    /// What becomes of forks: `keep` or `exclude`.
    forks: &'static str,
    /// This replica's key.
    author: String,
    /// How many events are held.
    events: u64,
    /// How many authors wrote them.
    authors: usize,
    /// How many events no other follows.
    head_count: usize,
    /// Those events, up to a thousand.
    heads: Vec<String>,
}

/// The ledger.
#[utoipa::path(get, path = "/v1/ledger", tag = "ledger", responses(
    (status = 200, description = "What was asked for.", body = LedgerOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn ledger(State(app): State<Arc<App>>) -> Answer<Json<LedgerOut>> {
    app.read(|app| {
        let (snapshot, genesis) = (app.ledger.snapshot()?, app.ledger.genesis());
        let heads = snapshot.heads()?;
        Ok(Json(LedgerOut {
            id: app.ledger.id().to_string(),
            name: genesis.name,
            policy: genesis.policy.word(),
            forks: genesis.forks.word(),
            author: app.ledger.author().to_string(),
            events: snapshot.len()?,
            authors: snapshot.version()?.len(),
            head_count: heads.len(),
            heads: heads.iter().take(MAX_PAGE).map(ToString::to_string).collect(),
        }))
    })
    .await
}

/// A cut to be found.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CutQuery {
    /// A time in RFC 3339, ids of events joined by `+`, a clock as in `alice:12,bob:7`, or
    /// `checkpoint:7`; everything where it is left out. A `+` in a query is written as `%2B`.
    at: Option<String>,
    /// Only what is certified; instead of `at`.
    #[serde(default, rename = "final")]
    certified: bool,
}

/// A cut.
#[derive(Serialize, ToSchema)]
pub struct CutOut {
    /// How many events it holds.
    events: u64,
    /// How many of them no other of it follows.
    head_count: usize,
    /// Those, up to a thousand.
    heads: Vec<String>,
    /// The cut as an expression that stays the same, where its heads are few enough.
    at: Option<String>,
}

/// What an expression for a cut stands for.
#[utoipa::path(get, path = "/v1/cuts", tag = "ledger", params(CutQuery), responses(
    (status = 200, description = "What was asked for.", body = CutOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn cut(
    State(app): State<Arc<App>>,
    Params(query): Params<CutQuery>,
) -> Answer<Json<CutOut>> {
    /// So many ids make up an address that is not too long.
    const FEW: usize = 32;
    app.read(move |app| {
        let snapshot = app.snapshot(query.at.as_deref(), query.certified)?;
        let all = snapshot.heads()?;
        let heads: Vec<_> = all.iter().take(MAX_PAGE).map(ToString::to_string).collect();
        let at = (all.len() <= FEW).then(|| heads.join("+"));
        Ok(Json(CutOut { events: snapshot.len()?, head_count: all.len(), heads, at }))
    })
    .await
}

/// A page of something by author.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuthorsQuery {
    /// A cut, as for `/v1/cuts`.
    at: Option<String>,
    /// Goes on after this author.
    after: Option<String>,
    /// How many; 100 unless given, up to 1000.
    limit: Option<usize>,
    /// Only what is certified; instead of `at`.
    #[serde(default, rename = "final")]
    certified: bool,
}

/// An author.
#[derive(Serialize, ToSchema)]
pub struct AuthorOut {
    /// The author's key.
    author: String,
    /// The local name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The largest position; 0 for one that has written nothing.
    seq: u64,
    /// What the author holds.
    roles: Vec<&'static str>,
}

/// A page of authors.
#[derive(Serialize, ToSchema)]
pub struct AuthorsOut {
    /// Ascending by key.
    authors: Vec<AuthorOut>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// Authors of a cut, and those who hold roles in it.
#[utoipa::path(get, path = "/v1/authors", tag = "ledger", params(AuthorsQuery), responses(
    (status = 200, description = "What was asked for.", body = AuthorsOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn authors(
    State(app): State<Arc<App>>,
    Params(query): Params<AuthorsQuery>,
) -> Answer<Json<AuthorsOut>> {
    let limit = page(query.limit)?;
    let after = query.after.as_deref().map(author).transpose()?;
    app.read(move |app| {
        let snapshot = app.snapshot(query.at.as_deref(), query.certified)?;
        let (mut roles, names) = (snapshot.roles()?, snapshot.names()?);
        let mut known = snapshot.version()?;
        roles.keys().for_each(|author| {
            known.entry(*author).or_insert(0);
        });
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = known.range((from, Bound::Unbounded)).take(limit + 1);
        let mut authors: Vec<_> = page
            .map(|(author, seq)| AuthorOut {
                author: author.to_string(),
                name: names.get(author).cloned(),
                seq: *seq,
                roles: roles.remove(author).unwrap_or_default(),
            })
            .collect();
        let more = authors.len() > limit;
        authors.truncate(limit);
        let next = authors.last().filter(|_| more).map(|last| last.author.clone());
        Ok(Json(AuthorsOut { authors, next }))
    })
    .await
}

/// A page of forks.
#[derive(Serialize, ToSchema)]
pub struct ForksOut {
    /// The lowest position that two events of an author share, by author.
    forks: BTreeMap<String, u64>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// Authors that have forked.
#[utoipa::path(get, path = "/v1/forks", tag = "ledger", params(AuthorsQuery), responses(
    (status = 200, description = "What was asked for.", body = ForksOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn forks(
    State(app): State<Arc<App>>,
    Params(query): Params<AuthorsQuery>,
) -> Answer<Json<ForksOut>> {
    let limit = page(query.limit)?;
    let after = query.after.as_deref().map(author).transpose()?;
    app.read(move |app| {
        let forks = app.snapshot(query.at.as_deref(), query.certified)?.forks()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = forks.range((from, Bound::Unbounded));
        let page = rest.by_ref().take(limit);
        let forks: BTreeMap<_, _> = page.map(|(author, seq)| (author.to_string(), *seq)).collect();
        let next = forks.keys().next_back().cloned().filter(|_| rest.next().is_some());
        Ok(Json(ForksOut { forks, next }))
    })
    .await
}
