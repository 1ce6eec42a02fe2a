//! What keys there are, and what counters, sets and lists hold.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use quipu_store::ReadError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::input::{Params, Part, event, page};
use super::limits::MAX_PAGE_BYTES;
use super::problem::{self, Answer, Problem};
use super::shown::ElementOut;
use crate::operation::Bytes;
use crate::shown::{BytesOut, WriteOut};

/// A page of keys.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeysQuery {
    /// What the keys begin with.
    #[serde(default)]
    prefix: String,
    /// Goes on after this key.
    after: Option<String>,
    /// How many; 100 unless given, up to 1000.
    limit: Option<usize>,
    /// A cut, as for `/v1/cuts`.
    at: Option<String>,
    /// Only what is certified; instead of `at`.
    #[serde(default, rename = "final")]
    certified: bool,
}

/// A key.
#[derive(Serialize, ToSchema)]
pub struct KeyOut {
    /// The key.
    key: String,
    /// What it holds: `register`, `counter`, `set`, `list`.
    types: Vec<&'static str>,
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub struct KeysOut {
    /// Ascending.
    keys: Vec<KeyOut>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// Keys, by what they begin with.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(KeysQuery), responses(
    (status = 200, description = "What was asked for.", body = KeysOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn keys(
    State(app): State<Arc<App>>,
    Params(query): Params<KeysQuery>,
) -> Answer<Json<KeysOut>> {
    let limit = page(query.limit)?;
    app.read(move |app| {
        let snapshot = app.snapshot(query.at.as_deref(), query.certified)?;
        let (mut keys, mut more) = (Vec::new(), false);
        snapshot.keys_after(&query.prefix, query.after.as_deref(), |key, kinds| {
            more = keys.len() == limit;
            if !more {
                let types = kinds.iter().map(|kind| kind.word()).collect();
                keys.push(KeyOut { key: key.to_owned(), types });
            }
            !more
        })?;
        let next = keys.last().filter(|_| more).map(|last| last.key.clone());
        Ok(Json(KeysOut { keys, next }))
    })
    .await
}

/// A register with several values.
#[derive(Serialize, ToSchema)]
pub struct ConflictOut {
    /// The register.
    key: String,
    /// How many values it has.
    values: usize,
    /// The first of them, up to ten: the value, then what conflicts with it.
    writes: Vec<WriteOut>,
}

/// A page of conflicts.
#[derive(Serialize, ToSchema)]
pub struct ConflictsOut {
    /// Ascending by key.
    conflicts: Vec<ConflictOut>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// Registers with more than one value.
#[utoipa::path(get, path = "/v1/conflicts", tag = "keys", params(KeysQuery), responses(
    (status = 200, description = "What was asked for.", body = ConflictsOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn conflicts(
    State(app): State<Arc<App>>,
    Params(query): Params<KeysQuery>,
) -> Answer<Json<ConflictsOut>> {
    const SHOWN: usize = 10;
    let limit = page(query.limit)?;
    app.read(move |app| {
        let snapshot = app.snapshot(query.at.as_deref(), query.certified)?;
        let mut keys =
            snapshot.conflicts_after(&query.prefix, query.after.as_deref(), limit + 1)?;
        let more = keys.len() > limit;
        keys.truncate(limit);
        let next = keys.last().filter(|_| more).cloned();
        let conflict = |key: String| {
            let writes = snapshot.register(&key)?;
            let values = writes.len();
            let writes = writes.iter().take(SHOWN).map(WriteOut::from).collect();
            Ok::<_, ReadError>(ConflictOut { key, values, writes })
        };
        let conflicts = keys.into_iter().map(conflict).collect::<Result<_, _>>()?;
        Ok(Json(ConflictsOut { conflicts, next }))
    })
    .await
}

/// When something is to be read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AtQuery {
    /// A cut, as for `/v1/cuts`.
    pub at: Option<String>,
    /// Only what is certified; instead of `at`.
    #[serde(default, rename = "final")]
    pub certified: bool,
}

/// A counter.
#[derive(Serialize, ToSchema)]
pub struct CounterOut {
    /// The key.
    key: String,
    /// The sum, in decimal: it may exceed 64 bits.
    value: String,
}

/// A counter's sum.
#[utoipa::path(get, path = "/v1/counters/{key}", tag = "keys", params(AtQuery, ("key" = String, Path)), responses(
    (status = 200, description = "What was asked for.", body = CounterOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn counter(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Params(query): Params<AtQuery>,
) -> Answer<Json<CounterOut>> {
    app.read(move |app| {
        let sum = app.snapshot(query.at.as_deref(), query.certified)?.counter(&key)?;
        let sum = sum.ok_or_else(|| Problem::new(problem::NOT_FOUND, "no such counter"))?;
        Ok(Json(CounterOut { key, value: sum.to_string() }))
    })
    .await
}

/// A page of what a key holds.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// Goes on after what `next` of the page before says.
    after: Option<String>,
    /// How many; 100 unless given, up to 1000.
    limit: Option<usize>,
    /// A cut, as for `/v1/cuts`.
    at: Option<String>,
    /// Only what is certified; instead of `at`.
    #[serde(default, rename = "final")]
    certified: bool,
}

/// A page of a set.
#[derive(Serialize, ToSchema)]
pub struct SetOut {
    /// The key.
    key: String,
    /// Members, ascending by their bytes.
    #[schema(value_type = Vec<Bytes>)]
    members: Vec<BytesOut>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// A set's members.
#[utoipa::path(get, path = "/v1/sets/{key}", tag = "keys", params(EntriesQuery, ("key" = String, Path)), responses(
    (status = 200, description = "What was asked for.", body = SetOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn set(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Params(query): Params<EntriesQuery>,
) -> Answer<Json<SetOut>> {
    let limit = page(query.limit)?;
    let after = query.after.map(|after| data_encoding::BASE64URL_NOPAD.decode(after.as_bytes()));
    let after = after.transpose().map_err(|_| Problem::bad("`after` is not of a page before"))?;
    app.read(move |app| {
        let snapshot = app.snapshot(query.at.as_deref(), query.certified)?;
        let (mut members, mut more, mut len) = (Vec::<BytesOut>::new(), false, 0);
        let exists = snapshot.set_after(&key, after.as_deref(), |member| {
            more = members.len() == limit || len > MAX_PAGE_BYTES;
            if !more {
                len += member.len();
                members.push(BytesOut(member.to_vec()));
            }
            !more
        })?;
        if !exists && (after.is_none() || !snapshot.set(&key, |_| false)?) {
            return Err(Problem::new(problem::NOT_FOUND, "no such set"));
        }
        let encode = |last: &BytesOut| data_encoding::BASE64URL_NOPAD.encode(&last.0);
        let next = members.last().filter(|_| more).map(encode);
        Ok(Json(SetOut { key, members, next }))
    })
    .await
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct ListOut {
    /// The key.
    key: String,
    /// Values in order.
    values: Vec<ElementOut>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// A list's values.
#[utoipa::path(get, path = "/v1/lists/{key}", tag = "keys", params(EntriesQuery, ("key" = String, Path)), responses(
    (status = 200, description = "What was asked for.", body = ListOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Params(query): Params<EntriesQuery>,
) -> Answer<Json<ListOut>> {
    let limit = page(query.limit)?;
    let parse = |text: String| {
        let (id, slot) = text.split_once(':')?;
        Some((event(id).ok()?, slot.parse::<u16>().ok()?))
    };
    let after = query
        .after
        .map(|text| parse(text).ok_or_else(|| Problem::bad("`after` is not of a page before")));
    let after = after.transpose()?;
    app.read(move |app| {
        let snapshot = app.snapshot(query.at.as_deref(), query.certified)?;
        let (mut values, mut more, mut len) = (Vec::new(), false, 0);
        let mut last = None;
        let exists = snapshot.list_after(&key, after, |element| {
            more = values.len() == limit || len > MAX_PAGE_BYTES;
            if !more {
                if let quipu_store::Value::Bytes(bytes) = &element.value {
                    len += bytes.len();
                }
                last = Some(format!("{}:{}", element.event, element.slot));
                values.push(ElementOut::from(&element));
            }
            !more
        })?;
        if !exists && (after.is_none() || !snapshot.list(&key, |_| false)?) {
            return Err(Problem::new(problem::NOT_FOUND, "no such list"));
        }
        Ok(Json(ListOut { key, values, next: last.filter(|_| more) }))
    })
    .await
}
