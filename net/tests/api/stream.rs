//! Events as they are admitted: nothing is skipped, whatever happens in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use quipu_net::{Cursor, Role, Watch, WatchError};
use quipu_store::{Ledger, Options};
use serde_json::{Value as Json, json};

use crate::client::{Client, Server, replica};

/// A stream that is being read.
pub struct Stream {
    body: Incoming,
    text: String,
    /// The id of the last message.
    cursor: String,
}

impl Stream {
    pub async fn open(client: &Client, query: &str, cursor: Option<&str>) -> Self {
        let headers: Vec<_> = cursor.map(|cursor| ("last-event-id", cursor)).into_iter().collect();
        let response = client.open(&format!("/v1/events/stream{query}"), &headers).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream =
            Self { body: response.into_body(), text: String::new(), cursor: String::new() };
        // The first message has no data, and tells where the stream begins.
        assert!(stream.message().await.is_none());
        stream
    }

    /// Reads a message as the standard says.
    async fn message(&mut self) -> Option<Json> {
        while !self.text.contains("\n\n") {
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame());
            let frame = frame.await.unwrap().unwrap().unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&frame).unwrap());
        }
        let (message, rest) = self.text.split_once("\n\n").unwrap();
        let (message, rest) = (message.to_owned(), rest.to_owned());
        self.text = rest;
        let mut data = None;
        for line in message.lines() {
            match line.split_once(':').unwrap() {
                ("id", id) => id.trim().clone_into(&mut self.cursor),
                ("data", json) => data = Some(serde_json::from_str(json).unwrap()),
                ("retry" | "", _) => {}
                other => panic!("{other:?}"),
            }
        }
        data
    }

    pub async fn event(&mut self) -> Json {
        loop {
            if let Some(event) = self.message().await {
                return event;
            }
        }
    }

    async fn ids(&mut self, count: usize) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for _ in 0..count {
            let event = self.event().await;
            let id = event["event"].as_str().unwrap().to_owned();
            assert!(ids.insert(id), "{event} came twice");
        }
        ids
    }
}

fn put(ledger: &Ledger, key: &str) -> String {
    let mut transaction = ledger.transaction();
    transaction.put(key, b"v").unwrap();
    transaction.commit().unwrap().event.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_a_restart_with_late_arrivals() {
    let server = Server::start();
    let token = server.token(Role::Write).text;
    let dir = tempfile::tempdir().unwrap();
    let other = replica(&dir, &server.ledger);
    // Written before what the stream sees, and admitted after it.
    let mut wanted: BTreeSet<_> = (0..50).map(|n| put(&other, &format!("early/{n}"))).collect();
    let mut stream = Stream::open(&server.client_with(Some(&token)), "", None).await;
    let client = server.client_with(Some(&token));
    let first = client.put("/v1/registers/a/value", "1").await.written();
    let event = stream.event().await;
    assert_eq!((&event["event"], &event["ops"][0]["key"]), (&json!(first), &json!("a")));
    let cursor = stream.cursor.clone();
    let missed = client.put("/v1/registers/b/value", "1").await.written();
    drop(stream);
    let server = server.restart().await;
    server.ledger.merge(&other, &mut |_, _| {}).unwrap();
    let client = server.client_with(Some(&token));
    wanted.insert(missed);
    let mut stream = Stream::open(&client, "", Some(&cursor)).await;
    assert_eq!(stream.ids(51).await, wanted);
    // And on with what comes while it is open, from both sides.
    let mut wanted: BTreeSet<_> = (0..5).map(|n| put(&other, &format!("late/{n}"))).collect();
    wanted.insert(client.put("/v1/registers/c/value", "1").await.written());
    server.ledger.merge(&other, &mut |_, _| {}).unwrap();
    assert_eq!(stream.ids(6).await, wanted);
    // From any message on, the rest comes.
    let last = client.put("/v1/registers/d/value", "1").await.written();
    let mut again = Stream::open(&client, "", Some(&stream.cursor)).await;
    assert_eq!(again.event().await["event"], last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_what_is_wanted() {
    let server = Server::start();
    let client = server.client(Role::Write);
    client.put("/v1/registers/b%2F0/value", "1").await.written();
    let mut all = Stream::open(&client, "?from=start", None).await;
    let mut of_key = Stream::open(&client, "?key=b/", None).await;
    assert_eq!(all.event().await["ops"][0]["op"], "genesis");
    let body = json!({"operations": [
        {"op": "put", "key": "a/1", "value": "x"}, {"op": "inc", "key": "b/1", "by": 2},
    ]});
    client.put("/v1/registers/a%2F1/value", "1").await.written();
    let event = client.post("/v1/transactions", &body).await.written();
    let seen = of_key.event().await;
    assert_eq!((&seen["event"], &seen["operations"]), (&json!(event), &json!(2)));
    assert_eq!(seen["ops"], json!([{"op": "inc", "key": "b/1", "by": 2}]));
    assert_eq!(all.ids(3).await.len(), 3);
    let author = server.ledger.author();
    let query = format!("?from=start&author={author}&after={}", of_key.cursor);
    let mut of_author = Stream::open(&client, &query, None).await;
    let last = client.put("/v1/registers/z/value", "1").await.written();
    assert_eq!(of_author.event().await["event"], last);
    for cursor in ["x", "AQ", &"A".repeat(2000)] {
        let headers = [("last-event-id", cursor)];
        let reply = client.send(hyper::Method::GET, "/v1/events/stream", &headers, "").await;
        reply.is_problem(400, "bad_cursor");
    }
    // One of another ledger.
    let other = Server::start();
    let reply = other.client(Role::Read);
    let headers = [("last-event-id", of_key.cursor.as_str())];
    let reply = reply.send(hyper::Method::GET, "/v1/events/stream", &headers, "").await;
    reply.is_problem(400, "bad_cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_whose_list_is_gone_says_so() {
    let server = Server::start();
    let client = server.client(Role::Read);
    let cursor = Stream::open(&client, "", None).await.cursor;
    let mut bytes = data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap();
    // As of many branches, with a list that is not kept.
    bytes.truncate(9);
    bytes[0] = 2;
    bytes.extend([7; 16]);
    let cursor = data_encoding::BASE64URL_NOPAD.encode(&bytes);
    let headers = [("last-event-id", cursor.as_str())];
    let reply = client.send(hyper::Method::GET, "/v1/events/stream", &headers, "").await;
    reply.is_problem(410, "cursor_expired");
    let mut anew = Stream::open(&client, "?from=start", None).await;
    assert_eq!(anew.event().await["ops"][0]["op"], "genesis");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_server_stops() {
    let server = Server::start();
    let client = server.client(Role::Read);
    let stream = Stream::open(&client, "", None).await;
    let start = std::time::Instant::now();
    let (_dir, _ledger) = server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    stream.body.collect().await.unwrap();
}

/// All that a watch has to tell, in its order.
fn drain(watch: &mut Watch) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(event) = watch.next(Duration::from_millis(50)).unwrap() {
        seen.push(event.id.to_string());
    }
    seen
}

#[test]
fn a_watch_of_many_authors_goes_on_from_any_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let new = quipu_store::NewLedger { policy: quipu_merge::Policy::Open, ..Default::default() };
    let relaxed = Options::new().durability(quipu_store::Durability::Relaxed);
    let here = Arc::new(relaxed.create(dir.path().join("here"), &new).unwrap());
    let authors: Vec<_> = (0..40)
        .map(|n| {
            let path = dir.path().join(format!("author-{n}"));
            let cut = quipu_merge::Cut::Everything;
            relaxed.clone_ledger(path, &here, &cut, &mut |_, _| {}).unwrap().0
        })
        .collect();
    let mut watch = Watch::from_now(here.clone()).unwrap();
    let (mut cursors, mut seen) = (vec![watch.cursor().unwrap()], Vec::new());
    for round in 0..3 {
        for author in &authors {
            put(author, &format!("k{round}"));
            here.merge(author, &mut |_, _| {}).unwrap();
            while let Some(event) = watch.next(Duration::ZERO).unwrap() {
                seen.push(event.id.to_string());
                cursors.push(watch.cursor().unwrap());
            }
        }
    }
    assert_eq!(seen.len(), 120);
    for (place, cursor) in cursors.iter().enumerate() {
        let text = cursor.to_string();
        assert!(text.len() <= 1500, "{} letters", text.len());
        let cursor: Cursor = text.parse().unwrap();
        let rest: BTreeSet<_> =
            drain(&mut Watch::after(here.clone(), &cursor).unwrap()).into_iter().collect();
        assert_eq!(rest, seen[place..].iter().cloned().collect(), "after {place}");
    }
    // Few lists were put on the shelf for it.
    let lists = std::fs::read_dir(here.dir().join("cursors")).unwrap().count();
    assert!((1..=5).contains(&lists), "{lists} lists");
    std::fs::remove_dir_all(here.dir().join("cursors")).unwrap();
    let last = cursors.last().unwrap();
    assert!(matches!(Watch::after(here.clone(), last), Err(WatchError::Expired)));
}

#[test]
fn a_watch_that_lags_and_one_that_sees_a_fork_miss_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let relaxed = Options::new().durability(quipu_store::Durability::Relaxed);
    let here = Arc::new(relaxed.create(dir.path().join("here"), &Default::default()).unwrap());
    let other = replica(&dir, &here);
    let mut watch = Watch::from_now(here.clone()).unwrap();
    let start = watch.cursor().unwrap();
    let mut wanted: BTreeSet<String> = (0..6000).map(|n| put(&here, &format!("{n}"))).collect();
    // A copy of the other store writes on its own: the author forks.
    put(&other, "before");
    let path = other.dir().to_owned();
    drop(other);
    let copy = dir.path().join("copy");
    copy_dir(&path, &copy);
    for place in [&path, &copy] {
        let branch = Ledger::open(place).unwrap();
        for n in 0..10 {
            put(&branch, &format!("{}/{n}", place.display()));
        }
        here.merge(&branch, &mut |_, _| {}).unwrap();
    }
    assert_eq!(here.snapshot().unwrap().forks().unwrap().len(), 1);
    let all = here.snapshot().unwrap();
    for event in all.log(Default::default()).unwrap() {
        let event = event.unwrap();
        if event.author != here.author() {
            wanted.insert(event.id.to_string());
        }
    }
    let seen = drain(&mut watch);
    assert_eq!(seen.len(), wanted.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), wanted);
    let again = drain(&mut Watch::after(here.clone(), &start).unwrap());
    assert_eq!(again.len(), wanted.len());
    assert_eq!(again.into_iter().collect::<BTreeSet<_>>(), wanted);
    let end = watch.cursor().unwrap();
    assert_eq!(drain(&mut Watch::after(here.clone(), &end).unwrap()), Vec::<String>::new());
    let every = drain(&mut Watch::from_start(here.clone()).unwrap());
    assert_eq!(every.len() as u64, here.snapshot().unwrap().len().unwrap());
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
