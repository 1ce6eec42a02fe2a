//! Dialling one peer.

use std::sync::Arc;

use super::address::PeerAddress;
use super::error::SyncError;
use crate::{ConnectError, Connection, Endpoint};

/// So many addresses of one name are tried.
const MAX_ADDRESSES: usize = 4;

/// What has come of dialling a peer.
#[derive(Debug)]
pub struct Dial {
    pub peer: PeerAddress,
    pub result: Result<Connection, SyncError>,
}

/// Finds out where a peer is, and connects to it.
pub async fn dial(endpoint: Arc<Endpoint>, peer: PeerAddress) -> Dial {
    let result = connect(&endpoint, &peer).await;
    Dial { peer, result }
}

/// Connects to a peer by the first of its addresses that answers.
pub async fn connect(endpoint: &Endpoint, peer: &PeerAddress) -> Result<Connection, SyncError> {
    let unresolved =
        |why: String| SyncError::Resolve { place: peer.place.as_str().to_owned(), why };
    let found = tokio::net::lookup_host(peer.place.as_str()).await;
    let found = found.map_err(|error| unresolved(error.to_string()))?;
    let mut failed = None;
    for address in found.take(MAX_ADDRESSES) {
        match endpoint.connect(address, peer.key).await {
            Ok(connection) => return Ok(connection),
            // That this socket cannot reach one address says nothing of the others.
            Err(why @ ConnectError::Address(_)) => drop(failed.get_or_insert(why)),
            Err(why) => failed = Some(why),
        }
    }
    let peer = peer.clone();
    Err(failed.map_or_else(
        || unresolved("it has no address".to_owned()),
        |why| SyncError::Connect { peer, why: Box::new(why) },
    ))
}
