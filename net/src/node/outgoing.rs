//! Messages on their way to a peer: a queue for each channel, so that none waits for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quipu_proto::Channel;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::Sender;

/// Length of what waits on the channel of gossip, in bytes. What is more is not sent: the peer finds it
/// by comparing.
const MAX_GOSSIP: usize = 4 << 20;
/// Length of what waits on any other channel, in bytes. The protocol asks for less; a peer that lets
/// more pile up does not read.
const MAX_OTHER: usize = 32 << 20;

/// The queues of one connection.
#[derive(Debug)]
pub struct Outgoing([Queue; Channel::ALL.len()]);

#[derive(Debug)]
struct Queue {
    messages: UnboundedSender<Vec<u8>>,
    /// Length of what waits.
    len: Arc<AtomicUsize>,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It waits for its turn.
    Yes,
    /// There was too much before it; the peer can do without.
    Dropped,
    /// There is too much before it: the peer does not read.
    Stuck,
}

impl Outgoing {
    /// Starts a task for each channel.
    pub fn start(sender: &Sender, tasks: &mut JoinSet<()>) -> Self {
        Self(Channel::ALL.map(|channel| {
            let (messages, waiting) = unbounded_channel();
            let len = Arc::<AtomicUsize>::default();
            tasks.spawn(send_all(sender.clone(), channel, waiting, len.clone()));
            Queue { messages, len }
        }))
    }

    /// Puts a message in its queue.
    pub fn put(&self, channel: Channel, message: Vec<u8>) -> Queued {
        let [control, gossip, sync, blocks] = &self.0;
        let queue = match channel {
            Channel::Control => control,
            Channel::Gossip => gossip,
            Channel::Sync => sync,
            Channel::Blocks => blocks,
        };
        let waiting = queue.len.load(Ordering::Relaxed) + message.len();
        if channel == Channel::Gossip && waiting > MAX_GOSSIP {
            return Queued::Dropped;
        }
        if waiting > MAX_OTHER {
            return Queued::Stuck;
        }
        queue.len.fetch_add(message.len(), Ordering::Relaxed);
        // When the connection has ended, the node is told.
        let _ = queue.messages.send(message);
        Queued::Yes
    }
}

async fn send_all(
    sender: Sender,
    channel: Channel,
    mut waiting: UnboundedReceiver<Vec<u8>>,
    len: Arc<AtomicUsize>,
) {
    while let Some(message) = waiting.recv().await {
        len.fetch_sub(message.len(), Ordering::Relaxed);
        if let Err(error) = sender.send(channel, message).await {
            if let crate::SendError::TooLong { .. } = error {
                tracing::error!(%error, "a message was not sent");
                continue;
            }
            return;
        }
    }
}
