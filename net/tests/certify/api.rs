//! What the API shows of what is certified.

use std::sync::Arc;

use quipu_store::{Ledger, NewLedger};
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
