//! Events.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use quipu_store::LogFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::input::{self, Params, Part, page};
use super::problem::{Answer, Problem};
use super::shown::EventOut;

/// So many operations of each event are shown in a list of events.
pub const SHOWN: usize = 100;
/// So many operations are shown in a list of events together; one event is shown in any case.
const SHOWN_TOGETHER: usize = 2000;

/// In which order events are listed.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// The latest first.
    #[default]
    Desc,
    /// The earliest first.
    Asc,
}

/// A page of events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only those that work on this key.
    key: Option<String>,
    /// Only those of this author, by key or local name.
    author: Option<String>,
    /// Goes on after this event.
    after: Option<String>,
    /// How many; 100 unless given, up to 1000.
    limit: Option<usize>,
    /// `desc`, the latest first, or `asc`.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// A cut, as for `/v1/cuts`.
    at: Option<String>,
    /// Only what is certified; instead of `at`.
    #[serde(default, rename = "final")]
    certified: bool,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub struct EventsOut {
    /// In the total order.
    events: Vec<EventOut>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<String>,
}

/// The history: events in the total order.
#[utoipa::path(get, path = "/v1/events", tag = "history", params(EventsQuery), responses(
    (status = 200, description = "What was asked for.", body = EventsOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn events(
    State(app): State<Arc<App>>,
    Params(query): Params<EventsQuery>,
) -> Answer<Json<EventsOut>> {
    let limit = page(query.limit)?;
    let after = query.after.as_deref().map(input::event).transpose()?;
    app.read(move |app| {
        let snapshot = app.snapshot(query.at.as_deref(), query.certified)?;
        let author = query.author.as_deref().map(|name| snapshot.find_author(name)).transpose()?;
        let ascending = matches!(query.order, Order::Asc);
        let filter = LogFilter { key: query.key, author, ascending, after };
        let (mut events, mut left, mut last, mut more) = (Vec::new(), SHOWN_TOGETHER, None, false);
        for event in snapshot.log(filter)? {
            let event = match event {
                // Which of the others work on the key cannot be told: the next page says so.
                Err(error) if error.is_pruned() && !events.is_empty() => {
                    more = true;
                    break;
                }
                event => event?,
            };
            if events.len() == limit || left == 0 {
                more = true;
                break;
            }
            let shown = EventOut::new(&snapshot, &event, 0, SHOWN.min(left), |_| true)?;
            left = left.saturating_sub(event.operations().len().clamp(1, SHOWN));
            last = Some(event.id.to_string());
            events.push(shown);
        }
        Ok(Json(EventsOut { events, next: last.filter(|_| more) }))
    })
    .await
}

/// Part of the operations of an event.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// From the operation with this index on.
    #[serde(default)]
    from: usize,
    /// How many operations; 100 unless given, up to 1000.
    limit: Option<usize>,
}

/// An event. `next` tells from which index on there are more operations.
#[utoipa::path(get, path = "/v1/events/{id}", tag = "history",
    params(EventQuery, ("id" = String, Path)), responses(
    (status = 200, description = "What was asked for.", body = EventOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn event(
    State(app): State<Arc<App>>,
    Part(id): Part<String>,
    Params(query): Params<EventQuery>,
) -> Answer<Json<EventOut>> {
    let (id, limit) = (input::event(&id)?, page(query.limit)?);
    app.read(move |app| {
        let snapshot = app.ledger.snapshot()?;
        let event = snapshot.event(id)?;
        Ok(Json(EventOut::new(&snapshot, &event, query.from, limit, |_| true)?))
    })
    .await
}
