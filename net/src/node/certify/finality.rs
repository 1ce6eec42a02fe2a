//! Waiting until an event is certified.

use std::sync::Arc;
use std::time::Duration;

use quipu_merge::{EventId, Height};
use quipu_proto::CertifyState;
use quipu_store::{Ledger, ReadError};
use tokio::sync::watch;

use crate::node::handle::blocking;
use crate::node::status::NodeStatus;

/// Tells when events are certified.
#[derive(Clone)]
pub struct Finality {
    ledger: Arc<Ledger>,
    heights: watch::Receiver<Option<Height>>,
    status: watch::Receiver<NodeStatus>,
}

impl std::fmt::Debug for Finality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Finality").field(&*self.heights.borrow()).finish()
    }
}

/// It is not known that an event is certified. It may be later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Nothing is ever certified.
    #[error("the ledger has no validators: nothing is ever certified")]
    NoValidators,
    /// Certification has stopped here.
    #[error("certification has stopped here: {0}")]
    Stopped(String),
    /// The time is over.
    #[error("event {0} is written and has not been certified in time")]
    TimedOut(EventId),
    /// The node has stopped.
    #[error("the node has stopped")]
    NodeStopped,
    /// The event is not held, or the store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Finality {
    pub(in crate::node) const fn new(
        ledger: Arc<Ledger>,
        heights: watch::Receiver<Option<Height>>,
        status: watch::Receiver<NodeStatus>,
    ) -> Self {
        Self { ledger, heights, status }
    }

    /// The last checkpoint that counts here.
    pub fn height(&self) -> Option<Height> {
        *self.heights.borrow()
    }

    /// Why nothing is certified here any more, where that is so.
    pub fn stopped(&self) -> Option<String> {
        stopped(&self.status.borrow())
    }

    /// Waits until there is another checkpoint than when this was asked last, by this clone.
    ///
    /// # Errors
    /// [`WaitError::NodeStopped`].
    pub async fn next_height(&mut self) -> Result<Option<Height>, WaitError> {
        self.heights.changed().await.map_err(|_| WaitError::NodeStopped)?;
        Ok(*self.heights.borrow_and_update())
    }

    /// Waits until an event is certified, without a timeout for as long as it takes. Tells in which
    /// checkpoint it is for the first time.
    ///
    /// # Errors
    /// [`WaitError`]: at once where there are no validators, or certification has stopped here.
    pub async fn wait(
        &self,
        event: EventId,
        timeout: Option<Duration>,
    ) -> Result<Height, WaitError> {
        if self.ledger.genesis().validators.is_empty() {
            return Err(WaitError::NoValidators);
        }
        let waiting = self.clone().wait_on(event);
        match timeout {
            None => waiting.await,
            Some(timeout) => tokio::time::timeout(timeout, waiting)
                .await
                .unwrap_or(Err(WaitError::TimedOut(event))),
        }
    }

    async fn wait_on(mut self, event: EventId) -> Result<Height, WaitError> {
        loop {
            // What comes from here on is not missed.
            self.heights.borrow_and_update();
            let ledger = self.ledger.clone();
            let certified = blocking(move || ledger.snapshot()?.certified_in(event)).await?;
            if let Some(height) = certified {
                return Ok(height);
            }
            loop {
                if let Some(why) = stopped(&self.status.borrow_and_update()) {
                    return Err(WaitError::Stopped(why));
                }
                tokio::select! {
                    changed = self.heights.changed() => {
                        changed.map_err(|_| WaitError::NodeStopped)?;
                        break;
                    }
                    changed = self.status.changed() => {
                        changed.map_err(|_| WaitError::NodeStopped)?;
                    }
                }
            }
        }
    }
}

/// Why nothing is certified any more, where that is so.
fn stopped(status: &NodeStatus) -> Option<String> {
    let certification = &status.certification;
    let stopped = matches!(certification.state, CertifyState::Stopped(_));
    let stopped = stopped || certification.broken.is_some();
    stopped.then(|| certification.advice().unwrap_or_default())
}
