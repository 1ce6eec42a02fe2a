//! Reading and writing keys, history, cuts.

use hyper::Method;
use quipu_merge::EventId;
use quipu_net::Role;
use serde_json::json;

use crate::client::{Server, replica};

#[tokio::test(flavor = "multi_thread")]
async fn a_register_is_written_and_read() {
    let server = Server::start();
    let client = server.client(Role::Write);
    client.get("/v1/registers/sign%2Fcolour").await.is_problem(404, "not_found");
    let reply = client.put("/v1/registers/sign%2Fcolour/value", "green").await;
    let event = reply.written();
    assert_eq!(reply.header("etag"), format!("\"{event}\""));
    let reply = client.get("/v1/registers/sign%2Fcolour").await;
    let register = reply.good();
    assert_eq!(reply.header("etag"), format!("\"{event}\""));
    assert_eq!(register["key"], "sign/colour");
    assert_eq!((&register["value"], &register["event"]), (&json!("green"), &json!(event)));
    assert_eq!((&register["conflicts"], &register["others"]), (&json!(0), &json!([])));
    let tag = format!("\"{event}\"");
    let known = [("if-none-match", tag.as_str())];
    let reply = client.send(Method::GET, "/v1/registers/sign%2Fcolour", &known, "").await;
    assert_eq!(reply.status, 304);

    let reply = client.send(Method::DELETE, "/v1/registers/sign%2Fcolour", &[], "").await;
    reply.written();
    client.get("/v1/registers/sign%2Fcolour").await.is_problem(404, "not_found");
    let reply = client.send(Method::DELETE, "/v1/registers/sign%2Fcolour", &[], "").await;
    reply.is_problem(404, "not_found");
    // What was there is there over an earlier cut.
    let then = client.get(&format!("/v1/registers/sign%2Fcolour?at={event}")).await.good();
    assert_eq!(then["value"], "green");
    client.get("/v1/registers/a?at=no+such+cut").await.is_problem(400, "bad_cut");
    client.get("/v1/registers/a?at=checkpoint:1").await.is_problem(400, "bad_cut");
    let unknown = client.get("/v1/registers/a?when=now").await;
    unknown.is_problem(400, "bad_request");
    assert!(unknown.text().contains("\"the query: when: unknown field"), "{}", unknown.text());
    client
        .put(&format!("/v1/registers/{}/value", "x".repeat(1025)), "v")
        .await
        .is_problem(422, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_depend_on_what_stands() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let path = "/v1/registers/k/value";
    let put = async |headers: &[(&str, &str)], value: &str| {
        client.send(Method::PUT, path, headers, value.to_owned()).await
    };
    put(&[("if-match", "*")], "0").await.is_problem(412, "precondition_failed");
    let first = put(&[("if-none-match", "*")], "1").await;
    first.written();
    put(&[("if-none-match", "*")], "2").await.is_problem(412, "precondition_failed");
    let tag = first.header("etag").to_owned();
    let second = put(&[("if-match", &tag)], "2").await;
    second.written();
    put(&[("if-match", &tag)], "3").await.is_problem(412, "precondition_failed");
    let either = format!("{tag}, {}", second.header("etag"));
    put(&[("if-match", &either)], "3").await.written();
    put(&[("if-match", "*")], "4").await.written();
    put(&[("if-match", "*"), ("if-none-match", "*")], "5").await.is_problem(400, "bad_request");
    put(&[("if-none-match", &tag)], "5").await.is_problem(400, "bad_request");
    assert_eq!(client.get(path).await.text(), "4");
    let headers = [("if-match", tag.as_str())];
    let reply = client.send(Method::DELETE, "/v1/registers/k", &headers, "").await;
    reply.is_problem(412, "precondition_failed");
    let tag = client.get(path).await.header("etag").to_owned();
    client.send(Method::DELETE, "/v1/registers/k", &[("if-match", &tag)], "").await.written();
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_sets_and_lists() {
    let server = Server::start();
    let client = server.client(Role::Write);
    client.get("/v1/counters/c").await.is_problem(404, "not_found");
    client.post("/v1/counters/c", &json!({"by": 40})).await.written();
    client.post("/v1/counters/c", &json!({"by": -2})).await.written();
    assert_eq!(client.get("/v1/counters/c").await.good(), json!({"key": "c", "value": "38"}));
    client.post("/v1/counters/c", &json!({"by": 0})).await.is_problem(422, "refused");
    client.post("/v1/counters/c", &json!({"by": 1.5})).await.is_problem(400, "bad_request");
    client.post("/v1/counters/c", &json!({"by": 1, "to": 2})).await.is_problem(400, "bad_request");

    client.get("/v1/sets/s").await.is_problem(404, "not_found");
    let bytes = json!({"/": {"bytes": "/wA"}});
    client.post("/v1/sets/s", &json!({"add": ["b", "a", "c", bytes]})).await.written();
    client.post("/v1/sets/s", &json!({"add": ["d"], "rem": ["b"]})).await.written();
    let all = client.get("/v1/sets/s").await.good();
    assert_eq!(all, json!({"key": "s", "members": ["a", "c", "d", bytes], "next": null}));
    let first = client.get("/v1/sets/s?limit=2").await.good();
    assert_eq!(first["members"], json!(["a", "c"]));
    let next = first["next"].as_str().unwrap();
    let second = client.get(&format!("/v1/sets/s?limit=2&after={next}")).await.good();
    assert_eq!(second, json!({"key": "s", "members": ["d", bytes], "next": null}));
    client.get("/v1/sets/s?after=%21").await.is_problem(400, "bad_request");
    client.post("/v1/sets/s", &json!({})).await.is_problem(422, "refused");

    client.get("/v1/lists/l").await.is_problem(404, "not_found");
    client.post("/v1/lists/l", &json!({"append": ["1", "2", "3"]})).await.written();
    client.post("/v1/lists/l", &json!({"append": ["4"]})).await.written();
    let mut values = Vec::new();
    let mut after = String::new();
    loop {
        let page = client.get(&format!("/v1/lists/l?limit=2{after}")).await.good();
        values.extend(page["values"].as_array().unwrap().iter().map(|v| v["value"].clone()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(values, ["1", "2", "3", "4"]);
    client.get("/v1/lists/l?after=x:1").await.is_problem(400, "bad_request");
    client.get("/v1/lists/l?limit=0").await.is_problem(400, "bad_request");
    client.get("/v1/lists/l?limit=1001").await.is_problem(400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_paged() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let mut operations: Vec<_> =
        (0..25).map(|n| json!({"op": "put", "key": format!("a/{n:02}"), "value": "v"})).collect();
    operations.push(json!({"op": "inc", "key": "a/07", "by": 1}));
    operations.push(json!({"op": "add", "key": "a/03", "member": "m"}));
    operations.push(json!({"op": "append", "key": "b", "value": "v"}));
    client.post("/v1/transactions", &json!({"operations": operations})).await.written();
    let (mut keys, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/keys?prefix=a/&limit=4{after}")).await.good();
        let page_keys = page["keys"].as_array().unwrap();
        assert!(page_keys.len() <= 4);
        keys.extend(page_keys.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(keys.len(), 25);
    assert_eq!(keys[3], json!({"key": "a/03", "types": ["register", "set"]}));
    assert_eq!(keys[7], json!({"key": "a/07", "types": ["register", "counter"]}));
    let all = client.get("/v1/keys").await.good();
    assert_eq!(all["keys"].as_array().unwrap().len(), 26);
    let none = client.get("/v1/keys?prefix=zz").await.good();
    assert_eq!(none, json!({"keys": [], "next": null}));
    let genesis = server.ledger.id();
    let then = client.get(&format!("/v1/keys?at={genesis}")).await.good();
    assert_eq!(then["keys"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_one_event_or_nothing() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let bytes = json!({"/": {"bytes": "/wA="}});
    let event = client
        .post(
            "/v1/transactions",
            &json!({"operations": [
            {"op": "put", "key": "r", "value": "v"},
            {"op": "inc", "key": "c", "by": 3},
            {"op": "add", "key": "s", "member": bytes},
            {"op": "append", "key": "l", "value": "x"},
        ], "conditions": [{"key": "r", "events": []}]}),
        )
        .await
        .written();
    let shown = client.get(&format!("/v1/events/{event}")).await.good();
    assert_eq!((&shown["operations"], &shown["seq"]), (&json!(4), &json!(2)));
    assert_eq!(shown["ops"][0], json!({"op": "put", "key": "r", "value": "v"}));
    assert_eq!(shown["ops"][2]["member"], json!({"/": {"bytes": "/wA"}}));
    let refused = json!({"operations": [{"op": "put", "key": "r", "value": "w"},
        {"op": "inc", "key": "c", "by": 1}], "conditions": [{"key": "r", "events": []}]});
    client.post("/v1/transactions", &refused).await.is_problem(412, "precondition_failed");
    let wrong = json!({"operations": [{"op": "inc", "key": "c", "by": 1}, {"op": "inc", "key": "c", "by": 0}]});
    client.post("/v1/transactions", &wrong).await.is_problem(422, "refused");
    assert_eq!(client.get("/v1/counters/c").await.good()["value"], "3");
    client.post("/v1/transactions", &json!({"operations": []})).await.is_problem(422, "refused");
    client
        .post("/v1/transactions", &json!({"operations": [{"op": "nop"}]}))
        .await
        .is_problem(400, "bad_request");
    let many = vec![json!({"op": "inc", "key": "c", "by": 1}); 10_001];
    client
        .post("/v1/transactions", &json!({"operations": many}))
        .await
        .is_problem(400, "bad_request");
    let full = vec![json!({"op": "inc", "key": "c", "by": 1}); 10_000];
    let event = client.post("/v1/transactions", &json!({"operations": full})).await.written();
    assert_eq!(client.get("/v1/counters/c").await.good()["value"], "10003");
    let shown = client.get(&format!("/v1/events/{event}?from=9950&limit=40")).await.good();
    assert_eq!((shown["ops"].as_array().unwrap().len(), &shown["next"]), (40, &json!(9990)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_of_an_event_is_the_same_to_the_byte() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let operation = |key: &str| format!(r#"{{"op":"put","key":"{key}","value":"v"}}"#);
    let operations: Vec<_> = ["a", "b", "c"].map(operation).into();
    let body = format!(r#"{{"operations":[{}]}}"#, operations.join(","));
    let event = client.send(Method::POST, "/v1/transactions", &[], body).await.written();
    let reply = client.get(&format!("/v1/events/{event}?limit=2")).await;
    let json = reply.good();
    let [author, time, micros, prev] = ["author", "time", "micros", "prev"].map(|name| &json[name]);
    let about = format!(
        r#"{{"event":"{event}","author":{author},"seq":2,"time":{time},"micros":{micros},"prev":{prev},"parents":[],"void":false,"certified":null"#
    );
    let ops = operations[..2].join(",");
    assert_eq!(reply.text(), format!(r#"{about},"operations":3,"ops":[{ops}],"next":2}}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_in_both_orders() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let mut written = vec![server.ledger.id().to_string()];
    for number in 0..9 {
        let key = format!("k{}", number % 2);
        written.push(client.put(&format!("/v1/registers/{key}/value"), "v").await.written());
    }
    let pages = async |query: &str| {
        let (mut events, mut after) = (Vec::new(), String::new());
        loop {
            let page = client.get(&format!("/v1/events?limit=3{query}{after}")).await.good();
            let ids = page["events"].as_array().unwrap().iter();
            events.extend(ids.map(|event| event["event"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return events,
            }
        }
    };
    assert_eq!(pages("&order=asc").await, written);
    let mut latest_first = written.clone();
    latest_first.reverse();
    assert_eq!(pages("").await, latest_first);
    let of_key: Vec<_> = written[1..].iter().step_by(2).cloned().collect();
    assert_eq!(pages("&order=asc&key=k0").await, of_key);
    let author = server.ledger.author();
    assert_eq!(pages(&format!("&author={author}")).await, latest_first);
    assert_eq!(pages(&format!("&order=asc&at={}", written[4])).await, written[..=4]);
    client.get("/v1/events?order=up").await.is_problem(400, "bad_request");
    let unknown = EventId([1; 32]);
    client.get(&format!("/v1/events?after={unknown}")).await.is_problem(404, "not_found");
    client.get(&format!("/v1/events/{unknown}")).await.is_problem(404, "not_found");
    client.get("/v1/events/x").await.is_problem(400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_its_cuts_and_its_conflicts() {
    let server = Server::start();
    let client = server.client(Role::Write);
    let dir = tempfile::tempdir().unwrap();
    let other = replica(&dir, &server.ledger);
    for key in ["a", "b", "c"] {
        let mut transaction = other.transaction();
        transaction.put(key, b"there").unwrap();
        transaction.commit().unwrap();
        client.put(&format!("/v1/registers/{key}/value"), "here").await.written();
    }
    server.ledger.merge(&other, &mut |_, _| {}).unwrap();
    let ledger = client.get("/v1/ledger").await.good();
    assert_eq!(ledger["id"], server.ledger.id().to_string());
    assert_eq!((&ledger["policy"], &ledger["authors"]), (&json!("members"), &json!(2)));
    assert_eq!((&ledger["events"], &ledger["head_count"]), (&json!(8), &json!(2)));
    let first = client.get("/v1/conflicts?limit=2").await.good();
    assert_eq!(first["conflicts"][0]["key"], "a");
    assert_eq!(first["conflicts"][0]["values"], 2);
    assert_eq!(first["next"], "b");
    let second = client.get("/v1/conflicts?limit=2&after=b").await.good();
    assert_eq!((second["conflicts"].as_array().unwrap().len(), &second["next"]), (1, &json!(null)));
    let reply = client.get("/v1/registers/a").await;
    assert_eq!(reply.good()["conflicts"], 1);
    // A write on top of both ends the conflict, where both are named.
    let tag = reply.header("etag").to_owned();
    assert!(tag.contains('+'));
    let headers = [("if-match", tag.as_str())];
    client.send(Method::PUT, "/v1/registers/a/value", &headers, "both").await.written();
    assert_eq!(client.get("/v1/registers/a").await.good()["conflicts"], 0);
    let cut = client.get(&format!("/v1/cuts?at={}:2", server.ledger.author())).await.good();
    assert_eq!((&cut["events"], &cut["head_count"]), (&json!(2), &json!(1)));
    let again = client.get(&format!("/v1/cuts?at={}", cut["at"].as_str().unwrap())).await.good();
    assert_eq!(again, cut);
    let authors = client.get("/v1/authors").await.good();
    assert_eq!(authors["authors"].as_array().unwrap().len(), 2);
    let one = client.get("/v1/authors?limit=1").await.good();
    let next = one["next"].as_str().unwrap();
    let two = client.get(&format!("/v1/authors?limit=1&after={next}")).await.good();
    assert_eq!(authors["authors"], json!([one["authors"][0], two["authors"][0]]));
    assert_eq!(client.get("/v1/forks").await.good(), json!({"forks": {}, "next": null}));
    let status = client.get("/v1/status").await.good();
    assert_eq!((&status["conflicts"], &status["authors"]), (&json!(2), &json!(2)));
}
