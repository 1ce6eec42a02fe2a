//! What callers may take up.

use std::time::Duration;

/// How much, and how fast. Everything that a caller can make large has its limit here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiLimits {
    /// Connections at a time; further ones are closed at once.
    pub connections: usize,
    /// Connections from one address at a time; for IPv6, from one /64.
    pub connections_per_address: usize,
    /// How long a TLS handshake may take, and the head of a request.
    pub head_timeout: Duration,
    /// How long nothing may come of a body, and how long an answer may not be taken.
    pub idle_timeout: Duration,
    /// How long the reading that a request asks for may take.
    pub read_timeout: Duration,
    /// How long requests that are under way are waited for at the end.
    pub shutdown_timeout: Duration,
    /// Bytes of the body of a request in JSON.
    pub json_bytes: usize,
    /// Bytes of bodies that are held in memory at a time: of all requests in JSON, and of each value
    /// that is written the first mebibyte. Who sends more is told to come again.
    pub held_bytes: usize,
    /// Bytes of a value that is written.
    pub value_bytes: u64,
    /// Requests that read or write the store at a time; further ones wait.
    pub workers: usize,
    /// Values beyond a mebibyte that are written at a time.
    pub uploads: usize,
    /// Streams of events at a time.
    pub streams: usize,
    /// Requests a second and token; twice as many at once.
    pub requests_per_second: u32,
    /// Operations written a second and token; twice as many at once.
    pub operations_per_second: u32,
    /// In a ledger that is open to all: operations written a minute and token.
    pub quota_operations: u64,
    /// In a ledger that is open to all: bytes written a minute and token, in bodies of requests.
    pub quota_bytes: u64,
    /// Failed authentications a minute and address; for IPv6, a /64.
    pub failures_per_minute: u32,
    /// Idempotency keys that are remembered for a token.
    pub idempotency_keys: usize,
    /// Bytes of a file of the audit log; five of them are kept.
    pub audit_bytes: u64,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 256,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
            json_bytes: 16 << 20,
            held_bytes: 64 << 20,
            value_bytes: 4 << 30,
            workers: 32,
            uploads: 8,
            streams: 64,
            requests_per_second: 1000,
            operations_per_second: 50_000,
            quota_operations: 60_000,
            quota_bytes: 256 << 20,
            failures_per_minute: 20,
            idempotency_keys: 100_000,
            audit_bytes: 64 << 20,
        }
    }
}

/// Longest page of a list, and of one that is not asked for by length.
pub const MAX_PAGE: usize = 1000;
pub const PAGE: usize = 100;
/// A page ends early where it holds so many bytes.
pub const MAX_PAGE_BYTES: usize = 8 << 20;
