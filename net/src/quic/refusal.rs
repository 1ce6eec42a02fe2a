//! What is told of peers that were not let in.

use std::net::SocketAddr;

use tokio::sync::broadcast::{self, error::RecvError};

use super::error::AcceptError;

/// How many refusals are kept for those who have not asked yet. Older ones are dropped: they are
/// for people to read, and whoever is refused decides how many there are.
pub const MAX_REFUSALS: usize = 64;

/// A peer that dialled and was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Where it came from. Unless the handshake got far, it may be forged.
    pub address: SocketAddr,
    /// Why it was not let in.
    pub why: AcceptError,
}

/// The refusals of an endpoint, from when this was made on.
#[derive(Debug)]
pub struct Refusals(pub(crate) broadcast::Receiver<Refusal>);

impl Refusals {
    /// The next refusal; `None` once the endpoint is closed. Where more than [`MAX_REFUSALS`] wait,
    /// the oldest are skipped.
    ///
    /// Whoever gives up waiting loses nothing.
    pub async fn next(&mut self) -> Option<Refusal> {
        loop {
            match self.0.recv().await {
                Ok(refusal) => return Some(refusal),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
