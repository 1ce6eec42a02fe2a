//! What requests share.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use quipu_merge::{CutExpression, Policy};
use quipu_store::{Ledger, ReadError, Snapshot};
use tokio::sync::Semaphore;

use super::ApiError;
use super::audit::Audit;
use super::body::Room;
use super::idempotency::Remembered;
use super::limits::ApiLimits;
use super::metrics::Metrics;
use super::problem::{self, Answer, Problem};
use super::rate::Buckets;
use super::tokens::Tokens;
use crate::node::{Fetcher, Finality, NodeStatus};

/// Tells how the node is doing.
pub type NodeView = Arc<dyn Fn() -> NodeStatus + Send + Sync>;

/// What requests share.
pub struct App {
    pub ledger: Arc<Ledger>,
    pub node: Option<NodeView>,
    /// Has what is read and not here, if there is a node.
    pub fetcher: OnceLock<Fetcher>,
    /// Tells what is certified, if there is a node.
    pub finality: OnceLock<Finality>,
    pub tokens: Arc<Tokens>,
    pub limits: ApiLimits,
    pub audit: Audit,
    pub metrics: Metrics,
    pub remembered: Remembered,
    /// The number of the request that comes next.
    pub requests: AtomicU64,
    /// Whether everybody may read the certified log.
    pub public_tlog: AtomicBool,
    pub rates: Rates,
    /// For bodies of requests that are held in memory.
    pub bodies: Room,
    pub uploads: Arc<Semaphore>,
    pub streams: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

/// How often callers may do what.
pub struct Rates {
    pub requests: Buckets<String>,
    pub operations: Buckets<String>,
    pub failures: Buckets<std::net::IpAddr>,
    /// Of those who need no token, by network.
    pub strangers: Buckets<std::net::IpAddr>,
    /// In a ledger that is open to all.
    pub quota_operations: Buckets<String>,
    pub quota_bytes: Buckets<String>,
    is_open: bool,
}

impl App {
    pub fn new(
        ledger: Arc<Ledger>,
        node: Option<NodeView>,
        tokens: Arc<Tokens>,
        limits: ApiLimits,
    ) -> Result<Self, ApiError> {
        let audit = Audit::open(ledger.dir(), limits.audit_bytes).map_err(ApiError::Audit)?;
        let remembered = Remembered::load(&ledger, limits.idempotency_keys)?;
        let rates = Rates::new(&limits, ledger.genesis().policy == Policy::Open);
        Ok(Self {
            node,
            fetcher: OnceLock::new(),
            finality: OnceLock::new(),
            tokens,
            audit,
            remembered,
            rates,
            metrics: Metrics::default(),
            requests: AtomicU64::new(1),
            bodies: Room::new(limits.held_bytes),
            public_tlog: AtomicBool::new(false),
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            streams: Arc::new(Semaphore::new(limits.streams)),
            workers: Arc::new(Semaphore::new(limits.workers)),
            ledger,
            limits,
        })
    }

    /// Does something with the store, off the threads that serve connections.
    pub async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Self) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let turn = self.workers.clone().acquire_owned();
        let turn = tokio::time::timeout(self.limits.read_timeout, turn).await;
        let Ok(Ok(turn)) = turn else { return Err(Problem::for_now(problem::BUSY, "", 1)) };
        let app = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = act(&app);
            drop(turn);
            done
        });
        done.await.unwrap_or_else(|error| Err(panicked(&error)))
    }

    /// Reads from the store. What takes too long is not waited for.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Self) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let reading = tokio::time::timeout(self.limits.read_timeout, self.work(act));
        reading
            .await
            .unwrap_or_else(|_| Err(Problem::for_now(problem::BUSY, "it took too long", 1)))
    }

    /// The ledger now, or over the cut that an expression names, or over what is certified.
    pub fn snapshot(&self, at: Option<&str>, is_final: bool) -> Answer<Snapshot<'_>> {
        let snapshot = self.ledger.snapshot()?;
        if is_final && at.is_some() {
            return Err(Problem::bad("`final` and `at` name different cuts"));
        }
        if is_final {
            let why = Problem::uncertified(&snapshot);
            return snapshot.at_final().ok_or(why);
        }
        let Some(expression) = at else { return Ok(snapshot) };
        let expression = expression.parse::<CutExpression>();
        let expression =
            expression.map_err(|error| Problem::new(problem::BAD_CUT, error.to_string()))?;
        let cut = snapshot.find_cut(&expression)?;
        snapshot.at(&cut).map_err(|error| match error {
            ReadError::NoSuchEvent(_) => Problem::new(problem::BAD_CUT, error.to_string()),
            other => other.into(),
        })
    }
}

/// A thread has panicked.
pub fn panicked(error: &tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "a request panicked");
    Problem::new(problem::INTERNAL, "")
}

impl Rates {
    fn new(limits: &ApiLimits, is_open: bool) -> Self {
        let two_seconds = |limit: u32| Buckets::new(2 * u64::from(limit), Duration::from_secs(2));
        let minute = Duration::from_secs(60);
        Self {
            requests: two_seconds(limits.requests_per_second),
            operations: two_seconds(limits.operations_per_second),
            strangers: Buckets::new(
                2 * u64::from(limits.requests_per_second),
                Duration::from_secs(2),
            ),
            failures: Buckets::new(limits.failures_per_minute.into(), minute),
            quota_operations: Buckets::new(limits.quota_operations, minute),
            quota_bytes: Buckets::new(limits.quota_bytes, minute),
            is_open,
        }
    }

    /// Takes operations that are to be written by a token.
    pub fn take_operations(&self, token: &str, operations: usize) -> Answer<()> {
        let (token, now) = (token.to_owned(), Instant::now());
        let operations = operations as u64;
        let too_many = |kind| move |wait| Problem::for_now(kind, "operations", wait);
        self.operations.take(&token, operations, now).map_err(too_many(problem::TOO_MANY))?;
        if self.is_open {
            let taken = self.quota_operations.take(&token, operations, now);
            taken.map_err(too_many(problem::QUOTA))?;
        }
        Ok(())
    }

    /// Takes bytes that are to be written by a token.
    pub fn take_bytes(&self, token: &str, bytes: u64) -> Answer<()> {
        if !self.is_open {
            return Ok(());
        }
        let taken = self.quota_bytes.take(&token.to_owned(), bytes, Instant::now());
        taken.map_err(|wait| Problem::for_now(problem::QUOTA, "bytes", wait))
    }
}
