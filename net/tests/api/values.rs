//! Bytes in whole and in part, short and long.

use hyper::Method;
use quipu_net::{ApiLimits, Role};
use quipu_store::Value;

use crate::client::Server;

/// Bytes that do not repeat.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_value_goes_in_and_out() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let path = "/v1/registers/long/value";
    for len in [0, 1, 4096, 4097, 1 << 20, (1 << 20) + 1, 9_000_000] {
        let value = noise(len);
        let event = client.send(Method::PUT, path, &[], value.clone()).await.written();
        let reply = client.get(path).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-length"), len.to_string());
        assert_eq!(reply.header("etag"), format!("\"{event}\""));
        assert!(reply.body == value, "{len} bytes came back otherwise");
        if len == 0 {
            continue;
        }
        let (from, to) = (len / 3, len - 1);
        let range = format!("bytes={from}-{to}");
        let reply = client.send(Method::GET, path, &[("range", &range)], "").await;
        assert_eq!(reply.status, 206);
        assert_eq!(reply.header("content-range"), format!("bytes {from}-{to}/{len}"));
        assert!(reply.body == value[from..], "a part of {len} bytes came back otherwise");
        let head = client.send(Method::HEAD, path, &[], "").await;
        assert_eq!((head.header("content-length"), head.body.len()), (len.to_string().as_str(), 0));
        let beyond = format!("bytes={len}-");
        let reply = client.send(Method::GET, path, &[("range", &beyond)], "").await;
        reply.is_problem(416, "range_not_satisfiable");
        assert_eq!(reply.header("content-range"), format!("bytes */{len}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_read_by_their_ids() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let value = noise(100_000);
    client.send(Method::PUT, "/v1/registers/long/value", &[], value.clone()).await.written();
    let Some(Value::Long(link)) = server.ledger.get("long").unwrap() else { panic!("it is short") };
    let block = server.ledger.block(link.block).unwrap().unwrap();
    let path = format!("/v1/blocks/{}", link.block);
    let reply = client.get(&path).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &block[..]));
    let reply = client.send(Method::GET, &path, &[("range", "bytes=-3")], "").await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (206, &block[block.len() - 3..]));
    client.get("/v1/blocks/x").await.is_problem(400, "bad_request");
    let genesis = server.ledger.id();
    client.get(&format!("/v1/blocks/{genesis}")).await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_not_written() {
    let server = Server::with(ApiLimits { value_bytes: 3 << 20, ..ApiLimits::default() });
    let client = server.client(Role::Write);
    let path = "/v1/registers/long/value";
    for len in [(3 << 20) + 1, 6 << 20] {
        let reply = client.send(Method::PUT, path, &[], noise(len)).await;
        reply.is_problem(413, "too_large");
    }
    client.get(path).await.is_problem(404, "not_found");
    client.send(Method::PUT, path, &[], noise(3 << 20)).await.written();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_gone_says_so() {
    let server = Server::start();
    let admin = server.client(Role::Admin);
    let event = admin.put("/v1/registers/secret/value", "42").await.written();
    let redact = serde_json::json!({"operations": [{"op": "redact", "event": event}]});
    let reply = admin.post("/v1/control", &redact).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    admin.get("/v1/registers/secret/value").await.is_problem(410, "gone");
    let register = admin.get("/v1/registers/secret").await.good();
    assert_eq!(
        (&register["value"], &register["unavailable"]),
        (&serde_json::json!(null), &serde_json::json!("erased"))
    );
}
