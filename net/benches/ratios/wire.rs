//! Bytes on the wire, as UDP carries them: all that QUIC adds included.

use std::num::NonZero;
use std::sync::Arc;

use quipu_net::{Node, PeerState};
use quipu_store::{Branches, Incoming, Ledger, Want};

use crate::figure::Figure;
use crate::stores::{address, fill, members, node, put, runtime, visitor, without_events};

const EVENTS: usize = 100_000;

pub fn one_percent() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let source = fill(&dir.path().join("source"), EVENTS);
    let target = without_events(&dir.path().join("target"), &source);
    target.merge(&source, &mut |_, _| {}).unwrap();
    let before = source.frontier().unwrap();
    (0..EVENTS / 100).for_each(|number| put(&source, EVENTS + number));
    source.sync().unwrap();
    let missing = length_of_new(&source, &before);
    let received = runtime().block_on(async {
        let (serving, copying) = (node(&source, &[]).await, visitor(&target).await);
        let synced = copying.sync_with(address(&serving)).await.unwrap();
        assert_eq!(synced.new_events, (EVENTS / 100) as u64);
        let traffic = settled(&copying).await;
        copying.stop().await;
        serving.stop().await;
        traffic
    });
    let detail = format!(
        "{received} bytes of UDP in both directions; {missing} bytes of events, bodies and openings"
    );
    vec![Figure::at_most(
        "bytes when 1 % of 100,000 events differ, against the missing blocks",
        1.2,
        received as f64 / missing as f64,
        detail,
    )]
}

/// Length of what a replica has beyond a frontier: events, bodies and openings.
fn length_of_new(ledger: &Ledger, before: &[Branches]) -> usize {
    let now = ledger.frontier().unwrap();
    let wants: Vec<_> = now
        .iter()
        .map(|lane| Want {
            up_to: lane.tips.iter().map(|(_, id)| *id).collect(),
            held: before
                .iter()
                .filter(|held| held.author == lane.author)
                .flat_map(|held| held.tips.clone())
                .collect(),
        })
        .collect();
    let mut feed = ledger.feed(&wants).unwrap();
    let mut len = 0;
    loop {
        let portion = feed.read(ledger, 1 << 20).unwrap();
        len += portion.events.iter().map(Incoming::len).sum::<usize>();
        if portion.last {
            return len;
        }
    }
}

pub fn equal() -> Vec<Figure> {
    const AUTHORS: usize = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let source = many_authors(&dir.path().join("source"), AUTHORS);
    let target = without_events(&dir.path().join("target"), &source);
    target.merge(&source, &mut |_, _| {}).unwrap();
    // An empty ledger costs what the connection itself does.
    let empty = members(&dir.path().join("empty"), 2);
    let (bytes, bare) = runtime()
        .block_on(async { (met(&source, &target).await, met(&empty[0], &empty[1]).await) });
    let more = bytes as f64 - bare as f64;
    let detail = format!(
        "{bytes} bytes of UDP in both directions with the handshake, {bare} between replicas with two authors"
    );
    vec![Figure::at_most(
        "bytes more between equal replicas with 1,000 authors than with two",
        1024.0,
        more,
        detail,
    )]
}

/// What two equal replicas say to each other until they know that they are.
async fn met(source: &Arc<Ledger>, target: &Arc<Ledger>) -> u64 {
    let (serving, copying) = (node(source, &[]).await, visitor(target).await);
    copying.sync_with(address(&serving)).await.unwrap();
    let traffic = settled(&copying).await;
    copying.stop().await;
    serving.stop().await;
    traffic
}

/// All bytes with the one peer, once the status tells of them.
async fn settled(node: &Node) -> u64 {
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let status = node.status();
        if let [peer] = status.peers.as_slice()
            && matches!(peer.state, PeerState::Connected { .. })
        {
            return peer.received_bytes + peer.sent_bytes;
        }
    }
}

/// An open ledger to which so many authors have written one event each.
fn many_authors(dir: &std::path::Path, authors: usize) -> Arc<Ledger> {
    use ed25519_dalek::SigningKey;
    use quipu_merge::{AuthorKey, Body, BodyId, Event, Key, Micros, Operation, Policy, Seq};
    use quipu_store::{NewLedger, Options};

    let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    let ledger = Options::new().create(dir, &new).unwrap();
    let genesis = ledger.id();
    let start = ledger.snapshot().unwrap().event(genesis).unwrap().time;
    let events = (0..authors).map(|author| {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(author as u64 + 1).to_be_bytes());
        let key = SigningKey::from_bytes(&seed);
        let author = AuthorKey(key.verifying_key().to_bytes());
        let by =
            Operation::Inc { key: Key::new("n").unwrap(), by: NonZero::<i64>::new(1).unwrap() };
        let body = Body::Data(vec![by]).encode().unwrap();
        let event = Event {
            author,
            seq: Seq::FIRST,
            prev: None,
            parents: vec![genesis],
            time: Micros(start.0 + 1),
            body: BodyId::of(&body),
            size: u32::try_from(body.len()).unwrap(),
        };
        let signed = event.sign(&key).unwrap();
        Incoming { event: signed.bytes().to_vec(), body: Some(body), openings: Vec::new() }
    });
    let report = ledger.admit(events.collect()).unwrap();
    assert_eq!(report.new.len(), authors);
    Arc::new(ledger)
}
