//! The sending half of a connection.

use quipu_proto::Channel;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use quinn::{SendStream, WriteError};
use tokio::sync::mpsc;

use super::channel::{PerChannel, priority};
use super::error::{SendError, Violation};
use super::link::{Link, Wire};

/// Messages of one channel that wait while another is being written. More would only add memory:
/// whoever sends is to feel that the peer is slow.
const QUEUE_LEN: usize = 1;

/// The sending half of a connection. Clones send over the same one.
#[derive(Clone, Debug)]
pub struct Sender(pub(crate) Arc<Link>);

impl Sender {
    /// Sends a message. Those on one channel arrive in the order in which they were sent.
    ///
    /// Waits while the channel is full because the peer does not read it or the network is slow;
    /// other channels do not wait for it. That it returns says that the message will be sent while
    /// the connection lasts, not that it has arrived.
    ///
    /// Whoever gives up waiting has not sent the message.
    ///
    /// # Errors
    ///
    /// The message is too long, and nothing else has changed; or the connection has ended.
    pub async fn send(&self, channel: Channel, message: impl Into<Bytes>) -> Result<(), SendError> {
        let message = message.into();
        let limit = self.0.frames.of(channel);
        if message.len() > limit as usize {
            return Err(SendError::TooLong { channel, len: message.len(), limit });
        }
        match self.0.queues.get(channel).send(message).await {
            Ok(()) => Ok(()),
            // The task that writes ends with the connection, and not before.
            Err(_) => Err(self.0.closed().await.into()),
        }
    }
}

impl Deref for Sender {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

/// A queue for each channel: where messages are put, and where the task that writes takes them.
pub(crate) fn queues() -> (PerChannel<mpsc::Sender<Bytes>>, PerChannel<mpsc::Receiver<Bytes>>) {
    PerChannel::of(|_| mpsc::channel(QUEUE_LEN)).unzip()
}

/// Writes what is put in the queues until the connection ends. `control` is that channel's stream,
/// if it is open already.
pub(crate) async fn write_all(
    wire: Arc<Wire>,
    queues: PerChannel<mpsc::Receiver<Bytes>>,
    control: Option<SendStream>,
) {
    let mut control = control;
    let (control, gossip, sync, blocks) = queues
        .map(|channel, queue| {
            let stream = if channel == Channel::Control { control.take() } else { None };
            write(&wire, channel, queue, stream)
        })
        .into_tuple();
    let writing = async { tokio::join!(control, gossip, sync, blocks) };
    tokio::select! {
        _ = wire.closed() => {}
        _ = writing => {}
    }
}

/// Writes the messages of one channel. Does not return before the connection has ended.
async fn write(
    wire: &Wire,
    channel: Channel,
    mut queue: mpsc::Receiver<Bytes>,
    mut stream: Option<SendStream>,
) {
    let written: Result<(), WriteError> = async {
        while let Some(message) = queue.recv().await {
            let stream = match &mut stream {
                Some(stream) => stream,
                none => none.insert(open(&wire.quic, channel).await?),
            };
            write_message(stream, message).await?;
        }
        Ok(())
    }
    .await;
    match written {
        Err(WriteError::Stopped(_)) => {
            wire.violated(Violation::StreamEnded);
        }
        // The connection has ended, or is about to: the queue closes when nobody has any part of
        // it. Until then the stream stays, as dropping it would end it.
        Ok(()) | Err(_) => {
            wire.closed().await;
        }
    }
}

/// Opens the stream of a channel.
pub(crate) async fn open(
    quic: &quinn::Connection,
    channel: Channel,
) -> Result<SendStream, WriteError> {
    let mut stream = quic.open_uni().await?;
    stream.set_priority(priority(channel))?;
    stream.write_all(&[channel.byte()]).await?;
    Ok(stream)
}

async fn write_message(stream: &mut SendStream, message: Bytes) -> Result<(), WriteError> {
    // The length was checked against a limit of 32 bits when the message was sent.
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let header = Bytes::copy_from_slice(&len.to_be_bytes());
    stream.write_all_chunks(&mut [header, message]).await
}
