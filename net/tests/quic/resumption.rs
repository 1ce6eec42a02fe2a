//! A peer that comes back is judged anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quipu_net::{AcceptError, ConnectError, PROTOCOL};

use crate::nodes::{connected, limits, node, node_with, within};
use crate::raw::{Shows, author, client_with, config, let_in, tls};

#[tokio::test]
async fn a_removed_peer_does_not_come_back() {
    let open = Arc::new(AtomicBool::new(true));
    let asked = open.clone();
    let b = node_with(2, Arc::new(move |_| asked.load(Ordering::SeqCst)), limits());
    let a = node(1);
    let mut refusals = b.refusals();
    drop(connected(&a, &b).await);
    open.store(false, Ordering::SeqCst);
    let error = within(a.connect(b.local_addr(), b.key())).await.err();
    assert_eq!(error, Some(ConnectError::NotAllowed));
    assert_eq!(within(refusals.next()).await.unwrap().why, AcceptError::NotAllowed(a.key()));
}

#[tokio::test]
async fn nothing_is_given_out_to_resume_with() {
    let open = Arc::new(AtomicBool::new(true));
    let asked = open.clone();
    let b = node_with(2, Arc::new(move |_| asked.load(Ordering::SeqCst)), limits());
    let mut refusals = b.refusals();
    // A client that keeps tickets, and would send early data if it had one.
    let client = client_with(config(tls(Shows::Key(1), &[PROTOCOL])));
    for _ in 0..2 {
        let raw = within(let_in(&client, &b)).await.unwrap();
        // A message has gone to the client and back, and any ticket before it.
        let mut at_b = within(b.accept()).await.unwrap();
        let mut stream = raw.open_uni().await.unwrap();
        stream.write_all(&[0, 0, 0, 0, 1, 9]).await.unwrap();
        within(at_b.receiver().next()).await.unwrap();
        within(at_b.sender().send(quipu_net::Channel::Sync, vec![1])).await.unwrap();
        within(raw.accept_uni()).await.unwrap();
        let again = client.connect(b.local_addr(), "any").unwrap();
        assert!(again.into_0rtt().is_err(), "it has a ticket");
    }
    open.store(false, Ordering::SeqCst);
    assert!(within(let_in(&client, &b)).await.is_err());
    loop {
        // Those that were tried for early data and given up come first.
        let why = within(refusals.next()).await.unwrap().why;
        if why == AcceptError::NotAllowed(author(1)) {
            break;
        }
    }
}
