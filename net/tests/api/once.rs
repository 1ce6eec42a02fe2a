//! Writes that are done once, however often they are asked for.

use hyper::Method;
use quipu_net::{ApiLimits, Role};
use serde_json::json;

use crate::client::{Client, Reply, Server};

async fn inc(client: &Client, key: &str, by: i64) -> Reply {
    let headers = [("idempotency-key", key)];
    client.send(Method::POST, "/v1/counters/c", &headers, json!({"by": by}).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_comes_to_the_same_also_after_a_restart() {
    let server = Server::start();
    let (token, other) = (server.token(Role::Write).text, server.token(Role::Write).text);
    let client = server.client_with(Some(&token));
    let first = inc(&client, "a", 1).await;
    let event = first.written();
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = inc(&client, "a", 1).await;
    assert_eq!((again.written(), again.header("idempotency-replayed")), (event.clone(), "true"));
    assert_eq!(first.body, again.body);
    inc(&client, "a", 2).await.is_problem(422, "idempotency_key_reused");
    // The same key of another token is another key.
    assert_ne!(inc(&server.client_with(Some(&other)), "a", 1).await.written(), event);
    let server = server.restart().await;
    let client = server.client_with(Some(&token));
    let again = inc(&client, "a", 1).await;
    assert_eq!((again.written(), again.header("idempotency-replayed")), (event, "true"));
    inc(&client, "a", 2).await.is_problem(422, "idempotency_key_reused");
    assert_eq!(client.get("/v1/counters/c").await.good()["value"], "2");
    assert!(server.ledger.verify(&mut |_, _| {}).unwrap().findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_may_be_tried_again() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let put = async |value: Vec<u8>| {
        let headers = [("idempotency-key", "k"), ("if-match", "*")];
        client.send(Method::PUT, "/v1/registers/r/value", &headers, value).await
    };
    put(b"2".to_vec()).await.is_problem(412, "precondition_failed");
    client.put("/v1/registers/r/value", "1").await.written();
    let event = put(b"2".to_vec()).await.written();
    // The condition held then, and is not asked again.
    client.put("/v1/registers/r/value", "3").await.written();
    assert_eq!(put(b"2".to_vec()).await.written(), event);
    assert_eq!(client.get("/v1/registers/r/value").await.text(), "3");
    let headers = [("idempotency-key", "k")];
    let reply = client.send(Method::PUT, "/v1/registers/r/value", &headers, "2").await;
    reply.is_problem(422, "idempotency_key_reused");
    for bad in ["", &"x".repeat(256)] {
        inc(&client, bad, 1).await.is_problem(400, "bad_request");
    }
    let admin = server.client(Role::Admin);
    let control = json!({"operations": [{"op": "revoke", "author": "01".repeat(32)}]}).to_string();
    let reply = admin.send(Method::POST, "/v1/control", &headers, control).await;
    reply.is_problem(400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_written_once_too() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let put = async |value: &[u8]| {
        let headers = [("idempotency-key", "long")];
        client.send(Method::PUT, "/v1/registers/r/value", &headers, value.to_vec()).await
    };
    let value = vec![7; 3 << 20];
    let event = put(&value).await.written();
    let again = put(&value).await;
    assert_eq!((again.written(), again.header("idempotency-replayed")), (event, "true"));
    put(&value[1..]).await.is_problem(422, "idempotency_key_reused");
    put(b"short").await.is_problem(422, "idempotency_key_reused");
    assert_eq!(server.ledger.snapshot().unwrap().len().unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_has_a_key() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let tries = (0..32).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { inc(&client, "same", 1).await })
    });
    let (mut written, mut events) = (0, std::collections::BTreeSet::new());
    for reply in tries.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        if reply.status == 201 {
            written += usize::from(reply.header("idempotency-replayed").is_empty());
            events.insert(reply.written());
        } else {
            reply.is_problem(409, "idempotency_key_in_use");
        }
    }
    assert_eq!((written, events.len()), (1, 1));
    assert_eq!(client.get("/v1/counters/c").await.good()["value"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_keys_are_remembered() {
    let server = Server::with(ApiLimits { idempotency_keys: 3, ..ApiLimits::default() });
    let (token, other) = (server.token(Role::Write).text, server.token(Role::Write).text);
    let client = server.client_with(Some(&token));
    for key in ["a", "b", "c"] {
        inc(&client, key, 1).await.written();
    }
    let check = async |server: &Server| {
        let client = server.client_with(Some(&token));
        inc(&client, "d", 1).await.is_problem(429, "too_many_idempotency_keys");
        inc(&client, "a", 1).await.written();
        client.post("/v1/counters/d", &json!({"by": 1})).await.written();
    };
    check(&server).await;
    inc(&server.client_with(Some(&other)), "d", 1).await.written();
    let server = server.restart().await;
    check(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_got_lost_is_to_be_had_again() {
    use tokio::io::AsyncWriteExt;
    let mut server = Server::start();
    let token = server.token(Role::Write).text;
    for round in 0..10_u32 {
        let key = format!("round-{round}");
        let mut stream = server.client_with(Some(&token)).stream().await;
        let body = json!({"by": 1}).to_string();
        let head = format!(
            "POST /v1/counters/c HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // Now it is before the write, in the middle of it, or after it.
        tokio::time::sleep(std::time::Duration::from_micros(300 * u64::from(round))).await;
        drop(stream);
        server = server.restart().await;
        inc(&server.client_with(Some(&token)), &key, 1).await.written();
        let sum = server.ledger.snapshot().unwrap().counter("c").unwrap();
        assert_eq!(sum, Some(i128::from(round) + 1));
    }
}
