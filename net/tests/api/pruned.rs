//! What has been pruned here, has not come yet, or never will: the answers tell which it is.

use std::sync::Arc;
use std::time::Duration;

use quipu_merge::{Cut, EventId, Height};
use quipu_net::{ApiLimits, Cursor, Role, Watch, WatchError};
use quipu_store::{Ledger, NewLedger, PruneOptions, ReadError};
use serde_json::json;

use crate::certified::{certify, new, started};
use crate::client::{Client, Server};
use crate::stream::Stream;

fn put(ledger: &Ledger, key: &str) -> EventId {
    let mut transaction = ledger.transaction();
    transaction.put(key, b"v").unwrap();
    transaction.commit().unwrap().event
}

/// A ledger with three checkpoints, and an event after them; its events without the first.
fn history(dir: &std::path::Path) -> (Arc<Ledger>, Vec<EventId>) {
    let ledger = Ledger::create(dir, &new()).unwrap();
    let mut events = Vec::new();
    for _ in 0..3 {
        events.extend([put(&ledger, "a"), put(&ledger, "b")]);
        certify(&ledger);
    }
    events.push(put(&ledger, "a"));
    (Arc::new(ledger), events)
}

fn drain(watch: &mut Watch) -> Vec<EventId> {
    std::iter::from_fn(|| watch.next(Duration::ZERO).unwrap()).map(|event| event.id).collect()
}

fn cursor(ledger: &Arc<Ledger>, height: u64) -> Cursor {
    Watch::from_checkpoint(ledger.clone(), Height(height)).unwrap().cursor().unwrap()
}

#[test]
fn a_watch_begins_at_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, mut events) = history(&dir.path().join("whole"));
    for (height, seen) in [(1, 2), (2, 4), (3, 6)] {
        let mut watch = Watch::from_checkpoint(whole.clone(), Height(height)).unwrap();
        assert_eq!(drain(&mut watch), events[seen..]);
        events.push(put(&whole, "c"));
        assert_eq!(
            watch.next(Duration::from_secs(9)).unwrap().unwrap().id,
            *events.last().unwrap()
        );
        let mut again = Watch::after(whole.clone(), &watch.cursor().unwrap()).unwrap();
        assert_eq!(drain(&mut again), []);
    }
    let none = Watch::from_checkpoint(whole, Height(4));
    assert!(matches!(none, Err(WatchError::Read(ReadError::Cut(_)))));
}

#[test]
fn nothing_is_followed_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, events) = history(&dir.path().join("whole"));
    let shallow = Arc::new(started(&whole, &dir.path().join("shallow")));
    let is_below = |watch: Result<Watch, WatchError>| {
        matches!(watch, Err(WatchError::Read(ReadError::BelowStart(Height(3)))))
    };
    assert!(is_below(Watch::from_start(shallow.clone())));
    assert!(is_below(Watch::from_checkpoint(shallow.clone(), Height(2))));
    assert!(is_below(Watch::after(shallow.clone(), &cursor(&whole, 2))));
    for mut watch in [
        Watch::from_checkpoint(shallow.clone(), Height(3)).unwrap(),
        Watch::after(shallow.clone(), &cursor(&whole, 3)).unwrap(),
    ] {
        watch.check_operations().unwrap();
        assert_eq!(drain(&mut watch), events[6..]);
    }
    let watch = Watch::from_now(shallow).unwrap();
    watch.check_operations().unwrap();

    let cut = whole.snapshot().unwrap().checkpoint(Height(2)).unwrap().unwrap().cut;
    let cut = Cut::Heads(cut.heads().to_vec());
    assert!(whole.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap().bodies > 0);
    let mut watch = Watch::from_start(whole.clone()).unwrap();
    let gone = watch.check_operations();
    assert!(matches!(gone, Err(WatchError::Read(ReadError::Pruned(Height(2))))));
    // The events are all here.
    assert_eq!(drain(&mut watch).len(), events.len() + 1);
    Watch::from_checkpoint(whole, Height(2)).unwrap().check_operations().unwrap();
}

async fn is_not_here(client: &Client, path: &str) {
    let reply = client.get(path).await;
    reply.is_problem(404, "not_here");
    assert!(reply.text().contains("checkpoint 3"), "{path}: {}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_come_yet_is_told_from_what_is_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, events) = history(&dir.path().join("whole"));
    let shallow = started(&whole, &dir.path().join("shallow"));
    let server = Server::of(shallow);
    let client = server.client(Role::Read);
    for path in [
        "/v1/checkpoints/2",
        "/v1/checkpoints/2/note",
        "/v1/checkpoints?after=3",
        "/v1/registers/a?at=checkpoint:2",
        "/v1/events?key=a&order=asc",
        "/v1/events/stream?from=start",
        "/v1/events/stream?from=checkpoint:2",
        "/v1/events/stream?key=a&from=start",
        &format!("/v1/events/stream?after={}", cursor(&whole, 1)),
    ] {
        is_not_here(&client, path).await;
    }
    let told = client.get("/v1/events/stream?from=start").await;
    assert!(told.text().contains("`from=checkpoint:3`"), "{}", told.text());
    client.get("/v1/events/stream?from=middle").await.is_problem(400, "bad_request");
    client.get("/v1/events/stream?from=checkpoint:9").await.is_problem(400, "bad_cut");
    let mut stream = Stream::open(&client, "?from=checkpoint:3&key=a", None).await;
    assert_eq!(stream.event().await["event"], events[6].to_string());

    let page = client.get("/v1/checkpoints").await.good();
    assert_eq!((&page["next"], &page["start"]), (&json!(null), &json!(3)));
    assert_eq!(page["checkpoints"].as_array().unwrap().len(), 1);
    let status = client.get("/v1/status").await.good();
    assert_eq!((&status["shallow"], &status["pruned_to"]), (&json!(3), &json!(null)));
    client.get("/tlog/checkpoint").await.is_problem(404, "not_cosigned");
    drop(stream);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_may_be_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, events) = history(&dir.path().join("whole"));
    let cut = whole.snapshot().unwrap().checkpoint(Height(2)).unwrap().unwrap().cut;
    let cut = Cut::Heads(cut.heads().to_vec());
    assert!(whole.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap().bodies > 0);
    let server = Server::of(Arc::into_inner(whole).unwrap());
    let client = server.client(Role::Read);
    for path in [
        "/v1/registers/a?at=checkpoint:1",
        "/v1/events?key=a&order=asc",
        "/v1/events/stream?key=a&from=start",
        "/v1/events/stream?key=a&from=checkpoint:1",
    ] {
        client.get(path).await.is_problem(410, "pruned");
    }
    let page = client.get("/v1/checkpoints?limit=2").await.good();
    assert_eq!((&page["next"], &page["start"]), (&json!(2), &json!(null)));
    let mut stream = Stream::open(&client, "?from=checkpoint:2&key=a", None).await;
    assert_eq!(stream.event().await["event"], events[4].to_string());
    // Without a key, all events come, and say that what they did is gone.
    let mut all = Stream::open(&client, "?from=start", None).await;
    all.event().await;
    let gone = all.event().await;
    assert_eq!((&gone["event"], &gone["pruned"]), (&json!(events[0].to_string()), &json!(true)));
    assert_eq!(client.get("/v1/status").await.good()["pruned_to"], 2);
    drop((stream, all));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_certified_is_told_from_what_is_not_yet() {
    let none = NewLedger { validators: Some(Vec::new()), ..NewLedger::default() };
    for (new, code) in [(none, "never_certified"), (new(), "nothing_certified")] {
        let server = Server::make(ApiLimits::default(), &new, None);
        let client = server.client(Role::Read);
        for path in [
            "/tlog/checkpoint",
            "/v1/keys?final=true",
            "/v1/checkpoints/latest",
            "/v1/checkpoints/latest/note",
        ] {
            client.get(path).await.is_problem(404, code);
        }
        client.get("/v1/checkpoints/1").await.is_problem(404, "not_found");
        assert_eq!(client.get("/v1/checkpoints").await.good()["checkpoints"], json!([]));
        server.stop().await;
    }
}
