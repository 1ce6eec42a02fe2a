//! Getting what a node has, with no daemon or through the one that serves the store.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::AuthorKey;
use quipu_net::{
    ConnectError, JoinError, Node, NodeOptions, PeerAddress, PeerBook, SyncError, Synced, join,
    start_from,
};
use quipu_store::{Below, Ledger, MergeReport, Options, StartOptions};
use tokio::runtime::{Builder, Runtime};

use crate::config::Config;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Progress};

/// How often to look whether anybody still waits.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Takes in all that a node has.
pub fn merge(
    ledger: &Arc<Ledger>,
    peer: &PeerAddress,
    context: &Context,
) -> Result<MergeReport, Failure> {
    let before = ledger.baseline()?;
    let missing = ledger.status()?.missing_values;
    let synced = match context.served() {
        Some(served) => served.runtime.block_on(sync(&served.node, peer, context))?,
        None => {
            context.unlock(ledger)?;
            let only = Config::read(None, ledger.dir())?.only;
            runtime()?.block_on(visit(ledger.clone(), peer, only))?
        }
    };
    let synced = synced.map_err(|error| not_admitted(error.into(), peer, ledger.author()))?;
    ledger.sync()?;
    let report = MergeReport {
        new_events: synced.new_events,
        known_events: synced.known_events,
        refused: synced.refused,
        new_values: missing.saturating_sub(ledger.status()?.missing_values),
        ..MergeReport::default()
    };
    Ok(ledger.report_since(&before, report)?)
}

/// Makes a replica of the ledger that a node serves: all of it, or from its last checkpoint on. It
/// remembers the node. Where there is no replica in the end, nothing is left of it, unless the same key
/// may be what the next attempt needs. `written` is how the user names `dir`.
pub fn clone(
    peer: &PeerAddress,
    (written, dir): (&Path, &Path),
    options: &Options,
    only: Option<Vec<String>>,
    from_checkpoint: Option<Below>,
) -> Result<(Arc<Ledger>, MergeReport), Failure> {
    let runtime = runtime()?;
    let newcomer = options.newcomer(dir)?;
    let (key, leftover) = (newcomer.author(), newcomer.leftover());
    let joined = match from_checkpoint {
        None => runtime.block_on(join(newcomer, anywhere(), peer, None)),
        Some(below) => {
            let start = StartOptions { below, ledger: None };
            let progress = Progress::new("starting");
            let report = |done, total| progress.report(done, total);
            let started = start_from(newcomer, anywhere(), peer, None, start, report);
            runtime.block_on(started).map(|(ledger, _)| ledger)
        }
    };
    let ledger = joined.map_err(|error| {
        match leftover {
            Some(leftover) if !may_go_on(&error) => leftover.remove(),
            _ => output::note(format_args!(
                "the key {key} is kept in {} for another attempt",
                written.display()
            )),
        }
        not_admitted(error, peer, key)
    })?;
    let ledger = Arc::new(ledger);
    let mut book = PeerBook::open(dir)?;
    book.keep_at(peer);
    book.save()?;
    if let Some(only) = &only {
        Config::write_only(only, dir)?;
    }
    let synced = runtime.block_on(visit(ledger.clone(), peer, only))?;
    let synced = synced.map_err(|error| {
        output::note(format_args!(
            "the replica is there, and `quipu merge {peer}` goes on with it"
        ));
        Failure::Join(Box::new(error.into()))
    })?;
    ledger.sync()?;
    let waiting = ledger.status()?.waiting;
    // The first event came before.
    let new_events = synced.new_events + u64::from(from_checkpoint.is_none());
    Ok((ledger, MergeReport { new_events, waiting, ..MergeReport::default() }))
}

/// Has a daemon's node get what a peer has, for as long as somebody waits for it.
async fn sync(
    node: &Node,
    peer: &PeerAddress,
    context: &Context,
) -> Result<Result<Synced, SyncError>, Failure> {
    let mut synced = std::pin::pin!(node.sync_with(peer.clone()));
    loop {
        match tokio::time::timeout(LOOK_EVERY, &mut synced).await {
            Ok(synced) => return Ok(synced),
            Err(_) => context.console().check_gone()?,
        }
    }
}

/// A node of one's own for as long as it takes.
async fn visit(
    ledger: Arc<Ledger>,
    peer: &PeerAddress,
    only: Option<Vec<String>>,
) -> Result<Result<Synced, SyncError>, Failure> {
    let mut options = NodeOptions::visitor(anywhere());
    options.only = only;
    let node = Node::start(ledger, options).await?;
    let synced = node.sync_with(peer.clone()).await;
    node.stop().await;
    Ok(synced)
}

fn runtime() -> Result<Runtime, Failure> {
    let started = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    started.map_err(|error| Failure::Daemon(format!("no threads can be started: {error}")))
}

/// Any free port, from which addresses of both kinds can be reached where there are both.
pub fn anywhere() -> SocketAddr {
    let (both, old) = (SocketAddr::from(([0_u16; 8], 0)), SocketAddr::from(([0_u8; 4], 0)));
    if UdpSocket::bind(both).is_ok() { both } else { old }
}

/// Whether another attempt may need the same key: the node has been shown it, and may tell its operator
/// of it, or has let it in.
fn may_go_on(error: &JoinError) -> bool {
    match error {
        JoinError::Sync(SyncError::Connect { why, .. }) => **why == ConnectError::NotAllowed,
        JoinError::Sync(SyncError::Ended { .. } | SyncError::Stalled { .. }) => true,
        _ => false,
    }
}

/// Tells with which key this replica came, where that is why it was turned away.
fn not_admitted(error: JoinError, peer: &PeerAddress, key: AuthorKey) -> Failure {
    match &error {
        JoinError::Sync(SyncError::Connect { why, .. }) if **why == ConnectError::NotAllowed => {
            Failure::NotAdmitted { peer: peer.clone(), key }
        }
        _ => Failure::Join(Box::new(error)),
    }
}
