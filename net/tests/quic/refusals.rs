//! Nodes that do not want each other, and say why.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quipu_merge::AuthorKey;
use quipu_net::{
    AcceptError, BindError, CloseCode, ConnectError, Endpoint, Limits, LimitsError, NodeKey,
    SignError,
};
use tokio::net::UdpSocket;

use crate::nodes::{Key, anybody, connected, here, key, limits, node, node_with, only, within};

#[tokio::test]
async fn another_key_than_expected_is_refused() {
    let (a, b) = (node(1), node(2));
    let mut refusals = b.refusals();
    let expected = key(3).public();
    let error = within(a.connect(b.local_addr(), expected)).await.err();
    assert_eq!(error, Some(ConnectError::WrongKey { expected, found: b.key() }));
    let refusal = within(refusals.next()).await.unwrap();
    assert_eq!((refusal.address, refusal.why), (a.local_addr(), AcceptError::WrongKey));
}

#[tokio::test]
async fn a_key_that_is_not_admitted_is_refused() {
    let (a, b, c) = (node(1), node_with(2, only(key(3).public()), limits()), node(3));
    let mut refusals = b.refusals();
    let error = within(a.connect(b.local_addr(), b.key())).await.err();
    assert_eq!(error, Some(ConnectError::NotAllowed));
    let refusal = within(refusals.next()).await.unwrap();
    assert_eq!((refusal.address, refusal.why), (a.local_addr(), AcceptError::NotAllowed(a.key())));
    let (_, accepted) = connected(&c, &b).await;
    assert_eq!(accepted.peer(), c.key());
}

#[tokio::test]
async fn admission_is_asked_again_when_somebody_asks() {
    let open = Arc::new(AtomicBool::new(true));
    let asked = open.clone();
    let (a, b) = (node(1), node_with(2, Arc::new(move |_| asked.load(Ordering::SeqCst)), limits()));
    let (at_a, at_b) = connected(&a, &b).await;
    assert!(at_b.admitted());
    open.store(false, Ordering::SeqCst);
    assert!(!at_b.admitted());
    at_b.close(CloseCode::NotAllowed, "removed");
    let end = within(at_a.closed()).await;
    assert_eq!(end.to_string(), "closed by the peer, not allowed: removed");
}

/// A key whose secret part is gone.
struct Locked;

impl NodeKey for Locked {
    fn public(&self) -> AuthorKey {
        key(1).public()
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignError> {
        Err(SignError("locked".into()))
    }
}

/// A node that claims the key of another.
struct Thief(Key);

impl NodeKey for Thief {
    fn public(&self) -> AuthorKey {
        key(1).public()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        self.0.sign(message)
    }
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_told_to_its_owner() {
    let locked = Endpoint::bind(here(), Arc::new(Locked), anybody(), limits()).unwrap();
    let b = node(2);
    let mut refusals = locked.refusals();
    let gone = SignError("locked".into());
    let error = within(locked.connect(b.local_addr(), b.key())).await.err();
    assert_eq!(error, Some(ConnectError::OwnKey(gone.clone())));
    assert!(within(b.connect(locked.local_addr(), locked.key())).await.is_err());
    assert_eq!(within(refusals.next()).await.unwrap().why, AcceptError::OwnKey(gone));
}

#[tokio::test]
async fn whoever_does_not_have_the_key_is_refused() {
    let other = Thief(Key(ed25519_dalek::SigningKey::from_bytes(&[9; 32])));
    let thief = Endpoint::bind(here(), Arc::new(other), anybody(), limits()).unwrap();
    let b = node(2);
    let mut refusals = b.refusals();
    assert!(within(thief.connect(b.local_addr(), b.key())).await.is_err());
    assert_eq!(within(refusals.next()).await.unwrap().why, AcceptError::BadKey);
    let error = within(b.connect(thief.local_addr(), key(1).public())).await.err();
    assert_eq!(error, Some(ConnectError::BadKey));
}

#[tokio::test]
async fn silence_is_told_from_refusal() {
    let impatient = limits_with(limits(), |l| l.handshake_timeout = Duration::from_millis(300));
    let a = node_with(1, anybody(), impatient);
    let silent = UdpSocket::bind(here()).await.unwrap();
    let dialled = a.connect(silent.local_addr().unwrap(), key(2).public());
    assert_eq!(within(dialled).await.err(), Some(ConnectError::TimedOut));
}

#[tokio::test]
async fn errors_of_the_caller_say_so() {
    let a = node(1);
    let v6: SocketAddr = "[::1]:9".parse().unwrap();
    let error = within(a.connect(v6, key(2).public())).await.err();
    assert_eq!(error, Some(ConnectError::Address(v6)));

    let taken = Endpoint::bind(a.local_addr(), key(2), anybody(), limits()).err();
    assert!(matches!(taken, Some(BindError::Address { .. })), "{taken:?}");

    let senseless = limits_with(limits(), |l| l.keep_alive = l.idle_timeout);
    let error = Endpoint::bind(here(), key(2), anybody(), senseless).err();
    assert!(matches!(error, Some(BindError::Limits(LimitsError::KeepAlive))), "{error:?}");

    a.close(CloseCode::Done, "").await;
    let error = a.connect(here(), key(2).public()).await.err();
    assert_eq!(error, Some(ConnectError::EndpointClosed));
}

#[test]
fn an_endpoint_needs_a_runtime() {
    let error = Endpoint::bind(here(), key(2), anybody(), limits()).err();
    assert!(matches!(error, Some(BindError::NoRuntime)), "{error:?}");
}

fn limits_with(mut limits: Limits, change: impl FnOnce(&mut Limits)) -> Limits {
    change(&mut limits);
    limits
}
