//! What the API shows of what is certified.

use std::sync::Arc;

use quipu_merge::{CheckpointId, Height};
use quipu_proto::{Evidence, Id, SignedVote};
use quipu_store::{KeptEvidence, Ledger, MAX_EVIDENCE_AGAINST, NewLedger};
use serde_json::json;

use super::served::Served;
use super::support::{Stores, start};

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
