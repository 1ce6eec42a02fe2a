//! Checkpoints as signed notes: which are shown, and with which lines.

use quipu_merge::{CheckpointNote, CheckpointSignature, Height, SignedNote};
use quipu_net::{ApiLimits, Role};
use quipu_store::Ledger;

use crate::certified::{certify, keys, of};
use crate::client::{Client, Server};

const VALIDATORS: u8 = 4;

/// Writes and certifies until there are so many checkpoints.
fn certify_up_to(ledger: &Ledger, last: u64) {
    while ledger.certification().height < Some(Height(last)) {
        let mut transaction = ledger.transaction();
        transaction.put("k", b"v").unwrap();
        transaction.commit().unwrap();
        certify(ledger);
    }
}

/// Has so many validators cosign a checkpoint.
fn cosign(ledger: &Ledger, height: u64, count: usize) {
    let certified = ledger.snapshot().unwrap().checkpoint(Height(height)).unwrap().unwrap();
    let note = CheckpointNote::of(&certified.checkpoint, certified.id());
    let keys = keys(VALIDATORS).into_iter().take(count);
    let lines: Vec<_> =
        keys.map(|(_, key)| CheckpointSignature::sign(&note, &key, 7).unwrap()).collect();
    ledger.keep_cosignatures(Height(height), &lines).unwrap();
}

/// The height of a note, and how many validators have signed it.
async fn note(client: &Client, path: &str) -> (u64, usize) {
    let reply = client.get(path).await;
    assert_eq!(reply.status.as_u16(), 200, "{path}: {}", reply.text());
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    let note = SignedNote::parse(&reply.body).unwrap();
    (CheckpointNote::parse(&note.text).unwrap().height.0, note.signatures.len() / 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_shown_what_enough_have_cosigned() {
    let server = Server::make(ApiLimits::default(), &of(VALIDATORS), None);
    let client = server.client(Role::Read);
    certify_up_to(&server.ledger, 10);
    client.get("/tlog/checkpoint").await.is_problem(404, "not_cosigned");
    for (height, count) in [(1, 4), (5, 3), (10, 2)] {
        cosign(&server.ledger, height, count);
    }
    assert_eq!(note(&client, "/tlog/checkpoint").await, (5, 3));
    for (path, expected) in [("1", (1, 4)), ("5", (5, 3)), ("10", (10, 2)), ("latest", (10, 2))] {
        assert_eq!(note(&client, &format!("/v1/checkpoints/{path}/note")).await, expected);
    }
    client.get("/v1/checkpoints/9/note").await.is_problem(404, "not_cosigned");
    client.get("/v1/checkpoints/11/note").await.is_problem(404, "not_found");
    client.get("/v1/checkpoints/last/note").await.is_problem(400, "bad_request");
    certify_up_to(&server.ledger, 12);
    assert_eq!(note(&client, "/tlog/checkpoint").await, (5, 3));
    // No lines come any more that the last eight lack, and of these too few have come.
    certify_up_to(&server.ledger, 13);
    client.get("/tlog/checkpoint").await.is_problem(404, "not_cosigned");
    server.stop().await;
}
