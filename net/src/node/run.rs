//! Running the node: with another key it is another node to its peers, and starts anew.

use std::sync::Arc;
use std::time::Duration;

use quipu_merge::AuthorKey;
use quipu_store::Ledger;
use tokio::sync::mpsc;

use super::book::PeerBook;
use super::commands::Command;
use super::core::{Core, Ended, Tellers};
use super::error::StartError;
use super::handle::blocking;
use super::options::NodeOptions;

/// Until it is tried again to start with another key.
const AGAIN: Duration = Duration::from_secs(1);

/// Starts what runs, with the replica's key as it is now.
pub async fn start(
    ledger: &Arc<Ledger>,
    options: NodeOptions,
    tellers: Tellers,
) -> Result<Core, StartError> {
    let read = {
        let ledger = ledger.clone();
        move || Ok::<_, StartError>((ledger.handshake_key()?, PeerBook::open(ledger.dir())?))
    };
    let (key, book) = blocking(read).await?;
    Core::start(ledger.clone(), Arc::new(key), book, options, tellers).await
}

/// Runs until it is told to stop, or nobody is left who could tell it.
pub async fn run(
    mut core: Core,
    ledger: Arc<Ledger>,
    mut options: NodeOptions,
    tellers: Tellers,
    mut commands: mpsc::Receiver<Command>,
) {
    // Others find it where it was. Whom it was told to join, the address book knows by now.
    options.listen = tellers.status.borrow().listen;
    options.join.clear();
    while core.run(&mut commands).await == Ended::KeyChanged {
        core = loop {
            match start(&ledger, options.clone(), tellers.clone()).await {
                Ok(core) => break core,
                Err(error) => tracing::error!(%error, "the node cannot start with its new key"),
            }
            if is_stopped(&mut commands).await {
                return;
            }
        };
        let key: AuthorKey = tellers.status.borrow().key;
        tracing::info!(%key, "the node goes on with a new key");
    }
}

/// Waits a while. Tells whether the node is to stop; whatever else it is asked for it cannot do.
async fn is_stopped(commands: &mut mpsc::Receiver<Command>) -> bool {
    let told = async { while !matches!(commands.recv().await, None | Some(Command::Stop)) {} };
    tokio::time::timeout(AGAIN, told).await.is_ok()
}
