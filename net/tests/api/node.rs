//! What those see who watch over a node; and the Unix socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use quipu_merge::AuthorKey;
use quipu_net::{
    Api, ApiConfig, ApiLimits, CertificationStatus, Listen, NodeStatus, NodeView, PeerState,
    PeerStatus, Role, Tokens,
};
use quipu_store::{Ledger, NewLedger, Options};
use serde_json::{Value as Json, json};

use crate::client::Server;

fn peer(key: u8, state: PeerState) -> PeerStatus {
    PeerStatus {
        key: AuthorKey([key; 32]),
        kept: true,
        places: vec!["127.0.0.1:7420".parse().unwrap()],
        state,
        received_bytes: 10 * u64::from(key),
        sent_bytes: 20,
        events_in: 3,
        events_out: 4,
    }
}

fn view() -> NodeView {
    let connected = PeerState::Connected {
        since: Duration::from_secs(5),
        address: "127.0.0.1:9".parse().unwrap(),
        inbound: false,
        lag: Duration::from_millis(1500),
        round_trip: Duration::from_millis(20),
        clock_ahead: -2_500_000,
    };
    let waiting =
        PeerState::Waiting { retry_in: Duration::from_secs(1), why: "no \"route\"".to_owned() };
    let status = NodeStatus {
        key: AuthorKey([9; 32]),
        listen: "127.0.0.1:7420".parse().unwrap(),
        up: Duration::from_secs(60),
        peers: vec![peer(1, connected), peer(2, waiting), peer(3, PeerState::Away)],
        events_in: 7,
        events_out: 8,
        misbehaviour: vec![("it \"lied\"\\\n", 2)],
        deferred: 3,
        deferred_waiting: 2,
        refused: 1,
        lacking: 5,
        settled: true,
        left_out: 0,
        filling: None,
        certification: CertificationStatus::none(),
    };
    Arc::new(move || status.clone())
}

/// Reads Prometheus' text format strictly: samples by name and labels, each in a family that was
/// announced with help and type, in one piece.
fn parse(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'));
    let (mut samples, mut families) = (BTreeMap::new(), BTreeMap::<String, String>::new());
    let (mut helped, mut current) = (String::new(), (String::new(), String::new()));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && !families.contains_key(name), "{line}");
            name.clone_into(&mut helped);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind) && name == helped, "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            families.insert(name.to_owned(), kind.to_owned());
            current = (name.to_owned(), kind.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let (family, kind) = &current;
            let known = if kind == "histogram" {
                ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}"))
            } else {
                name == family
            };
            assert!(known, "{line} is not in {family}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                check_labels(labels);
            }
            let earlier = samples.insert(series.to_owned(), value.parse().unwrap());
            assert!(earlier.is_none(), "{series} is there twice");
        }
    }
    samples
}

fn check_labels(text: &str) {
    let mut rest = text.strip_prefix('{').unwrap();
    loop {
        let (name, quoted) = rest.split_once("=\"").unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
        let mut letters = quoted.char_indices();
        let end = loop {
            match letters.next().unwrap() {
                (_, '\\') => assert!(matches!(letters.next(), Some((_, '\\' | '"' | 'n')))),
                (at, '"') => break at,
                _ => {}
            }
        };
        rest = &quoted[end + 1..];
        if rest == "}" {
            return;
        }
        rest = rest.strip_prefix(',').unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_numbers() {
    let server = Server::make(ApiLimits::default(), &NewLedger::default(), Some(view()));
    let client = server.client(Role::Write);
    client.post("/v1/counters/c", &json!({"by": 1})).await.written();
    client.get("/v1/counters/none").await.is_problem(404, "not_found");
    server.client_with(None).get("/v1/ledger").await.is_problem(401, "unauthenticated");
    let reply = client.get("/metrics").await;
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let samples = parse(reply.text());
    let peer = AuthorKey([1; 32]);
    for (series, value) in [
        ("quipu_events", 2.0),
        ("quipu_pending_events", 0.0),
        ("quipu_conflicts", 0.0),
        ("quipu_forks", 0.0),
        ("quipu_events_in_total", 7.0),
        ("quipu_events_out_total", 8.0),
        ("quipu_api_events_written_total", 1.0),
        ("quipu_api_unauthenticated_total", 1.0),
        ("quipu_rocksdb_background_errors_total", 0.0),
        ("quipu_misbehaviour_total{kind=\"it \\\"lied\\\"\\\\\\n\"}", 2.0),
        (&format!("quipu_peer_lag_seconds{{peer=\"{peer}\"}}"), 1.5),
        (&format!("quipu_peer_clock_skew_seconds{{peer=\"{peer}\"}}"), -2.5),
        (&format!("quipu_sync_received_bytes_total{{peer=\"{peer}\"}}"), 10.0),
        (
            "quipu_http_requests_total{method=\"GET\",route=\"/v1/counters/{key}\",status=\"404\"}",
            1.0,
        ),
        ("quipu_http_request_seconds_count{route=\"/v1/counters/{key}\"}", 2.0),
        ("quipu_http_request_seconds_bucket{route=\"/v1/counters/{key}\",le=\"+Inf\"}", 2.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    assert!(samples["quipu_rocksdb_memtable_bytes"] > 0.0);
    assert!(samples["quipu_disk_free_bytes"] > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_paged() {
    let server = Server::make(ApiLimits::default(), &NewLedger::default(), Some(view()));
    let client = server.client(Role::Admin);
    let first = client.get("/v1/peers?limit=2").await.good();
    assert_eq!(first["peers"][0]["state"], "connected");
    assert_eq!(first["peers"][1]["why"], "no \"route\"");
    let next = first["next"].as_str().unwrap();
    let second = client.get(&format!("/v1/peers?limit=2&after={next}")).await.good();
    assert_eq!(
        (second["peers"][0]["state"].as_str(), &second["next"]),
        (Some("away"), &Json::Null)
    );
    let status = client.get("/v1/status").await.good();
    assert_eq!((&status["node"]["peers"], &status["node"]["connected"]), (&json!(3), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_writes_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    Ledger::create(&path, &NewLedger::default()).unwrap();
    // No disk has so much room.
    let ledger = Arc::new(Options::new().min_free(1 << 60).open(&path).unwrap());
    let (get, _running) = over_socket(&dir, ledger);
    let (status, problem) = get("GET", "/readyz", "").await;
    assert_eq!((status, &problem["code"]), (503, &json!("no_room")));
    let (status, problem) = get("PUT", "/v1/registers/k/value", "v").await;
    assert_eq!((status, &problem["code"]), (507, &json!("no_room")));
    assert_eq!(get("GET", "/livez", "").await.0, 200);
    assert_eq!(get("GET", "/v1/ledger", "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_key_is_told_from_a_broken_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let passphrase = quipu_store::Passphrase::new("open sesame".to_owned());
    Options::new().passphrase(passphrase).create(&path, &NewLedger::default()).unwrap();
    let (get, _running) = over_socket(&dir, Arc::new(Ledger::open(&path).unwrap()));
    let (status, problem) = get("PUT", "/v1/registers/k/value", "v").await;
    assert_eq!((status, &problem["code"]), (503, &json!("key_locked")));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_socket_everybody_is_admin() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(dir.path().join("ledger"), &NewLedger::default()).unwrap();
    let (get, running) = over_socket(&dir, Arc::new(ledger));
    assert_eq!(get("PUT", "/v1/registers/k/value", "v").await.0, 201);
    assert_eq!(get("GET", "/v1/tokens", "").await, (200, json!({"tokens": [], "next": null})));
    let log = std::fs::read_to_string(dir.path().join("ledger/audit.log")).unwrap();
    assert!(log.contains("\"address\":\"socket\""));
    running.shutdown().await;
}

/// Serves a ledger over a socket, and gives a way to ask there.
fn over_socket(
    dir: &tempfile::TempDir,
    ledger: Arc<Ledger>,
) -> (impl AsyncFn(&str, &str, &str) -> (u16, Json), quipu_net::RunningApi) {
    let path = dir.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let tokens = Arc::new(Tokens::open(ledger.dir()).unwrap());
    let config = ApiConfig { listen: Listen::Unix(listener), limits: ApiLimits::default() };
    let running = Api::start(ledger, None, tokens, config).unwrap();
    assert_eq!(running.local_addr(), None);
    let ask = async move |method: &str, uri: &str, body: &str| {
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(uri).header("host", "localhost");
        let request = request.body(Full::new(bytes::Bytes::from(body.to_owned()))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    };
    (ask, running)
}
