//! Values that somebody reads and that are not here: they are fetched from peers.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_merge::{BlockId, Link};
use quipu_store::{Ledger, ReadError};
use tokio::sync::{mpsc, watch};

use super::commands::Command;
use super::handle::blocking;
use super::status::{NodeStatus, PeerState};

/// So many blocks are asked for at once; more when half of them have come.
const AT_ONCE: usize = 256;
/// How often it is looked whether they have come.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often the node is told again: it forgets after a while what nobody reads any more.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// When all peers have surely been asked, if nothing else is under way.
const ASKED: Duration = Duration::from_secs(6);
/// How long peers are waited for where none is connected.
const ALONE: Duration = Duration::from_secs(3);

/// Fetches what is read and not here, for as long as the node runs. It does not keep it from ending.
#[derive(Clone)]
pub struct Fetcher {
    ledger: Arc<Ledger>,
    commands: mpsc::WeakSender<Command>,
    status: watch::Receiver<NodeStatus>,
}

/// What is read cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There is nobody to ask.
    #[error("no peer is connected")]
    NoPeers,
    /// Nobody who is there has given it.
    #[error("no peer that is connected has it")]
    NobodyHas,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    pub(super) fn new(
        ledger: Arc<Ledger>,
        commands: &mpsc::Sender<Command>,
        status: watch::Receiver<NodeStatus>,
    ) -> Self {
        Self { ledger, commands: commands.downgrade(), status }
    }

    /// How long to wait for the next block, unless somebody has a reason to wait less.
    pub const PATIENCE: Duration = Duration::from_secs(30);

    /// Waits until the blocks that hold a range of a long value are here. Tells whether any was
    /// not. Whoever stops waiting need not say so.
    ///
    /// # Errors
    /// No block has come for as long as `patience`, or nobody who is connected has what is left.
    /// What has come stays.
    pub async fn long_value(
        &self,
        link: Link,
        range: Range<u64>,
        patience: Duration,
    ) -> Result<bool, FetchError> {
        let mut before = Vec::new();
        loop {
            let (ledger, range) = (self.ledger.clone(), range.clone());
            let missing = move || ledger.snapshot()?.missing_blocks(link, &range);
            let missing = blocking(missing).await?;
            if missing.is_empty() {
                return Ok(!before.is_empty());
            }
            // It is here, and has rotted.
            if missing == before {
                return Err(FetchError::NobodyHas);
            }
            before.clone_from(&missing);
            self.blocks(missing, patience).await?;
        }
    }

    /// Waits until a block is here to which something refers. Tells whether it was not.
    ///
    /// # Errors
    /// Those of [`Self::long_value`].
    pub async fn block(&self, id: BlockId, patience: Duration) -> Result<bool, FetchError> {
        let ledger = self.ledger.clone();
        let lacks = blocking(move || ledger.lacks_block(id).map_err(ReadError::from)).await?;
        if lacks {
            self.blocks(vec![id], patience).await?;
        }
        Ok(lacks)
    }

    async fn blocks(&self, mut left: Vec<BlockId>, patience: Duration) -> Result<(), FetchError> {
        let (mut wanted, mut told) = (Vec::new(), None::<Instant>);
        let mut progress = Instant::now();
        loop {
            let (ledger, count) = (self.ledger.clone(), left.len());
            left = blocking(move || ledger.absent_blocks(&left).map_err(ReadError::from)).await?;
            if left.is_empty() {
                return Ok(());
            }
            if left.len() < count {
                progress = Instant::now();
            }
            wanted.retain(|id| left.contains(id));
            let more = wanted.len() <= AT_ONCE / 2 && wanted.len() < left.len();
            if more || told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                wanted = left.iter().take(AT_ONCE).copied().collect();
                told = Some(Instant::now());
                let node = self.commands.upgrade().ok_or(FetchError::Stopped)?;
                let sent = node.send(Command::Want(wanted.clone())).await;
                sent.map_err(|_| FetchError::Stopped)?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            self.check(progress.elapsed(), patience)?;
        }
    }

    /// Fails where there is no use in waiting longer than for so long.
    fn check(&self, waited: Duration, patience: Duration) -> Result<(), FetchError> {
        let status = self.status.borrow();
        let connected =
            |peer: &super::PeerStatus| matches!(peer.state, PeerState::Connected { .. });
        if !status.peers.iter().any(connected) {
            return if waited >= patience.min(ALONE) { Err(FetchError::NoPeers) } else { Ok(()) };
        }
        let all_asked = status.settled && waited >= ASKED;
        if all_asked || waited >= patience { Err(FetchError::NobodyHas) } else { Ok(()) }
    }
}
