//! Answers that are not what was asked for: problem details as RFC 9457 has them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quipu_store::{
    CutError, IdentityError, LongError, ReadError, Snapshot, StorageError, Value, WriteError,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::operation::{NoBase64, OperationError};
use crate::watch::WatchError;

/// Why a request was not done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status.
    status: u16,
    /// A word for programs, which stays the same.
    code: &'static str,
    /// What happens with this code, for people.
    title: &'static str,
    /// What happened now, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    /// After how many seconds it may go better.
    #[serde(skip)]
    retry_after: Option<u64>,
}

/// A status, a word for programs, and what it means for people.
type Kind = (StatusCode, &'static str, &'static str);

macro_rules! kinds {
    ($($name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        $(pub const $name: Kind = (StatusCode::$status, $code, $title);)*
    };
}

kinds! {
    BAD_REQUEST = BAD_REQUEST, "bad_request", "the request cannot be read";
    BAD_CUT = BAD_REQUEST, "bad_cut", "no such cut";
    BAD_CURSOR = BAD_REQUEST, "bad_cursor", "this is no cursor of this ledger";
    UNAUTHENTICATED = UNAUTHORIZED, "unauthenticated", "a valid token is needed";
    FORBIDDEN = FORBIDDEN, "forbidden", "the token's role does not allow this";
    NOT_FOUND = NOT_FOUND, "not_found", "there is no such thing";
    NOT_HERE = NOT_FOUND, "not_here", "this has not come to this replica";
    NOTHING_CERTIFIED = NOT_FOUND, "nothing_certified", "nothing is certified here yet";
    NEVER_CERTIFIED = NOT_FOUND, "never_certified", "nothing in this ledger is ever certified";
    NOT_COSIGNED = NOT_FOUND, "not_cosigned", "the cosignatures of what is certified have not come";
    METHOD = METHOD_NOT_ALLOWED, "method_not_allowed", "this cannot be done there";
    SLOW = REQUEST_TIMEOUT, "request_too_slow", "the request did not come in time";
    BUSY_KEY = CONFLICT, "idempotency_key_in_use", "a request with this key is under way";
    GONE = GONE, "gone", "the value is gone for good";
    PRUNED = GONE, "pruned", "this was pruned here; another replica may have it";
    CURSOR_EXPIRED = GONE, "cursor_expired", "the cursor is too old";
    NEVER_FINAL = CONFLICT, "never_final", "nothing is certified here";
    PRECONDITION = PRECONDITION_FAILED, "precondition_failed", "the register is not as required";
    TOO_LARGE = PAYLOAD_TOO_LARGE, "too_large", "the request is too large";
    RANGE = RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "the value has no such bytes";
    REFUSED = UNPROCESSABLE_ENTITY, "refused", "the operation breaks a rule of the ledger";
    OTHER_REQUEST = UNPROCESSABLE_ENTITY, "idempotency_key_reused",
        "the key was used for another request";
    TOO_MANY = TOO_MANY_REQUESTS, "too_many_requests", "too many requests";
    QUOTA = TOO_MANY_REQUESTS, "quota_exceeded", "the quota of this author is used up";
    TOO_MANY_KEYS = TOO_MANY_REQUESTS, "too_many_idempotency_keys",
        "too many idempotency keys of this token are remembered";
    INTERNAL = INTERNAL_SERVER_ERROR, "internal", "this node failed";
    BUSY = SERVICE_UNAVAILABLE, "busy", "the node has too much to do";
    NO_AUDIT = SERVICE_UNAVAILABLE, "audit_unavailable", "the audit log cannot be written";
    LOCKED = SERVICE_UNAVAILABLE, "key_locked", "the replica's key is not at hand";
    CANNOT_WRITE = SERVICE_UNAVAILABLE, "not_writable", "the store takes no writes";
    NO_ROOM = INSUFFICIENT_STORAGE, "no_room", "the disk is full";
}

/// What may go wrong on the way to an answer.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of this kind.
    pub fn new((status, code, title): Kind, detail: impl Into<String>) -> Self {
        let status = status.as_u16();
        Self { status, code, title, detail: detail.into(), retry_after: None }
    }

    /// Something of the caller that cannot be read.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(BAD_REQUEST, detail)
    }

    /// One that goes away by itself.
    pub fn for_now(kind: Kind, detail: impl Into<String>, seconds: u64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..Self::new(kind, detail) }
    }

    /// An error of the node itself: what exactly is for its log.
    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, "a request failed");
        Self::new(INTERNAL, "")
    }

    /// Why a value cannot be had.
    pub fn unavailable(value: &Value) -> Self {
        match value {
            Value::Erased => Self::new(GONE, "it has been erased"),
            Value::Pruned => Self::new(PRUNED, ""),
            Value::Unreadable => Self::new(GONE, "it is not what the format says"),
            _ => Self::new(NOT_HERE, ""),
        }
    }

    /// That nothing is certified: not yet, or never.
    pub fn uncertified(snapshot: &Snapshot<'_>) -> Self {
        if snapshot.next_validators().is_empty() {
            return Self::new(NEVER_CERTIFIED, "the ledger has no validators");
        }
        Self::new(NOTHING_CERTIFIED, "")
    }

    /// The same problem, as an answer to whether the node is ready.
    pub fn not_ready(self) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE.as_u16(), ..self }
    }

    /// The word for programs.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// What happened, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::NoRoom { .. } => Self::new(NO_ROOM, "reading goes on"),
            StorageError::Poisoned(_) => {
                tracing::error!(%error, "the store takes no writes");
                Self::new(CANNOT_WRITE, "the store must be opened again")
            }
            _ => Self::internal(&error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => error.into(),
            ReadError::NoSuchEvent(_) => Self::new(NOT_FOUND, error.to_string()),
            ReadError::Cut(error) => error.into(),
            ReadError::Pruned(_) => Self::new(PRUNED, error.to_string()),
            ReadError::BelowStart(_) | ReadError::VoidUnknown { .. } => {
                Self::new(NOT_HERE, error.to_string())
            }
            other => Self::internal(&other),
        }
    }
}

impl From<CutError> for Problem {
    fn from(error: CutError) -> Self {
        Self::new(BAD_CUT, error.to_string())
    }
}

impl From<LongError> for Problem {
    fn from(error: LongError) -> Self {
        match error {
            LongError::Storage(error) => error.into(),
            LongError::Malformed(_) => Self::unavailable(&Value::Unreadable),
            other => Self::internal(&other),
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let text = error.to_string();
        match error {
            WriteError::Storage(error) => error.into(),
            WriteError::Condition { .. } => Self::new(PRECONDITION, text),
            WriteError::NoSuchEvent(_) => Self::new(NOT_FOUND, text),
            WriteError::Identity(error) => error.into(),
            WriteError::Content(error) => content(&error),
            WriteError::KeyChanged => Self::for_now(BUSY, text, 1),
            _ => Self::new(REFUSED, text),
        }
    }
}

impl From<NoBase64> for Problem {
    fn from(error: NoBase64) -> Self {
        Self::bad(error.to_string())
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Bytes(error) => error.into(),
            OperationError::Write(error) => error.into(),
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Storage(error) => error.into(),
            IdentityError::PassphraseNeeded | IdentityError::WrongPassphrase => {
                Self::new(LOCKED, "it is encrypted: start the node with its passphrase")
            }
            other => {
                tracing::error!(error = %other, "the replica's key cannot be read");
                Self::new(LOCKED, "")
            }
        }
    }
}

impl From<WatchError> for Problem {
    fn from(error: WatchError) -> Self {
        let text = error.to_string();
        match error {
            WatchError::Cursor => Self::new(BAD_CURSOR, text),
            WatchError::Expired => Self::new(CURSOR_EXPIRED, text),
            WatchError::Read(error) => {
                let begins = match error {
                    ReadError::Pruned(height) | ReadError::BelowStart(height) => Some(height),
                    _ => None,
                };
                let mut problem = Self::from(error);
                if let Some(height) = begins {
                    let from = format!("; `from=checkpoint:{height}` follows from there on");
                    problem.detail.push_str(&from);
                }
                problem
            }
            other => Self::internal(&other),
        }
    }
}

/// Why a body could not be read to its end.
fn content(error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::FileTooLarge => Problem::new(TOO_LARGE, error.to_string()),
        std::io::ErrorKind::TimedOut => Problem::new(SLOW, error.to_string()),
        _ => Problem::bad(error.to_string()),
    }
}
