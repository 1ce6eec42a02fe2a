//! Connections end with a reason, and leave nothing running.

use std::time::{Duration, Instant};

use quipu_net::{Channel, CloseCode, ConnectError, ConnectionError, SendError};
use tokio::runtime::{Builder, Runtime};

use crate::nodes::{anybody, closed_by_peer, connected, limits, node, node_with, until, within};

#[tokio::test]
async fn every_code_arrives_with_its_reason() {
    let (a, b) = (node(1), node(2));
    let codes = [
        CloseCode::Done,
        CloseCode::NotAllowed,
        CloseCode::TooMany,
        CloseCode::Protocol,
        CloseCode::Misbehaviour,
        CloseCode::Failed,
        CloseCode::Unknown(77),
    ];
    for code in codes {
        for from_dialler in [true, false] {
            let (at_a, at_b) = connected(&a, &b).await;
            let (closer, mut other) = if from_dialler { (at_a, at_b) } else { (at_b, at_a) };
            closer.close(code, "because");
            let end = closed_by_peer(code, "because");
            assert_eq!(within(other.receiver().next()).await, Err(end.clone()));
            assert_eq!(other.closed().await, end);
            until_it_fails(&other).await;
            let sent = other.sender().send(Channel::Sync, vec![1]).await;
            assert_eq!(sent, Err(SendError::Ended(end)));
            let here = ConnectionError::ClosedHere { code, reason: "because".into() };
            assert_eq!(closer.closed().await, here);
        }
    }
}

/// The task that writes notices the end a little later.
async fn until_it_fails(connection: &quipu_net::Connection) {
    let failing = async {
        while connection.sender().send(Channel::Sync, vec![1]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within(failing).await;
}

#[tokio::test]
async fn a_connection_that_nobody_has_is_closed() {
    let (a, b) = (node(1), node(2));
    let done = closed_by_peer(CloseCode::Done, "");
    let (at_a, at_b) = connected(&a, &b).await;
    drop(at_a);
    assert_eq!(within(at_b.closed()).await, done);

    let (at_a, at_b) = connected(&a, &b).await;
    let (sender, receiver) = at_a.split();
    drop(receiver);
    assert_eq!(within(at_b.closed()).await, done);
    assert!(matches!(sender.closed().await, ConnectionError::ClosedHere { .. }));

    let (at_a, mut at_b) = connected(&a, &b).await;
    let (sender, receiver) = at_a.split();
    drop(sender);
    within(at_b.sender().send(Channel::Sync, vec![1])).await.unwrap();
    drop(receiver);
    assert_eq!(within(at_b.receiver().next()).await, Err(done));
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_lost() {
    let mut short = limits();
    short.idle_timeout = Duration::from_millis(1500);
    short.keep_alive = Duration::from_millis(300);
    let a = node_with(1, anybody(), short.clone());
    // A runtime that nobody drives any more: the peer is there and does nothing.
    let stopped = Builder::new_current_thread().enable_all().build().unwrap();
    let b = {
        let _inside = stopped.enter();
        node_with(2, anybody(), short)
    };
    let address = (b.local_addr(), b.key());
    let (over, driving) = tokio::sync::oneshot::channel::<()>();
    let driver = std::thread::spawn(move || {
        stopped.block_on(driving).ok();
        (stopped, b)
    });
    let mut at_a = within(a.connect(address.0, address.1)).await.unwrap();
    // Alive for longer than the idle timeout.
    let since = Instant::now();
    let alive = tokio::time::timeout(Duration::from_secs(3), at_a.closed()).await;
    assert!(alive.is_err(), "{alive:?} after {:?}", since.elapsed());
    drop(over);
    let (stopped, b) = driver.join().unwrap();
    assert_eq!(within(at_a.receiver().next()).await, Err(ConnectionError::TimedOut));
    drop(b);
    stopped.shutdown_background();
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn nothing_runs_after_close() {
    let runtime = runtime();
    let held = runtime.block_on(async {
        let (a, b) = (node(1), node(2));
        let mut held = Vec::new();
        for _ in 0..5 {
            let (at_a, at_b) = connected(&a, &b).await;
            // Some have been read and some not, some of their halves are gone.
            at_a.sender().send(Channel::Blocks, vec![1; 100_000]).await.unwrap();
            held.extend([at_a, at_b]);
        }
        held.remove(3);
        // One that is let in and that nobody accepts.
        let waiting = within(a.connect(b.local_addr(), b.key())).await.unwrap();
        let (dialling, (), _) = tokio::join!(
            a.connect("127.0.0.1:9".parse().unwrap(), b.key()),
            within(a.close(CloseCode::Done, "over")),
            within(b.close(CloseCode::Failed, "over too")),
        );
        assert_eq!(dialling.err(), Some(ConnectError::EndpointClosed));
        assert!(b.accept().await.is_none());
        for connection in held.iter().chain([&waiting]) {
            within(connection.closed()).await;
        }
        let mut refusals = b.refusals();
        assert_eq!(refusals.next().await, None);
        held.push(waiting);
        (held, a, b)
    });
    // Connections and endpoints are still there, and none of them does anything.
    runtime.block_on(until(|| runtime.metrics().num_alive_tasks() == 0));
    drop(held);
}

#[test]
fn nothing_runs_after_everything_is_dropped() {
    let runtime = runtime();
    runtime.block_on(async {
        let (a, b) = (node(1), node(2));
        let (at_a, mut at_b) = connected(&a, &b).await;
        at_a.sender().send(Channel::Sync, vec![1; 100]).await.unwrap();
        within(at_b.receiver().next()).await.unwrap();
        drop(b);
        assert_eq!(within(at_b.closed()).await, ConnectionError::EndpointClosed);
        assert_eq!(within(at_a.closed()).await, closed_by_peer(CloseCode::Done, ""));
    });
    runtime.block_on(until(|| runtime.metrics().num_alive_tasks() == 0));
}

#[tokio::test]
async fn peers_are_told_that_an_endpoint_closes() {
    let (a, b) = (node(1), node(2));
    let (at_a, _at_b) = connected(&a, &b).await;
    within(b.close(CloseCode::Done, "good night")).await;
    assert_eq!(within(at_a.closed()).await, closed_by_peer(CloseCode::Done, "good night"));
    // And again, which changes nothing.
    within(b.close(CloseCode::Failed, "again")).await;
}
