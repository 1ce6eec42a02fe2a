//! What the API shows of what is certified.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use quipu_merge::{
    CheckpointId, CheckpointNote, EventId, Height, LogTree, NoteKey, SignedNote, event_leaf_hash,
};
use quipu_net::{Api, ApiLimits, Listen, RunningApi, Tokens};
use quipu_proto::{Evidence, Id, SignedVote};
use quipu_store::{KeptEvidence, Ledger, MAX_EVIDENCE_AGAINST, NewLedger};
use serde_json::{Value as Json, json};

use super::support::{Stores, all_ready, is_final, put, start, start_all, until};

/// The API of a ledger over a socket.
struct Served {
    path: std::path::PathBuf,
    api: Api,
    running: RunningApi,
}

impl Served {
    fn start(stores: &Stores, ledger: &Arc<Ledger>, node: Option<&quipu_net::Node>) -> Self {
        let path = stores.dir("api.socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let tokens = Arc::new(Tokens::open(ledger.dir()).unwrap());
        let view = node.map(|node| Arc::new(node.watch_status()) as quipu_net::NodeView);
        let api = Api::new(ledger.clone(), view, tokens, ApiLimits::default()).unwrap();
        if let Some(node) = node {
            api.finality_from(node.finality());
        }
        let running = api.serve(Listen::Unix(listener)).unwrap();
        Self { path, api, running }
    }

    async fn ask(&self, method: &str, uri: &str, body: &str) -> (u16, Bytes) {
        let stream = tokio::net::UnixStream::connect(&self.path).await.unwrap();
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(uri).header("host", "localhost");
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    async fn json(&self, method: &str, uri: &str, body: &str) -> (u16, Json) {
        let (status, body) = self.ask(method, uri, body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, uri: &str) -> Json {
        let (status, body) = self.json("GET", uri, "").await;
        assert_eq!(status, 200, "{uri}: {body}");
        body
    }

    async fn stop(self) {
        self.running.shutdown().await;
        self.api.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_certified_is_shown_and_waited_for() {
    let stores = Stores::new();
    let ledger = Arc::new(Ledger::create(stores.dir("0"), &NewLedger::default()).unwrap());
    let node = start(&ledger, &[]).await;
    let served = Served::start(&stores, &ledger, Some(&node));
    let wait = "/v1/registers/k/value?wait=final&timeout=20";
    let (status, written) = served.json("PUT", wait, "one").await;
    assert_eq!(status, 201, "{written}");
    let height = written["checkpoint"].as_u64().unwrap();
    let grant =
        json!({"operations": [{"op": "grant", "role": "writer", "author": "01".repeat(32)}]});
    let granting = "/v1/control?wait=final&timeout=20";
    let (status, granted) = served.json("POST", granting, &grant.to_string()).await;
    assert_eq!((status, granted["checkpoint"].is_u64()), (201, true), "{granted}");
    node.stop().await;
    // Nobody certifies this one.
    assert_eq!(served.json("PUT", "/v1/registers/k/value", "two").await.0, 201);
    assert_eq!(served.get("/v1/registers/k").await["value"], "two");
    assert_eq!(served.get("/v1/registers/k?final=true").await["value"], "one");
    let at = format!("/v1/registers/k?at=checkpoint:{height}");
    assert_eq!(served.get(&at).await["value"], "one");
    assert_eq!(served.json("GET", &format!("{at}&final=true"), "").await.0, 400);
    assert_eq!(served.json("GET", "/v1/cuts?at=checkpoint:99", "").await.0, 400);

    let latest = served.get("/v1/checkpoints/latest").await;
    assert_eq!(served.get(&format!("/v1/checkpoints/{}", latest["height"])).await, latest);
    assert_eq!(latest["signatures"][0]["validator"], json!(ledger.author().to_string()));
    assert_eq!(served.json("GET", "/v1/checkpoints/99", "").await.0, 404);
    let mut pages = served.get("/v1/checkpoints?limit=1").await;
    assert_eq!(pages["checkpoints"][0]["id"], latest["id"]);
    let mut count = 1;
    while let Some(next) = pages["next"].as_u64() {
        pages = served.get(&format!("/v1/checkpoints?limit=1&after={next}")).await;
        count += 1;
    }
    assert_eq!(json!(count), latest["height"]);
    let validators = served.get("/v1/validators").await;
    assert_eq!(
        (&validators["quorum"], &validators["validators"][0]["own"]),
        (&json!(1), &json!(true))
    );
    served.stop().await;
}

/// Two votes of a validator for one round.
fn double_vote(ledger: &Ledger, height: Height) -> Evidence {
    let key = ledger.voting_key().unwrap();
    let [one, other] = [None, Some(Id(CheckpointId([7; 32])))].map(|value| {
        let (round, by) = (2, key.author());
        let vote = SignedVote { height, round, precommit: true, value, by, signature: [0; 64] };
        let signature = key.sign(&vote.vote(ledger.id()).signing_bytes().unwrap()).unwrap();
        SignedVote { signature, ..vote }
    });
    Evidence::votes(ledger.id(), one, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_shown_and_counted() {
    let stores = Stores::new();
    let ledger = Arc::new(Ledger::create(stores.dir("0"), &NewLedger::default()).unwrap());
    let keep = |height: u64| {
        let evidence = double_vote(&ledger, Height(height)).encode();
        ledger.keep_evidence(ledger.author(), &height.to_be_bytes(), &evidence).unwrap()
    };
    assert_eq!(keep(9), KeptEvidence::New);
    let node = start(&ledger, &[]).await;
    let served = Served::start(&stores, &ledger, Some(&node));
    let shown = served.get("/v1/validators").await;
    let me = ledger.author().to_string();
    let piece = json!({"validator": me, "height": 9, "round": 2, "kind": "precommit"});
    assert_eq!(shown["evidence"], json!([piece]));
    let validator = &shown["validators"][0];
    assert_eq!((&validator["evidence"], &validator["evidence_full"]), (&json!(1), &json!(false)));
    assert_eq!(node.status().certification.evidence, 1);
    let (_, metrics) = served.ask("GET", "/metrics", "").await;
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    assert!(metrics.contains("\nquipu_certify_evidence 1\n"), "{metrics}");

    for height in 10..9 + MAX_EVIDENCE_AGAINST as u64 {
        assert_eq!(keep(height), KeptEvidence::New);
    }
    assert_eq!(keep(1000), KeptEvidence::NoRoom);
    let shown = served.get("/v1/validators").await;
    assert_eq!(shown["evidence"].as_array().unwrap().len(), MAX_EVIDENCE_AGAINST);
    assert_eq!(shown["validators"][0]["evidence_full"], true);
    served.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_certified_is_not_written() {
    let stores = Stores::new();
    let new = NewLedger { validators: Some(Vec::new()), ..NewLedger::default() };
    let ledger = Arc::new(Ledger::create(stores.dir("0"), &new).unwrap());
    let node = start(&ledger, &[]).await;
    let served = Served::start(&stores, &ledger, Some(&node));
    let (status, problem) = served.json("POST", "/v1/counters/c?wait=final", r#"{"by": 1}"#).await;
    assert_eq!((status, &problem["code"]), (409, &json!("never_final")));
    assert_eq!(served.json("GET", "/v1/counters/c", "").await.0, 404);
    for bad in ["wait=soon", "timeout=5", "wait=final&timeout=601"] {
        let uri = format!("/v1/counters/c?{bad}");
        assert_eq!(served.json("POST", &uri, r#"{"by": 1}"#).await.0, 400, "{bad}");
    }
    assert_eq!(served.json("GET", "/tlog/checkpoint", "").await.0, 404);
    served.stop().await;
}

/// The certified log, read as its formats say: the note holds by the keys of all validators, and the
/// entries come to its root.
#[tokio::test(flavor = "multi_thread")]
async fn the_certified_log_is_cosigned_and_served() {
    let stores = Stores::new();
    let ledgers = stores.validators(4);
    let nodes = start_all(&ledgers).await;
    all_ready(&nodes, 4).await;
    let event = put(&ledgers[2], "k", b"v");
    is_final(&nodes[0], event).await;
    let lines = || {
        let snapshot = ledgers[0].snapshot().unwrap();
        snapshot.cosignatures(snapshot.certified_height().unwrap()).unwrap().len()
    };
    until(|| lines() == 4).await;
    let served = Served::start(&stores, &ledgers[0], Some(&nodes[0]));
    let (status, note) = served.ask("GET", "/tlog/checkpoint", "").await;
    assert_eq!(status, 200);
    let signed = SignedNote::parse(&note).unwrap();
    let note = CheckpointNote::parse(&signed.text).unwrap();
    let id = ledgers[0].id();
    let keys: Vec<_> = ledgers
        .iter()
        .flat_map(|ledger| [NoteKey::log(id, ledger.author()), NoteKey::cosigner(ledger.author())])
        .collect();
    assert_eq!(signed.verify(&keys).unwrap().len(), 8);

    let (status, entries) =
        served.ask("GET", &format!("/tlog/tile/entries/000.p/{}", note.size), "").await;
    assert_eq!(status, 200);
    let (mut tree, mut rest) = (LogTree::new(), &entries[..]);
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at(u16::from_be_bytes(*len).into());
        let digest: [u8; 32] = entry[entry.len() - 32..].try_into().unwrap();
        tree.append(event_leaf_hash(EventId(digest)));
        rest = after;
    }
    assert_eq!((tree.size(), tree.root()), (note.size, note.root));
    let (status, hashes) =
        served.ask("GET", &format!("/tlog/tile/0/000.p/{}", note.size), "").await;
    assert_eq!((status, hashes.len() as u64), (200, 32 * note.size));
    for none in ["0/001", "entries/000", "0/x", "../checkpoint"] {
        assert_eq!(served.ask("GET", &format!("/tlog/tile/{none}"), "").await.0, 404, "{none}");
    }
    served.stop().await;
}
