//! Making a replica of a ledger that only peers have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::EventId;
use quipu_proto::{Channel, Hello, Message, Pull, VERSION, Want};
use quipu_store::{Incoming, Ledger, Newcomer};
use tokio::time::timeout;

use super::address::PeerAddress;
use super::clock;
use super::convert;
use super::dial;
use super::error::{JoinError, SyncError};
use crate::{CloseCode, Connection, Endpoint, Limits};

/// What a peer may take for its greeting and the first event.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks a peer for the first event of its ledger and makes a replica with it, which holds nothing else
/// yet: [`Node::sync_with`](super::Node::sync_with) gets the rest. Of an `expected` ledger it is sure;
/// otherwise it is the one that the peer serves, whose key is known.
///
/// # Errors
/// The peer cannot be reached or does not let the newcomer in: then its key may have to be granted a
/// role, or be listed. The newcomer's directory keeps the key for another attempt.
pub async fn join(
    newcomer: Newcomer,
    listen: SocketAddr,
    peer: &PeerAddress,
    expected: Option<EventId>,
) -> Result<Ledger, JoinError> {
    let key = Arc::new(newcomer.handshake_key());
    let endpoint = Endpoint::bind(listen, key, Arc::new(|_| false), Limits::default());
    let endpoint = endpoint.map_err(super::error::StartError::from)?;
    let genesis = first_event(&endpoint, peer, expected).await;
    endpoint.close(CloseCode::Done, "").await;
    let genesis = genesis?;
    super::handle::blocking(move || Ok(newcomer.join(&genesis)?)).await
}

async fn first_event(
    endpoint: &Endpoint,
    peer: &PeerAddress,
    expected: Option<EventId>,
) -> Result<Incoming, JoinError> {
    let mut connection = dial::connect(endpoint, peer).await?;
    let late = || SyncError::Ended { peer: peer.clone(), why: "it does not answer".to_owned() };
    let told = timeout(PATIENCE, ask(&mut connection, peer, expected)).await;
    told.map_err(|_| late())?
}

async fn ask(
    connection: &mut Connection,
    peer: &PeerAddress,
    expected: Option<EventId>,
) -> Result<Incoming, JoinError> {
    let ledger = greet(connection, peer).await?;
    if let Some(expected) = expected.filter(|expected| *expected != ledger) {
        return Err(JoinError::OtherLedger { peer: peer.clone(), found: ledger, expected });
    }
    let hello =
        Message::Hello(Hello { version: VERSION, ledger, time: clock::wall(), hidden: true });
    // Nothing precedes the first event.
    let want = Want { up_to: vec![ledger], held: Vec::new() };
    let pull = Message::Pull(Pull { pull: 1, wants: vec![want] });
    for message in [hello, pull] {
        let sent = connection.sender().send(message.channel(), message.encode()).await;
        sent.map_err(|error| ended(peer, error))?;
    }
    let none = || JoinError::NoGenesis { peer: peer.clone(), ledger };
    loop {
        match next(connection, peer).await? {
            Message::Batch(batch) => {
                let genesis = batch.events.into_iter().find(|packet| packet.id() == ledger);
                return genesis.map(convert::incoming).ok_or_else(none);
            }
            Message::End(_) => return Err(none()),
            _ => {}
        }
    }
}

/// The ledger that a peer serves, by its greeting.
async fn greet(connection: &mut Connection, peer: &PeerAddress) -> Result<EventId, JoinError> {
    loop {
        if let Message::Hello(hello) = next(connection, peer).await? {
            return Ok(hello.ledger);
        }
    }
}

/// The next message that is understood.
pub async fn next(connection: &mut Connection, peer: &PeerAddress) -> Result<Message, JoinError> {
    loop {
        let (channel, bytes): (Channel, _) =
            connection.receiver().next().await.map_err(|error| ended(peer, error))?;
        if let Ok(Some(message)) = Message::decode(channel, &bytes) {
            return Ok(message);
        }
    }
}

pub fn ended(peer: &PeerAddress, why: impl std::fmt::Display) -> JoinError {
    SyncError::Ended { peer: peer.clone(), why: why.to_string() }.into()
}
