//! Values that are read and not here: in a daemon, its node fetches them.

use std::ops::Range;
use std::time::Duration;

use quipu_merge::Link;
use quipu_net::{FetchError, Fetcher};
use quipu_store::Ledger;

use crate::context::Context;
use crate::exit::Failure;

/// How often it is looked whether the client is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reads, and reads again after what was not here has been fetched. Nothing may have been printed when
/// `read` finds that something is not here.
pub fn with_fetched<T>(
    ledger: &Ledger,
    context: &mut Context,
    mut read: impl FnMut(&mut Context) -> Result<T, Failure>,
) -> Result<T, Failure> {
    loop {
        let mut absent = match read(context) {
            Err(Failure::NotHere(absent)) => absent,
            other => return other,
        };
        let Some((link, range)) = absent.part.clone() else {
            return Err(Failure::NotHere(absent));
        };
        match fetch(ledger, context, link, range, Fetcher::PATIENCE)? {
            Some(Ok(true)) => {}
            // What is here after all has rotted.
            None | Some(Ok(false)) => return Err(Failure::NotHere(absent)),
            Some(Err(error)) => {
                absent.fetched = Some(error);
                return Err(Failure::NotHere(absent));
            }
        }
    }
}

/// Fetches a range of a long value, as [`Fetcher::long_value`] does; `None` where no node runs that
/// could. Fails where the client goes meanwhile.
pub fn fetch(
    ledger: &Ledger,
    context: &Context,
    link: Link,
    range: Range<u64>,
    patience: Duration,
) -> Result<Option<Result<bool, FetchError>>, Failure> {
    let served = context.served().filter(|served| std::ptr::eq(&*served.ledger, ledger));
    let Some(served) = served else { return Ok(None) };
    let fetcher = served.node.fetcher();
    let gone = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(gone) = context.console().check_gone() {
                return gone;
            }
        }
    };
    served.runtime.block_on(async {
        tokio::select! {
            fetched = fetcher.long_value(link, range, patience) => Ok(Some(fetched)),
            gone = gone => Err(gone),
        }
    })
}
