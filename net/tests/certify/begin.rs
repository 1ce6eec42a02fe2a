//! Replicas that start from a checkpoint: they are used at once, and what precedes it comes meanwhile.

use std::path::Path;
use std::sync::Arc;

use quipu_merge::{Cut, EventId, Height, Micros, Role};
use quipu_net::{
    CloseCode, ConnectError, Connection, Endpoint, JoinError, Limits, Node, PeerAddress, Place,
    SyncError, start_from,
};
use quipu_proto::{
    Hello, HistoryItem, HistoryPart, Message, Packet, Part, Start, StartFile, VERSION, Version,
};
use quipu_store::{Below, Ledger, OpenError, Options, ReadError, StartOptions, Value};

use super::support::{PATIENCE, Stores, address, is_final, put, start, until};

fn here() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn from(below: Below) -> StartOptions {
    StartOptions { below, ledger: None }
}

/// A ledger of one validator, with something certified in several checkpoints.
async fn first(stores: &Stores) -> (Arc<Ledger>, Node, EventId) {
    let ledger =
        Arc::new(Ledger::create(stores.dir("0"), &quipu_store::NewLedger::default()).unwrap());
    let node = start(&ledger, &[]).await;
    let mut last = None;
    for round in 0..3 {
        for at in 0..40 {
            last = Some(put(&ledger, &format!("k/{}", at % 7), format!("{round}.{at}").as_bytes()));
        }
        is_final(&node, last.unwrap()).await;
    }
    (ledger, node, last.unwrap())
}

/// A replica in a directory that starts from what a node has certified, as somebody who may write.
async fn begin(ledger: &Ledger, node: &Node, dir: &Path, below: Below) -> Arc<Ledger> {
    let key = Options::new().newcomer(dir).unwrap().author();
    is_final(node, ledger.grant(key, Role::Writer).unwrap().event).await;
    loop {
        let newcomer = Options::new().newcomer(dir).unwrap();
        let (peer, expected) = (address(node), Some(ledger.id()));
        let mut told = (0, 0);
        let started = start_from(newcomer, here(), &peer, expected, from(below), |come, all| {
            told = (come, all)
        });
        match started.await {
            Ok((made, info)) => {
                assert_eq!(told, (info.len, info.len));
                assert_eq!(made.author(), key);
                return Arc::new(made);
            }
            // The node looks at the roles every now and then.
            Err(JoinError::Sync(SyncError::Connect { why, .. }))
                if *why == ConnectError::NotAllowed => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn value(ledger: &Ledger, key: &str) -> Option<Vec<u8>> {
    match ledger.snapshot().unwrap().get(key).unwrap() {
        Some(Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

async fn same(one: &Ledger, other: &Ledger) {
    until(|| one.frontier().unwrap() == other.frontier().unwrap()).await;
}

async fn filled(node: &Node) {
    tokio::time::timeout(PATIENCE, node.filled()).await.expect("it takes too long");
    until(|| node.status().filling.is_some_and(|filling| filling.whole)).await;
    let filling = node.status().filling.unwrap();
    assert_eq!(filling.events, filling.total);
}

/// Opens a store anew, which has its whole history then, as the other has.
async fn is_whole(ledger: Arc<Ledger>, like: &Ledger) -> Ledger {
    let dir = ledger.dir().to_owned();
    drop(Arc::into_inner(ledger).expect("somebody has it still"));
    let whole = Ledger::open(dir).unwrap();
    assert!(whole.shallow().is_none());
    assert_eq!(whole.frontier().unwrap(), like.frontier().unwrap());
    let state = |ledger: &Ledger| {
        let snapshot = ledger.snapshot().unwrap();
        let certified = snapshot.checkpoint(Height::FIRST).unwrap().unwrap().id();
        (snapshot.heads().unwrap(), certified)
    };
    assert_eq!(state(&whole), state(like));
    assert_eq!(whole.verify(&mut |_, _| {}).unwrap().findings, []);
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_starts_from_a_checkpoint_and_its_history_comes() {
    let stores = Stores::new();
    let (ledger, node, _) = first(&stores).await;
    for (name, below) in [("hashes", Below::Hashes), ("signatures", Below::Signatures)] {
        let replica = begin(&ledger, &node, &stores.dir(name), below).await;
        let height = replica.shallow().unwrap().height;
        // What is certified there is here at once.
        for at in 0..7 {
            let key = format!("k/{at}");
            assert_eq!(value(&replica, &key), value(&ledger, &key));
        }
        let other = start(&replica, &[&node]).await;
        // A file is given for some seconds: it may be older than the role.
        same(&ledger, &replica).await;
        let own = put(&replica, "own", name.as_bytes());
        let theirs = put(&ledger, "theirs", name.as_bytes());
        same(&ledger, &replica).await;
        assert_eq!(value(&ledger, "own").as_deref(), Some(name.as_bytes()));
        assert_eq!(value(&replica, "theirs").as_deref(), Some(name.as_bytes()));
        let certified = is_final(&other, own).await;
        assert!(certified > height && is_final(&other, theirs).await > height);
        filled(&other).await;
        same(&ledger, &replica).await;
        let certified = || ledger.certification().height == replica.certification().height;
        until(certified).await;
        assert_eq!((node.status().misbehaviour, other.status().misbehaviour), (vec![], vec![]));
        other.stop().await;
        drop(other);
        is_whole(replica, &ledger).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_replica_is_no_start() {
    let stores = Stores::new();
    let (ledger, node, _) = first(&stores).await;
    let replica = begin(&ledger, &node, &stores.dir("1"), Below::Pruned).await;
    let newcomer = Options::new().newcomer(stores.dir("2")).unwrap();
    ledger.grant(newcomer.author(), Role::Writer).unwrap();
    replica.merge(&ledger, &mut |_, _| {}).unwrap();
    // Nobody is there from whom its history could come.
    let alone = start(&replica, &[]).await;
    let refused =
        start_from(newcomer, here(), &address(&alone), None, from(Below::Hashes), |_, _| {}).await;
    let refused = refused.map(drop);
    assert!(matches!(refused, Err(JoinError::NoStart { .. })), "{refused:?}");
    assert_eq!(alone.status().misbehaviour, []);
    alone.stop().await;
    node.stop().await;
}

/// The events come for one that was started without what is below, too, and the rest goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_what_is_below_gets_its_events() {
    let stores = Stores::new();
    let (ledger, node, _) = first(&stores).await;
    let replica = begin(&ledger, &node, &stores.dir("1"), Below::Pruned).await;
    let height = replica.shallow().unwrap().height;
    let other = start(&replica, &[&node]).await;
    is_final(&other, put(&replica, "own", b"v")).await;
    filled(&other).await;
    same(&ledger, &replica).await;
    let certified = || ledger.certification().height == replica.certification().height;
    until(certified).await;
    other.stop().await;
    drop(other);
    let whole = Arc::new(is_whole(replica, &ledger).await);
    let early = whole.snapshot().unwrap().checkpoint(Height::FIRST).unwrap().unwrap();
    let early = whole.at(&Cut::Heads(early.cut.heads().to_vec())).unwrap();
    let read = early.dump(&[]);
    assert!(matches!(read, Err(ReadError::Pruned(at)) if at == height), "{read:?}");
    drop(early);
    // It is no source of what is gone: who asks is told so, and nobody is blamed.
    let other = start(&whole, &[&node]).await;
    let third = begin(&ledger, &node, &stores.dir("2"), Below::Hashes).await;
    let last = start(&third, &[&other, &node]).await;
    filled(&last).await;
    for node in [&node, &other, &last] {
        assert_eq!(node.status().misbehaviour, []);
        node.stop().await;
    }
}

/// Somebody who speaks the protocol on an endpoint.
struct Speaker {
    endpoint: Arc<Endpoint>,
    ledger: EventId,
    version: Version,
}

impl Speaker {
    fn new(as_whom: &Ledger, version: Version) -> Self {
        let key = Arc::new(as_whom.handshake_key().unwrap());
        let endpoint = Endpoint::bind(here(), key, Arc::new(|_| true), Limits::default()).unwrap();
        Self { endpoint: Arc::new(endpoint), ledger: as_whom.id(), version }
    }

    fn address(&self) -> PeerAddress {
        let place = Place::from(self.endpoint.local_addr());
        PeerAddress { key: self.endpoint.key(), place }
    }

    /// Greets who connects, and answers what it is told.
    fn answer(&self, answers: impl Fn(Message) -> Option<Message> + Send + Clone + 'static) {
        let (endpoint, ledger, version) = (self.endpoint.clone(), self.ledger, self.version);
        tokio::spawn(async move {
            while let Some(connection) = endpoint.accept().await {
                let hello =
                    Message::Hello(Hello { version, ledger, time: Micros(1), hidden: false });
                say(&connection, &hello).await;
                tokio::spawn(converse(connection, answers.clone()));
            }
        });
    }
}

async fn say(connection: &Connection, message: &Message) {
    let _ = connection.sender().send(message.channel(), message.encode()).await;
}

async fn converse(
    mut connection: Connection,
    answers: impl Fn(Message) -> Option<Message> + Send + 'static,
) {
    while let Ok((channel, bytes)) = connection.receiver().next().await {
        let message = Message::decode(channel, &bytes).unwrap();
        if let Some(answer) = message.and_then(&answers) {
            say(&connection, &answer).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_started_from_older_or_false_peers() {
    let stores = Stores::new();
    let (ledger, node, _) = first(&stores).await;
    let dir = stores.dir("new");
    let newcomer = || Options::new().newcomer(&dir).unwrap();
    let older = Speaker::new(&ledger, Version { minor: 2, ..VERSION });
    older.answer(|_| None);
    let peer = older.address();
    let refused = start_from(newcomer(), here(), &peer, None, from(Below::Hashes), |_, _| {}).await;
    let refused = refused.map(drop);
    assert!(matches!(refused, Err(JoinError::Older { .. })), "{refused:?}");

    let liar = Speaker::new(&ledger, VERSION);
    let checkpoint = quipu_merge::CheckpointId([7; 32]);
    let which = StartFile { height: Height(3), checkpoint, len: 300_000 };
    liar.answer(move |message| match message {
        Message::AskStart => Some(Message::Start(Start::From(which))),
        Message::AskPart(ask) => {
            let len = (which.len - ask.offset).min(quipu_proto::MAX_PART_LEN as u64);
            let bytes = Some(vec![7; usize::try_from(len).unwrap()].into());
            Some(Message::Part(Part { offset: ask.offset, bytes }))
        }
        _ => None,
    });
    let peer = liar.address();
    let refused = start_from(newcomer(), here(), &peer, None, from(Below::Hashes), |_, _| {}).await;
    let refused = refused.map(drop);
    assert!(matches!(refused, Err(JoinError::Open(OpenError::Start(_)))), "{refused:?}");
    assert!(!quipu_store::is_store(&dir));
    // What is left is the key, with which somebody honest can be asked.
    begin(&ledger, &node, &dir, Below::Hashes).await;
    for endpoint in [older.endpoint, liar.endpoint] {
        endpoint.close(CloseCode::Done, "").await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lies_about_history_is_sent_away() {
    let stores = Stores::new();
    let (ledger, node, _) = first(&stores).await;
    let member = stores.replica("member", &ledger, Role::Writer);
    let replica = begin(&ledger, &node, &stores.dir("1"), Below::Hashes).await;
    let liar = Speaker::new(&member, VERSION);
    liar.answer(|message| match message {
        Message::AskHistory(ask) => {
            let event = Packet { event: vec![1], body: vec![2], openings: Vec::new() };
            let items = Some(vec![HistoryItem::Event(event)]);
            Some(Message::HistoryPart(HistoryPart { from: ask.from, items }))
        }
        _ => None,
    });
    let other = start(&replica, &[]).await;
    let PeerAddress { key, place } = liar.address();
    other.keep_peer(key, Some(place)).await.unwrap();
    until(|| other.status().misbehaviour == [("bad history", 1)]).await;
    assert_eq!(other.status().filling.unwrap().events, 0);
    let PeerAddress { key, place } = address(&node);
    other.keep_peer(key, Some(place)).await.unwrap();
    filled(&other).await;
    same(&ledger, &replica).await;
    other.stop().await;
    drop(other);
    liar.endpoint.close(CloseCode::Done, "").await;
    is_whole(replica, &ledger).await;
    node.stop().await;
}
