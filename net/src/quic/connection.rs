//! A connection to a peer whose key is known.

use std::ops::Deref;
use std::sync::Arc;

use quinn::{RecvStream, SendStream};
use quipu_merge::AuthorKey;

use super::gate::ConnectionSlot;
use super::limits::FrameLimits;
use super::link::{Link, Wire};
use super::receiver::Receiver;
use super::sender::{self, Sender};
use super::tasks::Tasks;
use super::verify::Admission;

/// A connection to a peer that has proved its key. It ends when its [`Receiver`] is dropped, and
/// with its endpoint.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    /// The two halves, for different tasks.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// The sending half.
    pub const fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The receiving half.
    pub const fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }
}

impl Deref for Connection {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.sender
    }
}

/// What a finished handshake leaves.
pub(crate) struct Established {
    pub quic: quinn::Connection,
    pub peer: AuthorKey,
    /// The control stream to the peer, where this side was dialled and has opened it.
    pub sends: Option<SendStream>,
    /// The control stream of the peer, where this side dialled and has waited for it.
    pub receives: Option<RecvStream>,
    /// Counts the connection, where this side was dialled.
    pub slot: Option<ConnectionSlot>,
}

impl Established {
    /// Starts the task that writes; `None` if the endpoint has been closed.
    pub fn start(
        self,
        tasks: &Tasks,
        admission: Admission,
        frames: FrameLimits,
    ) -> Option<Connection> {
        let wire = Wire::new(self.quic);
        let (queues, ends) = sender::queues();
        let writing = sender::write_all(wire.clone(), ends, self.sends);
        let slot = self.slot;
        let link = Arc::new(Link { wire, peer: self.peer, admission, frames, queues });
        let started = tasks.spawn(async move {
            let _counted = slot;
            writing.await;
        });
        started.then(|| Connection {
            receiver: Receiver::new(link.clone(), self.receives),
            sender: Sender(link),
        })
    }
}
