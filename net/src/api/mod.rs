//! The HTTP API of a node: JSON over TLS with bearer tokens, or over a Unix socket without.

#![expect(unused_qualifications, reason = "it is found in what the macros of utoipa make")]

mod app;
mod audit;
mod body;
mod caller;
mod checkpoints;
mod condition;
mod control;
mod error;
mod fetch;
mod history;
mod idempotency;
mod input;
mod keys;
mod ledger;
mod limits;
mod metrics;
mod notes;
mod problem;
mod rate;
mod registers;
mod routes;
mod serve;
mod shown;
mod stream;
mod tlog;
mod tls;
mod tokens;
mod transactions;
mod value;
mod waiting;
mod watch_over;
mod write;

pub use app::NodeView;
pub use error::ApiError;
pub use limits::ApiLimits;
pub use serve::{Api, ApiConfig, Listen, RunningApi};
pub use tokens::{NewToken, Role, TokenError, TokenInfo, Tokens};
