//! The handle of a running node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::{AuthorKey, EventId, Height};
use quipu_store::Ledger;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::address::{PeerAddress, Place};
use super::book::BookError;
use super::certify::{Finality, WaitError};
use super::commands::Command;
use super::core::Tellers;
use super::error::{StartError, SyncError};
use super::fetch::Fetcher;
use super::options::NodeOptions;
use super::run;
use super::status::NodeStatus;

/// Commands that wait for the node.
const MAX_COMMANDS: usize = 64;

/// A running node: it keeps a ledger equal with those of its peers.
///
/// It runs on the tokio runtime in which it was started, with the store's work on threads of its own.
/// Dropping it stops it without waiting; [`Self::stop`] waits.
#[derive(Debug)]
pub struct Node {
    address: SocketAddr,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<NodeStatus>,
    fetcher: Fetcher,
    finality: Finality,
    filled: watch::Receiver<bool>,
    core: Mutex<Option<JoinHandle<()>>>,
}

/// What one synchronisation with a peer has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Events that were admitted meanwhile, whoever sent them.
    pub new_events: u64,
    /// Events that came and were held already.
    pub known_events: u64,
    /// Events that came and break a rule.
    pub refused: u64,
}

impl Node {
    /// Starts a node for a ledger.
    ///
    /// # Errors
    /// The address, the replica's key, the address book or the store. Nothing runs then.
    pub async fn start(ledger: Arc<Ledger>, options: NodeOptions) -> Result<Self, StartError> {
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        let (teller, status) = watch::channel(NodeStatus::new(ledger.author(), options.listen));
        let last = ledger.certification().height;
        let (heights, height) = watch::channel(last);
        let (filled, is_filled) = watch::channel(false);
        let tellers = Tellers { status: teller, heights, filled };
        let core = run::start(&ledger, options.clone(), tellers.clone()).await?;
        let address = status.borrow().listen;
        let fetcher = Fetcher::new(ledger.clone(), &commands, status.clone());
        let finality = Finality::new(ledger.clone(), height, status.clone());
        let running = tokio::spawn(run::run(core, ledger, options, tellers, inbox));
        let core = Mutex::new(Some(running));
        Ok(Self { address, commands, status, fetcher, finality, filled: is_filled, core })
    }

    /// The node's key: that of the replica. When that one changes, the node goes on with the new one
    /// within ten seconds, and connects anew.
    pub fn key(&self) -> AuthorKey {
        self.status.borrow().key
    }

    /// The UDP address that it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// How it and its peers are doing, at most a quarter of a second ago.
    pub fn status(&self) -> NodeStatus {
        self.status.borrow().clone()
    }

    /// Reads [`Self::status`] whenever it is asked for, also after the node has stopped.
    pub fn watch_status(&self) -> impl Fn() -> NodeStatus + Send + Sync + use<> {
        let status = self.status.clone();
        move || status.borrow().clone()
    }

    /// Fetches what is read and not here.
    pub fn fetcher(&self) -> Fetcher {
        self.fetcher.clone()
    }

    /// Tells when events are certified.
    pub fn finality(&self) -> Finality {
        self.finality.clone()
    }

    /// Waits until an event is certified: see [`Finality::wait`].
    ///
    /// # Errors
    /// Those of [`Finality::wait`].
    pub async fn wait_final(
        &self,
        event: EventId,
        timeout: Option<Duration>,
    ) -> Result<Height, WaitError> {
        self.finality.wait(event, timeout).await
    }

    /// Says that nothing was signed as a validator with this replica's key but what its log holds: a
    /// store that was moved, say, and is the only one with its key. Whoever is wrong in this makes a
    /// validator that signs twice. Tells whether it had abstained, and signs now.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn vouch(&self) -> Result<bool, NodeError> {
        self.ask(|reply| Command::Vouch { reply }).await
    }

    /// Keeps a peer in the address book: it may connect from now on, and is dialled where a place is
    /// given.
    ///
    /// # Errors
    /// The address book cannot be written. The peer is kept until the node stops.
    pub async fn keep_peer(&self, key: AuthorKey, place: Option<Place>) -> Result<(), NodeError> {
        self.ask(|reply| Command::Keep { key, place, reply }).await?.map_err(NodeError::Book)
    }

    /// Forgets a peer. It is disconnected, unless the ledger lets it in. Tells whether it was known.
    ///
    /// # Errors
    /// The address book cannot be written. The peer is forgotten until the node stops.
    pub async fn remove_peer(&self, key: AuthorKey) -> Result<bool, NodeError> {
        self.ask(|reply| Command::Remove { key, reply }).await?.map_err(NodeError::Book)
    }

    /// Gets all that a peer has and this node has not, values included as far as they are to be had
    /// from it. What others write meanwhile may come as well.
    ///
    /// # Errors
    /// It cannot be reached, or the connection ended before. What has come stays.
    pub async fn sync_with(&self, peer: PeerAddress) -> Result<Synced, SyncError> {
        let asked = self.ask(|reply| Command::Sync { peer, reply }).await;
        asked.map_err(|_| SyncError::Stopping)?
    }

    /// Waits until all has come that precedes the checkpoint from which the store starts. It takes its place
    /// when the ledger is opened next. Where nothing is to come, this waits for ever.
    pub async fn filled(&self) {
        let mut filled = self.filled.clone();
        if filled.wait_for(|filled| *filled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the node has ended, whatever the reason.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Ends all connections, and waits until nothing runs any more.
    pub async fn stop(&self) {
        let _ = self.commands.send(Command::Stop).await;
        let core = self.core.lock().await.take();
        if let Some(core) = core
            && core.await.is_err()
        {
            tracing::error!("the node panicked");
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| NodeError::Stopped)?;
        answer.await.map_err(|_| NodeError::Stopped)
    }
}

/// A node could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// It has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// The address book.
    #[error(transparent)]
    Book(BookError),
}

/// Runs something that waits for the disk where nobody else waits for it.
pub async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}
