//! Opening the store anew while the daemon runs: its whole history has come, and takes the place of what the
//! store began with when it is opened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quipu_store::{Ledger, OpenError, Options};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::served::Served;
use super::server::{MAX_COMMANDS, failed};
use super::services::{Offer, Services};
use crate::exit::Failure;

/// How long new commands wait, at a time, for those that run.
const QUIET: Duration = Duration::from_millis(500);
/// Until new commands wait once more.
const AGAIN: Duration = Duration::from_secs(2);
/// How long it may take until nothing uses the store any more.
const CLOSING: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until the store is to be opened anew, and no command runs. None begins while what is returned is kept.
pub async fn due(served: &Served, room: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    served.node.filled().await;
    info!("the history is whole: the store is opened anew when no command runs");
    loop {
        if let Ok(Ok(all)) = timeout(QUIET, room.clone().acquire_many_owned(MAX_COMMANDS)).await {
            return all;
        }
        served.make_way.store(true, Ordering::Relaxed);
        sleep(AGAIN).await;
    }
}

/// Ends what runs, opens the store anew, and starts it again at the same places. Where something still uses
/// the store, it stays as it is.
pub async fn renew(services: Services, offer: &mut Offer) -> Result<Services, Failure> {
    let begun = Instant::now();
    let ledger = services.served.ledger.clone();
    services.stop().await;
    let ledger = match closed(ledger).await {
        Ok(ledger) => {
            let opened = tokio::task::spawn_blocking(move || reopen(ledger)).await;
            Arc::new(opened.map_err(failed)??)
        }
        Err(ledger) => {
            warn!("something uses the store: its history counts when the daemon starts next");
            ledger
        }
    };
    let shallow = ledger.shallow().is_some();
    let services = offer.start(ledger).await?;
    info!(shallow, took = ?begun.elapsed(), "the store has been opened anew");
    Ok(services)
}

/// The ledger, when nobody else has it any more.
async fn closed(mut ledger: Arc<Ledger>) -> Result<Ledger, Arc<Ledger>> {
    let since = Instant::now();
    loop {
        match Arc::try_unwrap(ledger) {
            Ok(ledger) => return Ok(ledger),
            Err(used) if since.elapsed() >= CLOSING => return Err(used),
            Err(used) => ledger = used,
        }
        sleep(LOOK_EVERY).await;
    }
}

fn reopen(ledger: Ledger) -> Result<Ledger, Failure> {
    // Nobody has to be asked for the passphrase once more.
    let (dir, key) = (ledger.dir().to_owned(), ledger.handshake_key()?);
    ledger.sync()?;
    drop(ledger);
    let since = Instant::now();
    let ledger = loop {
        match Options::new().open(&dir) {
            // Somebody looks at it who does not know of the daemon.
            Err(OpenError::Locked(_)) if since.elapsed() < CLOSING => {
                std::thread::sleep(LOOK_EVERY);
            }
            opened => break opened?,
        }
    };
    ledger.unlock_with(key)?;
    Ok(ledger)
}
