//! Who may do what, and what is noted of it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hyper::Method;
use quipu_net::{ApiLimits, Role};
use serde_json::json;

use crate::client::Server;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_without_a_token() {
    let server = Server::start();
    let nobody = server.client_with(None);
    assert_eq!(nobody.get("/livez").await.good()["status"], "ok");
    assert_eq!(nobody.get("/readyz").await.good()["status"], "ok");
    nobody.get("/openapi.json").await.good();
    for path in ["/metrics", "/v1/ledger", "/v1/registers/k/value", "/v1/events/stream"] {
        let reply = nobody.get(path).await;
        reply.is_problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    nobody.put("/v1/registers/k/value", "v").await.is_problem(401, "unauthenticated");
    nobody.get("/v1/nothing").await.is_problem(404, "not_found");
    nobody.send(Method::PATCH, "/v1/ledger", &[], "").await.is_problem(405, "method_not_allowed");
    let text = server.token(Role::Read).text;
    for wrong in ["", "x", "quipu_", &text.to_uppercase()[..70], &text[..69]] {
        server.client_with(Some(wrong)).get("/v1/ledger").await.is_problem(401, "unauthenticated");
    }
    server.client_with(Some(&text)).get("/v1/ledger").await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_allow_what_they_say() {
    let server = Server::start();
    let [read, write, admin] =
        [Role::Read, Role::Write, Role::Admin].map(|role| server.client(role));
    for client in [&read, &write, &admin] {
        client.get("/v1/ledger").await.good();
        assert_eq!(client.get("/metrics").await.status, 200);
    }
    let grant =
        json!({"operations": [{"op": "grant", "role": "writer", "author": "01".repeat(32)}]});
    let inc = json!({"by": 1});
    read.put("/v1/registers/k/value", "v").await.is_problem(403, "forbidden");
    read.send(Method::DELETE, "/v1/registers/k", &[], "").await.is_problem(403, "forbidden");
    read.post("/v1/counters/k", &inc).await.is_problem(403, "forbidden");
    read.post("/v1/sets/k", &json!({"add": ["m"]})).await.is_problem(403, "forbidden");
    read.post("/v1/lists/k", &json!({"append": ["m"]})).await.is_problem(403, "forbidden");
    read.post("/v1/transactions", &json!({"operations": []})).await.is_problem(403, "forbidden");
    for client in [&read, &write] {
        client.get("/v1/peers").await.is_problem(403, "forbidden");
        client.get("/v1/tokens").await.is_problem(403, "forbidden");
        client.send(Method::DELETE, "/v1/tokens/x", &[], "").await.is_problem(403, "forbidden");
        client.post("/v1/control", &grant).await.is_problem(403, "forbidden");
    }
    write.post("/v1/counters/k", &inc).await.written();
    admin.post("/v1/counters/k", &inc).await.written();
    assert_eq!(admin.post("/v1/control", &grant).await.status, 201);
    let bad = json!({"operations": [{"op": "grant", "role": "king", "author": "01".repeat(32)}]});
    admin.post("/v1/control", &bad).await.is_problem(400, "bad_request");
    admin.post("/v1/control", &json!({"operations": []})).await.is_problem(400, "bad_request");
    let unknown = json!({"operations": [{"op": "redact", "event": quipu_merge::EventId([1; 32]).to_string()}]});
    admin.post("/v1/control", &unknown).await.is_problem(404, "not_found");
    assert_eq!(read.get("/v1/counters/k").await.good()["value"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_holds_no_more() {
    let server = Server::start();
    let admin = server.client(Role::Admin);
    let token = server.token(Role::Read);
    let client = server.client_with(Some(&token.text));
    // Also on a connection that is open already.
    let mut open = client.connect().await;
    let ask = || client.request(Method::GET, "/v1/ledger", &[], "");
    assert_eq!(open.send_request(ask()).await.unwrap().status(), 200);
    open.ready().await.unwrap();
    let stream = client.open("/v1/events/stream", &[]).await;
    assert_eq!(stream.status(), 200);
    let first = admin.get("/v1/tokens?limit=1").await.good();
    let rest =
        admin.get(&format!("/v1/tokens?after={}", first["next"].as_str().unwrap())).await.good();
    assert_eq!(rest["tokens"][0]["id"], token.info.id);
    assert!(!rest.to_string().contains("hash"));
    let path = format!("/v1/tokens/{}", token.info.id);
    assert_eq!(admin.send(Method::DELETE, &path, &[], "").await.status, 204);
    admin.send(Method::DELETE, &path, &[], "").await.is_problem(404, "not_found");
    assert_eq!(open.send_request(ask()).await.unwrap().status(), 401);
    // The stream ends.
    let ended = http_body_util::BodyExt::collect(stream.into_body());
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_tokens_is_slowed_down() {
    let server = Server::with(ApiLimits { failures_per_minute: 3, ..ApiLimits::default() });
    let good = server.client(Role::Read);
    let guess = server.client_with(Some("quipu_guess"));
    for _ in 0..3 {
        guess.get("/v1/ledger").await.is_problem(401, "unauthenticated");
    }
    let reply = guess.get("/v1/ledger").await;
    reply.is_problem(429, "too_many_requests");
    assert!(reply.header("retry-after").parse::<u64>().unwrap() > 0);
    // A token that is good is good, whoever else is at the address.
    assert_eq!(good.get("/v1/ledger").await.status, 200);
    assert_eq!(good.get("/livez").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_tells_who_did_what() {
    let server = Server::start();
    let token = server.token(Role::Write);
    let client = server.client_with(Some(&token.text));
    let event = client.put("/v1/registers/k/value?x=1", "value").await.written();
    client.get("/v1/registers/k?at=2099-01-01T00:00:00Z").await.good();
    client.get("/v1/peers").await.is_problem(403, "forbidden");
    server.client_with(Some("quipu_x")).get("/v1/ledger").await.is_problem(401, "unauthenticated");
    let path = server.ledger.dir().join("audit.log");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let secret = token.text.strip_prefix("quipu_").unwrap();
    assert!(!text.contains(secret) && !text.contains("value\":\"") && !text.contains("2099"));
    let lines = server.audit();
    let about = |at: usize| {
        let line = &lines[at];
        (
            line["phase"].as_str().unwrap(),
            line["method"].as_str().unwrap(),
            line["path"].as_str().unwrap(),
            line["status"].as_u64(),
        )
    };
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(about(0), ("begin", "PUT", "/v1/registers/k/value", None));
    assert_eq!(about(1), ("end", "PUT", "/v1/registers/k/value", Some(201)));
    assert_eq!(about(2), ("end", "GET", "/v1/registers/k", Some(200)));
    assert_eq!(about(3), ("end", "GET", "/v1/peers", Some(403)));
    assert_eq!(about(4), ("end", "GET", "/v1/ledger", Some(401)));
    assert_eq!(lines[0]["request"], lines[1]["request"]);
    assert_eq!((&lines[1]["event"], &lines[1]["bytes"]), (&json!(event), &json!(5)));
    for line in &lines[..4] {
        assert_eq!((&line["token"], &line["name"]), (&json!(token.info.id), &json!("test")));
        assert_eq!(line["address"], "127.0.0.1");
    }
    assert!(lines[4].get("token").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_log_nothing_is_written() {
    let server = Server::with(ApiLimits { audit_bytes: 200, ..ApiLimits::default() });
    let client = server.client(Role::Write);
    client.put("/v1/registers/k/value", "before").await.written();
    // The next line needs another file, which cannot be made: a directory is in its place.
    let dir = server.ledger.dir().to_owned();
    let older = |number: usize| dir.join(format!("audit.log.{number}"));
    for number in 1..=4 {
        let _ = std::fs::remove_file(older(number));
        std::fs::create_dir(older(number)).unwrap();
        std::fs::write(older(number).join("full"), "").unwrap();
    }
    let reply = client.put("/v1/registers/k/value", "after").await;
    reply.is_problem(503, "audit_unavailable");
    client.get("/v1/registers/k/value").await.is_problem(503, "audit_unavailable");
    for number in 1..=4 {
        std::fs::remove_dir_all(older(number)).unwrap();
    }
    assert_eq!(client.get("/v1/registers/k/value").await.text(), "before");
    client.put("/v1/registers/k/value", "after").await.written();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_alone_is_spoken() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start();
    let mut plain = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/"), "{answer:?}");
}
