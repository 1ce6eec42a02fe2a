//! What the tests set up: keys, endpoints, and a limit to their patience.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use quipu_merge::AuthorKey;
use quipu_net::{
    Admission, CloseCode, Connection, ConnectionError, Endpoint, Limits, NodeKey, SignError,
};

/// An Ed25519 key from a seed.
pub struct Key(pub SigningKey);

impl NodeKey for Key {
    fn public(&self) -> AuthorKey {
        AuthorKey(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        // What a key may insist on, so that no signature is one in a ledger.
        assert!(message.starts_with(&[b' '; 64]));
        Ok(self.0.sign(message).to_bytes())
    }
}

pub fn key(seed: u8) -> Arc<Key> {
    Arc::new(Key(SigningKey::from_bytes(&[seed; 32])))
}

pub fn anybody() -> Admission {
    Arc::new(|_| true)
}

pub fn only(allowed: AuthorKey) -> Admission {
    Arc::new(move |key| key == allowed)
}

pub fn here() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Limits for tests in which nobody waits for something that does not come.
pub fn limits() -> Limits {
    Limits::default()
}

pub fn node(seed: u8) -> Endpoint {
    node_with(seed, anybody(), limits())
}

pub fn node_with(seed: u8, admission: Admission, limits: Limits) -> Endpoint {
    Endpoint::bind(here(), key(seed), admission, limits).unwrap()
}

/// Connects `from` to `to`: the connection as each of them sees it.
pub async fn connected(from: &Endpoint, to: &Endpoint) -> (Connection, Connection) {
    let (dialled, accepted) =
        tokio::join!(within(from.connect(to.local_addr(), to.key())), within(to.accept()));
    (dialled.unwrap(), accepted.unwrap())
}

/// What happens, unless it takes too long for a test.
pub async fn within<T>(happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), happens).await.expect("takes too long")
}

/// Waits until `holds` does, asking again and again.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let asking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(asking).await;
}

pub fn closed_by_peer(code: CloseCode, reason: &str) -> ConnectionError {
    ConnectionError::Closed { code, reason: reason.to_owned() }
}
