//! The connection with a peer, and what went over those before.

use std::time::Instant;

use quipu_merge::AuthorKey;
use quipu_proto::Channel;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::outgoing::{Outgoing, Queued};
use crate::{CloseCode, Connection, ConnectionError, Link, Receiver, Sender};

/// What comes from peers.
#[derive(Debug)]
pub enum Arrival {
    /// A message.
    Message { peer: AuthorKey, connection: u64, channel: Channel, bytes: Vec<u8> },
    /// A connection has ended.
    Ended { peer: AuthorKey, connection: u64, why: ConnectionError },
}

/// A connection with a peer.
#[derive(Debug)]
pub struct Connected {
    /// Tells it from others with the same peer.
    pub number: u64,
    pub inbound: bool,
    pub since: Instant,
    /// When all that it had was known to be here.
    pub level: Option<Instant>,
    /// How far its clock is ahead, in microseconds.
    pub clock_ahead: i64,
    /// Events that were admitted because of what it sent, and that it was sent.
    pub events_in: u64,
    pub events_out: u64,
    /// Whether the operator has been told of its clock.
    pub warned: bool,
    sender: Sender,
    outgoing: Outgoing,
}

impl Connected {
    /// Starts to read and to write. What is read goes to `arrivals`; while they are full, nothing is
    /// read.
    pub fn start(
        connection: Connection,
        number: u64,
        inbound: bool,
        arrivals: mpsc::Sender<Arrival>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (sender, receiver) = connection.split();
        let outgoing = Outgoing::start(&sender, tasks);
        tasks.spawn(read_all(receiver, number, arrivals));
        let since = Instant::now();
        Self {
            number,
            inbound,
            since,
            level: None,
            clock_ahead: 0,
            events_in: 0,
            events_out: 0,
            warned: false,
            sender,
            outgoing,
        }
    }

    /// What can be asked of the connection.
    pub fn link(&self) -> &Link {
        &self.sender
    }

    /// Sends a message when its turn comes.
    pub fn send(&self, channel: Channel, message: Vec<u8>) -> Queued {
        self.outgoing.put(channel, message)
    }

    /// Ends it.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.sender.close(code, reason);
    }
}

async fn read_all(mut receiver: Receiver, connection: u64, arrivals: mpsc::Sender<Arrival>) {
    let peer = receiver.peer();
    loop {
        let (arrival, over) = match receiver.next().await {
            Ok((channel, bytes)) => (Arrival::Message { peer, connection, channel, bytes }, false),
            Err(why) => (Arrival::Ended { peer, connection, why }, true),
        };
        if arrivals.send(arrival).await.is_err() || over {
            return;
        }
    }
}

/// What went over connections with a peer that have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub received: u64,
    pub sent: u64,
    pub events_in: u64,
    pub events_out: u64,
}
