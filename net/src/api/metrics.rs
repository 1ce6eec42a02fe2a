//! Numbers about the node, as Prometheus reads them (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quipu_proto::CertifyState;
use quipu_store::{DatabaseStats, ReadError, Status};

use super::app::App;
use crate::node::{CertificationStatus, NodeStatus, PeerState, TIME_BOUNDS};

/// Upper bounds of the buckets of latencies, in seconds.
const BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// For how long numbers are told again that take some reading.
const FRESH: Duration = Duration::from_secs(5);

/// What is counted of requests.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Answered, u64>>,
    latencies: Mutex<BTreeMap<String, Latencies>>,
    /// Failed authentications.
    pub unauthenticated: AtomicU64,
    /// Requests that were too many.
    pub limited: AtomicU64,
    /// Connections that were too many.
    pub refused: AtomicU64,
    /// Handshakes of TLS that failed.
    pub handshakes: AtomicU64,
    /// Events written by requests.
    pub events: AtomicU64,
    /// Operations in them.
    pub operations: AtomicU64,
    /// Messages sent in streams of events.
    pub streamed: AtomicU64,
    store: Mutex<Option<(Instant, StoreNumbers)>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Answered {
    method: String,
    route: String,
    status: u16,
}

#[derive(Default)]
struct Latencies {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

/// What is read from the store.
#[derive(Clone)]
struct StoreNumbers {
    status: Status,
    database: DatabaseStats,
}

impl Metrics {
    /// Counts a request that was answered. There are as many routes as the API has.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let answered = Answered { method: method.to_owned(), route: route.to_owned(), status };
        *lock(&self.requests).entry(answered).or_default() += 1;
        let mut latencies = lock(&self.latencies);
        let latency = latencies.entry(route.to_owned()).or_default();
        let seconds = took.as_secs_f64();
        for (bucket, bound) in latency.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        latency.count += 1;
        latency.seconds += seconds;
    }

    fn store_numbers(&self, app: &App) -> Result<StoreNumbers, ReadError> {
        let mut known = lock(&self.store);
        if let Some((at, numbers)) = &*known
            && at.elapsed() < FRESH
        {
            return Ok(numbers.clone());
        }
        let (status, database) = (app.ledger.status()?, app.ledger.database_stats()?);
        let numbers = StoreNumbers { status, database };
        *known = Some((Instant::now(), numbers.clone()));
        Ok(numbers)
    }
}

/// All numbers.
pub fn render(app: &App) -> Result<String, ReadError> {
    let mut page = Page(String::new());
    let numbers = app.metrics.store_numbers(app)?;
    store(&mut page, &numbers.status);
    database(&mut page, &numbers.database);
    requests(&mut page, app);
    if let Some(view) = &app.node {
        let status = view();
        node(&mut page, &status);
        certification(&mut page, &status.certification);
    }
    Ok(page.0)
}

fn store(page: &mut Page, status: &Status) {
    page.gauge("quipu_events", "Events held.", status.events);
    page.gauge("quipu_authors", "Authors of events held.", status.authors);
    page.gauge("quipu_heads", "Events that no other follows.", status.heads.len());
    page.gauge("quipu_forks", "Authors that have forked.", status.forks.len());
    page.gauge("quipu_void_events", "Events that are void.", status.void);
    page.gauge("quipu_conflicts", "Registers with more than one value.", status.conflicts);
    page.gauge("quipu_pending_events", "Events that wait.", status.waiting.len());
    page.gauge("quipu_pending_bytes", "Bytes of events that wait.", status.waiting_bytes);
    page.gauge("quipu_missing_values", "Values that are not whole here.", status.missing_values);
    page.gauge("quipu_pruned_values", "Values that were pruned here.", status.pruned_values);
    page.gauge("quipu_store_bytes", "What the store takes up on the disk.", status.disk_bytes);
    let copied = "Whether the store looks like a copy of another.";
    page.gauge("quipu_store_copied", copied, u8::from(status.copied));
}

fn database(page: &mut Page, stats: &DatabaseStats) {
    let gauges = [
        ("keys", "Keys, estimated.", stats.keys),
        ("live_bytes", "Bytes of live data, estimated.", stats.live_bytes),
        ("tables", "Table files.", stats.tables),
        ("table_bytes", "Bytes of table files.", stats.table_bytes),
        ("level0_tables", "Table files in level 0.", stats.level0_tables),
        ("memtable_bytes", "Memory for what is not in table files.", stats.memtable_bytes),
        ("table_reader_bytes", "Memory for indexes and filters.", stats.table_reader_bytes),
        ("cache_bytes", "Bytes of the block cache in use.", stats.cache_bytes),
        ("cache_pinned_bytes", "Bytes of it that are in use now.", stats.cache_pinned_bytes),
        ("pending_compaction_bytes", "Bytes to compact.", stats.pending_compaction_bytes),
        ("running_compactions", "Compactions under way.", stats.running_compactions),
        ("running_flushes", "Flushes under way.", stats.running_flushes),
        ("snapshots", "Snapshots that keep old data.", stats.snapshots),
        ("writes_stopped", "Whether writes are held up.", u64::from(stats.writes_stopped)),
    ];
    for (name, help, value) in gauges {
        page.gauge(&format!("quipu_rocksdb_{name}"), help, value);
    }
    let errors = "Errors in the background.";
    page.counter("quipu_rocksdb_background_errors_total", errors, stats.background_errors);
    if let Some(free) = stats.free_bytes {
        page.gauge("quipu_disk_free_bytes", "Bytes free on the file system.", free);
    }
}

fn requests(page: &mut Page, app: &App) {
    let metrics = &app.metrics;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    page.head("quipu_http_requests_total", "Requests by what they came to.", "counter");
    for (answered, count) in lock(&metrics.requests).iter() {
        let status = answered.status.to_string();
        let labels =
            [("method", answered.method.as_str()), ("route", &answered.route), ("status", &status)];
        page.sample("quipu_http_requests_total", &labels, count);
    }
    let name = "quipu_http_request_seconds";
    page.head(name, "How long requests took until their answers began.", "histogram");
    for (route, latency) in lock(&metrics.latencies).iter() {
        for (count, bound) in latency.buckets.iter().zip(BOUNDS) {
            let labels = [("route", route.as_str()), ("le", &bound.to_string())];
            page.sample(&format!("{name}_bucket"), &labels, count);
        }
        let labels = [("route", route.as_str()), ("le", "+Inf")];
        page.sample(&format!("{name}_bucket"), &labels, latency.count);
        page.sample(&format!("{name}_sum"), &[("route", route)], latency.seconds);
        page.sample(&format!("{name}_count"), &[("route", route)], latency.count);
    }
    let counters = [
        ("unauthenticated", "Failed authentications.", &metrics.unauthenticated),
        ("limited", "Requests that were too many.", &metrics.limited),
        ("refused_connections", "Connections that were too many.", &metrics.refused),
        ("failed_handshakes", "Handshakes of TLS that failed.", &metrics.handshakes),
        ("events_written", "Events written by requests.", &metrics.events),
        ("operations_written", "Operations written by requests.", &metrics.operations),
        ("events_streamed", "Events sent in streams.", &metrics.streamed),
    ];
    for (name, help, counter) in counters {
        page.counter(&format!("quipu_api_{name}_total"), help, read(counter));
    }
    let streams = app.limits.streams - app.streams.available_permits().min(app.limits.streams);
    page.gauge("quipu_api_streams", "Streams of events that are open.", streams);
}

fn node(page: &mut Page, status: &NodeStatus) {
    page.counter("quipu_events_in_total", "Events admitted from peers.", status.events_in);
    page.counter("quipu_events_out_total", "Events sent to peers.", status.events_out);
    let help = "Events that came faster than their authors' quota.";
    page.counter("quipu_deferred_events_total", help, status.deferred);
    let help = "Events that wait until their authors' quota allows them.";
    page.gauge("quipu_deferred_pending_events", help, status.deferred_waiting);
    page.counter("quipu_peer_refusals_total", "Connections refused.", status.refused);
    page.gauge("quipu_lacking_values", "Missing values that are wanted.", status.lacking);
    page.gauge("quipu_node_up_seconds", "For how long it runs.", status.up.as_secs_f64());
    if let Some(filling) = &status.filling {
        let help = "Events before the checkpoint of the start that have come.";
        page.gauge("quipu_history_events", help, filling.events);
        let help = "Events before the checkpoint of the start.";
        page.gauge("quipu_history_wanted_events", help, filling.total);
    }
    let name = "quipu_misbehaviour_total";
    page.head(name, "What peers did that honest ones do not.", "counter");
    for (kind, count) in &status.misbehaviour {
        page.sample(name, &[("kind", kind)], count);
    }
    let keys: Vec<_> = status.peers.iter().map(|peer| peer.key.to_string()).collect();
    let peers = || keys.iter().map(String::as_str).zip(&status.peers);
    let mut each = |name, help, kind, of: &dyn Fn(&crate::node::PeerStatus) -> Option<f64>| {
        page.head(name, help, kind);
        for (key, peer) in peers() {
            if let Some(value) = of(peer) {
                page.sample(name, &[("peer", key)], value);
            }
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    {
        let counter = "counter";
        each("quipu_sync_received_bytes_total", "Bytes from a peer.", counter, &|peer| {
            Some(peer.received_bytes as f64)
        });
        each("quipu_sync_sent_bytes_total", "Bytes to a peer.", counter, &|peer| {
            Some(peer.sent_bytes as f64)
        });
        each("quipu_peer_events_in_total", "Events admitted from a peer.", counter, &|peer| {
            Some(peer.events_in as f64)
        });
        each("quipu_peer_events_out_total", "Events sent to a peer.", counter, &|peer| {
            Some(peer.events_out as f64)
        });
        let help = "How far a peer's clock is ahead.";
        each("quipu_peer_clock_skew_seconds", help, "gauge", &|peer| match &peer.state {
            PeerState::Connected { clock_ahead, .. } => Some(*clock_ahead as f64 / 1e6),
            _ => None,
        });
    }
    let help = "For how long a peer has held other events.";
    each("quipu_peer_lag_seconds", help, "gauge", &|peer| match &peer.state {
        PeerState::Connected { lag, .. } => Some(lag.as_secs_f64()),
        _ => None,
    });
    let help = "How long a question and its answer take.";
    each("quipu_peer_round_trip_seconds", help, "gauge", &|peer| match &peer.state {
        PeerState::Connected { round_trip, .. } => Some(round_trip.as_secs_f64()),
        _ => None,
    });
    each("quipu_peer_connected", "Whether a peer is there.", "gauge", &|peer| {
        Some(if matches!(peer.state, PeerState::Connected { .. }) { 1.0 } else { 0.0 })
    });
}

fn certification(page: &mut Page, status: &CertificationStatus) {
    let height = status.certified.map_or(0, |height| height.0);
    page.gauge("quipu_certified_height", "The last checkpoint that counts.", height);
    page.gauge("quipu_certified_events", "Events that are certified.", status.events);
    page.gauge("quipu_certify_height", "The height that is worked on.", status.height);
    let round = status.round.map_or(0, |(round, _)| round);
    page.gauge("quipu_certify_round", "The round in it.", round);
    page.gauge("quipu_validators", "Validators of the height.", status.validators.len());
    page.gauge("quipu_validators_missing", "Validators that are missing.", status.missing.len());
    let quorum = matches!(status.state, CertifyState::NoQuorum(..));
    page.gauge("quipu_certify_no_quorum", "Whether too few are there.", u8::from(quorum));
    let stopped = matches!(status.state, CertifyState::Stopped(_)) || status.broken.is_some();
    page.gauge("quipu_certify_stopped", "Whether it has stopped here.", u8::from(stopped));
    page.gauge("quipu_certify_evidence", "Evidence against validators.", status.evidence);
    page.gauge("quipu_certify_log_bytes", "Bytes of what is signed.", status.log_bytes);
    page.counter("quipu_checkpoints_total", "Checkpoints that came to count.", status.checkpoints);
    let name = "quipu_certify_seconds";
    page.head(name, "How long checkpoints took from the beginning of their heights.", "histogram");
    for (count, bound) in status.times.buckets.iter().zip(TIME_BOUNDS) {
        page.sample(&format!("{name}_bucket"), &[("le", &bound.to_string())], count);
    }
    page.sample(&format!("{name}_bucket"), &[("le", "+Inf")], status.times.count);
    page.sample(&format!("{name}_sum"), &[], status.times.seconds);
    page.sample(&format!("{name}_count"), &[], status.times.count);
}

/// A page of samples.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.sample(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page(String::new());
        page.sample("m", &[("a", "x\"y\\z\n"), ("b", "")], 1);
        assert_eq!(page.0, "m{a=\"x\\\"y\\\\z\\n\",b=\"\"} 1\n");
    }
}
