//! Several operations as one event.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use quipu_merge::MAX_OPERATIONS;
use quipu_store::{Expected, Transaction};
use serde::Deserialize;
use utoipa::ToSchema;

use super::app::App;
use super::caller::Caller;
use super::input::{Params, Payload, event};
use super::problem::{Answer, Problem};
use super::shown::CommittedOut;
use super::waiting::WaitQuery;
use super::write::Write;
use crate::operation::OperationIn;

/// So many events a condition may name.
const MAX_NAMED: usize = 1024;

/// Operations that become one event, or nothing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransactionIn {
    /// The operations, 1 to 10,000.
    operations: Vec<OperationIn>,
    /// What registers must hold for it.
    #[serde(default)]
    conditions: Vec<ConditionIn>,
}

/// What a register must hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionIn {
    /// The register.
    key: String,
    /// The events whose writes must stand in it; none of them: it must have no value.
    events: Vec<String>,
}

impl ConditionIn {
    fn add_to(&self, transaction: &mut Transaction<'_>) -> Answer<()> {
        if self.events.len() > MAX_NAMED {
            return Err(Problem::bad(format!("a condition names up to {MAX_NAMED} events")));
        }
        let events = self.events.iter().map(|id| event(id)).collect::<Answer<Vec<_>>>()?;
        let expected = if events.is_empty() { Expected::Absent } else { Expected::Writes(events) };
        transaction.require(&self.key, expected)?;
        Ok(())
    }
}

/// Writes several operations as one event, or none of them.
#[utoipa::path(post, path = "/v1/transactions", tag = "writing", request_body = TransactionIn,
    params(WaitQuery, ("Idempotency-Key" = Option<String>, Header)), responses(
    (status = 201, description = "It is written.", body = CommittedOut, headers(("Location" = String))),
    (status = 202, description = "It is written, and was not certified in time.", body = CommittedOut, headers(("Location" = String))),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn transaction(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<WaitQuery>,
    headers: HeaderMap,
    Payload { content, bytes }: Payload<TransactionIn>,
) -> Answer<Response> {
    let operations = content.operations.len();
    if operations > MAX_OPERATIONS || content.conditions.len() > MAX_OPERATIONS {
        let detail = format!("a transaction has up to {MAX_OPERATIONS} operations and conditions");
        return Err(Problem::bad(detail));
    }
    let wait = query.check(&app)?;
    let write = Write::new(caller, headers, "POST transaction".to_owned()).waiting(wait);
    write
        .commit(&app, bytes, operations, move |_, transaction| {
            for operation in &content.operations {
                operation.add_to(transaction)?;
            }
            content.conditions.iter().try_for_each(|condition| condition.add_to(transaction))
        })
        .await
}
