//! Too much, too fast, too many, too slow.

use std::time::Duration;

use hyper::Method;
use quipu_merge::Policy;
use quipu_net::{ApiLimits, Role};
use quipu_store::NewLedger;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Reply, Server};

/// Asks again while this is the answer, for a while.
async fn asked_until(mut ask: impl AsyncFnMut() -> Reply, not: u16) -> Reply {
    for _ in 0..100 {
        let reply = ask().await;
        if reply.status != not {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ask().await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_operations_have_rates() {
    let limits =
        ApiLimits { requests_per_second: 2, operations_per_second: 10, ..ApiLimits::default() };
    let server = Server::with(limits);
    let [fast, other, reader] = [(); 3].map(|()| server.client(Role::Write));
    let mut limited = None;
    for _ in 0..20 {
        let reply = fast.get("/v1/ledger").await;
        if reply.status == 429 {
            limited = Some(reply);
            break;
        }
    }
    let limited = limited.unwrap();
    limited.is_problem(429, "too_many_requests");
    assert_eq!(limited.header("retry-after"), "1");
    // Each token has a rate of its own.
    let operations = |count: usize| json!({"operations": vec![json!({"op": "inc", "key": "c", "by": 1}); count]});
    // More than a bucket holds: it is empty for longer.
    other.post("/v1/transactions", &operations(30)).await.written();
    other.post("/v1/transactions", &operations(10)).await.is_problem(429, "too_many_requests");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    other.post("/v1/transactions", &operations(10)).await.written();
    assert_eq!(reader.get("/v1/counters/c").await.good()["value"], "40");
    fast.get("/v1/ledger").await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_ledger_has_quotas() {
    let limits = ApiLimits { quota_operations: 3, quota_bytes: 1000, ..ApiLimits::default() };
    let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    let server = Server::make(limits, &new, None);
    let [operations, bytes] = [(); 2].map(|()| server.client(Role::Write));
    for _ in 0..3 {
        operations.post("/v1/counters/c", &json!({"by": 1})).await.written();
    }
    operations.post("/v1/counters/c", &json!({"by": 1})).await.is_problem(429, "quota_exceeded");
    bytes.put("/v1/registers/k/value", &"x".repeat(900)).await.written();
    bytes.put("/v1/registers/k/value", &"x".repeat(200)).await.is_problem(429, "quota_exceeded");
    // Among members there is none.
    let members = Server::with(limits);
    let client = members.client(Role::Write);
    for _ in 0..5 {
        client.post("/v1/counters/c", &json!({"by": 1})).await.written();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_heads_have_an_end() {
    let limits = ApiLimits { json_bytes: 1000, ..ApiLimits::default() };
    let server = Server::with(limits);
    let client = server.client(Role::Write);
    let long = json!({"append": ["x".repeat(1000)]});
    client.post("/v1/lists/l", &long).await.is_problem(413, "too_large");
    client.send(Method::POST, "/v1/lists/l", &[], "{").await.is_problem(400, "bad_request");
    // The answer may come while the head is still being sent, and the connection end.
    let mut long = client.stream().await;
    let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(1 << 20));
    let _ = long.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = long.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    let many: Vec<_> = (0..100).map(|number| (format!("x-{number}"), "y")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(client.send(Method::GET, "/v1/ledger", &many, "").await.status, 431);
}

/// Waits for the other side to end a connection.
async fn ends(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
    let _ = ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_not_waited_for() {
    let limits = ApiLimits {
        head_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        ..ApiLimits::default()
    };
    let server = Server::with(limits);
    let token = server.token(Role::Write);
    let client = server.client_with(Some(&token.text));
    // Somebody who does not begin the handshake, or who does not end the head.
    let mut silent = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    ends(&mut silent).await;
    let mut slow = client.stream().await;
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
    ends(&mut slow).await;
    // Somebody who sends a part of a value: before and beyond its first mebibyte.
    for len in [10, 2 << 20] {
        let mut slow = client.stream().await;
        let head = format!(
            "PUT /v1/registers/k/value HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-length: 5000000\r\nconnection: close\r\n\r\n",
            token.text
        );
        slow.write_all(head.as_bytes()).await.unwrap();
        slow.write_all(&vec![7; len]).await.unwrap();
        slow.flush().await.unwrap();
        let mut answer = vec![0; 12];
        let answered = tokio::time::timeout(Duration::from_secs(10), slow.read_exact(&mut answer));
        answered.await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    }
    client.get("/v1/registers/k").await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_take_up_so_much_memory_together() {
    let server = Server::with(ApiLimits { held_bytes: 4000, ..ApiLimits::default() });
    let token = server.token(Role::Write);
    let client = server.client_with(Some(&token.text));
    let body = json!({"append": ["x".repeat(1500)]});
    let mut slow = Vec::new();
    for request in ["PUT /v1/registers/k/value", "POST /v1/lists/slow"] {
        client.post("/v1/lists/l", &body).await.written();
        let mut stream = client.stream().await;
        let head = format!(
            "{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-length: 2000\r\n\r\n",
            token.text
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b' '; 1500]).await.unwrap();
        stream.flush().await.unwrap();
        slow.push(stream);
    }
    // What two have sent of theirs leaves no room for this, but for something shorter, once it has been read.
    let refused = asked_until(async || client.post("/v1/lists/l", &body).await, 201).await;
    refused.is_problem(503, "busy");
    assert_eq!(refused.header("retry-after"), "1");
    client.put("/v1/registers/k/value", &"x".repeat(1500)).await.is_problem(503, "busy");
    client.post("/v1/counters/c", &json!({"by": 1})).await.written();
    // Who has gone, and who has been answered, takes up none.
    drop(slow);
    asked_until(async || client.post("/v1/lists/l", &body).await, 503).await.written();
    for _ in 0..10 {
        client.post("/v1/lists/l", &json!({"append": ["x".repeat(3900)]})).await.written();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_cut_off_is_not_written() {
    let server = Server::start();
    let token = server.token(Role::Write);
    let client = server.client_with(Some(&token.text));
    for len in [10, 2 << 20] {
        let mut cut = client.stream().await;
        let head = format!(
            "PUT /v1/registers/k/value HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-length: 5000000\r\n\r\n",
            token.text
        );
        cut.write_all(head.as_bytes()).await.unwrap();
        cut.write_all(&vec![7; len]).await.unwrap();
        cut.shutdown().await.unwrap();
        drop(cut);
    }
    let ends = async || server.audit().iter().filter(|line| line["phase"] == "end").count();
    for _ in 0..100 {
        if ends().await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ends().await, 2);
    client.get("/v1/registers/k").await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_streams_are_counted() {
    let limits = ApiLimits { streams: 2, connections_per_address: 32, ..ApiLimits::default() };
    let server = Server::with(limits);
    let client = server.client(Role::Read);
    let one = client.open("/v1/events/stream", &[]).await;
    let two = client.open("/v1/events/stream", &[]).await;
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200));
    client.get("/v1/events/stream").await.is_problem(503, "busy");
    drop(one);
    let mut freed = false;
    for _ in 0..100 {
        let again = client.open("/v1/events/stream", &[]).await;
        freed = again.status() == 200;
        if freed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(freed);
    drop(two);
    // One that is refused is closed at once, others after ten seconds.
    let mut open = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        open.spawn(async move { stream.read_u8().await.map(|_| ()) });
    }
    let closed = tokio::time::timeout(Duration::from_secs(5), open.join_next()).await;
    closed.expect("all connections are open").unwrap().unwrap().unwrap_err();
}
