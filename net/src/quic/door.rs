//! Lets peers in: drives their handshakes, many at a time.

use quipu_proto::Channel;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connecting, Incoming, WriteError};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::arrivals::Arrivals;
use super::cause;
use super::close::CloseCode;
use super::connection::Established;
use super::error::AcceptError;
use super::gate::{Entry, Gate, HandshakeSlot};
use super::identity::Witness;
use super::link::canonical;
use super::refusal::Refusal;
use super::sender;
use super::tls::Tls;

/// What is needed to let peers in.
pub(crate) struct Door {
    pub quic: quinn::Endpoint,
    pub config: quinn::ServerConfig,
    pub tls: Arc<Tls>,
    pub gate: Arc<Gate>,
    pub timeout: Duration,
    pub arrivals: Arc<Arrivals>,
    pub refusals: broadcast::Sender<Refusal>,
}

impl Door {
    /// Lets peers in until the endpoint is closed.
    pub async fn keep(self) {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.quic.accept() => match incoming {
                    Some(incoming) => self.answer(incoming, &mut handshakes),
                    None => break,
                },
                // Keeps the set from growing with those that are done.
                Some(_) = handshakes.join_next() => {}
            }
        }
        self.arrivals.close();
        handshakes.shutdown().await;
    }

    /// Begins a handshake, if there is room for one. Does not wait for anybody.
    fn answer(&self, incoming: Incoming, handshakes: &mut JoinSet<()>) {
        let address = canonical(incoming.remote_address());
        match self.gate.enter(address.ip(), incoming.remote_address_validated()) {
            Entry::Full(full) => {
                incoming.refuse();
                self.refused(address, full.into());
            }
            Entry::Validate => {
                // It is an error only where the address has been shown already.
                let _ = incoming.retry();
            }
            Entry::Begin(slot) => {
                let witness = Arc::default();
                match self.begin(incoming, &witness) {
                    Ok(connecting) => {
                        let handshake = Handshake { connecting, witness, slot };
                        handshakes.spawn(self.finish(handshake, address));
                    }
                    Err(why) => self.refused(address, why),
                }
            }
        }
    }

    /// Drives a handshake to its end, for as long as it may take.
    fn finish(
        &self,
        handshake: Handshake,
        address: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<> {
        let limit = self.timeout;
        let (arrivals, refusals) = (self.arrivals.clone(), self.refusals.clone());
        async move {
            let finished = timeout(limit, handshake.finish()).await;
            match finished.unwrap_or(Err(AcceptError::TimedOut)) {
                Ok(established) => arrivals.put(established),
                Err(why) => {
                    // Nobody may be listening.
                    let _ = refusals.send(Refusal { address, why });
                }
            }
        }
    }

    /// Answers the first message of a handshake.
    fn begin(&self, incoming: Incoming, witness: &Arc<Witness>) -> Result<Connecting, AcceptError> {
        let mut config = self.config.clone();
        // Of its own, so that it tells of this handshake alone.
        let tls = self.tls.accepting(witness);
        config.crypto = tls.map_err(|error| AcceptError::Internal(error.to_string()))?;
        let begun = incoming.accept_with(Arc::new(config));
        begun.map_err(|error| cause::of_accepting(error, witness))
    }

    fn refused(&self, address: SocketAddr, why: AcceptError) {
        // Nobody may be listening.
        let _ = self.refusals.send(Refusal { address, why });
    }
}

/// A handshake that a peer began.
struct Handshake {
    connecting: Connecting,
    witness: Arc<Witness>,
    slot: HandshakeSlot,
}

impl Handshake {
    async fn finish(self) -> Result<Established, AcceptError> {
        let witness = &*self.witness;
        let quic = self.connecting.await.map_err(|error| cause::of_accepting(error, witness))?;
        let Some(&peer) = witness.peer.get() else { return Err(AcceptError::NoKey) };
        let slot = self.slot.establish().inspect_err(|full| {
            let words = format!("there are too many {full}");
            quic.close(CloseCode::TooMany.to_wire(), words.as_bytes());
        })?;
        // Tells the peer that it has been let in: its own part of the handshake was over before
        // its key was judged.
        let control = sender::open(&quic, Channel::Control).await.map_err(|error| match error {
            WriteError::ConnectionLost(error) => cause::of_accepting(error, witness),
            error => AcceptError::Internal(error.to_string()),
        })?;
        Ok(Established { quic, peer, sends: Some(control), receives: None, slot: Some(slot) })
    }
}
