//! What is read and not here: the node fetches it before there is an answer.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use quipu_merge::{BlockId, Link};

use super::app::App;
use super::problem::{self, Answer, Problem};
use crate::node::{FetchError, Fetcher};

impl App {
    /// Waits until a range of a long value is here.
    pub async fn have(self: &Arc<Self>, link: Link, range: Range<u64>) -> Answer<()> {
        let wanted = range.clone();
        let missing =
            self.read(move |app| Ok(app.ledger.snapshot()?.missing_blocks(link, &wanted)?));
        if missing.await?.is_empty() {
            return Ok(());
        }
        self.fetch(|fetcher| fetcher.long_value(link, range, Fetcher::PATIENCE)).await
    }

    /// Waits until a block is here, if something refers to it.
    pub async fn have_block(self: &Arc<Self>, id: BlockId) -> Answer<()> {
        if !self.read(move |app| Ok(app.ledger.lacks_block(id)?)).await? {
            return Ok(());
        }
        self.fetch(|fetcher| fetcher.block(id, Fetcher::PATIENCE)).await
    }

    /// Nothing of it goes on when the caller has gone, and this is dropped.
    async fn fetch<'f, F: Future<Output = Result<bool, FetchError>>>(
        &'f self,
        fetch: impl FnOnce(&'f Fetcher) -> F,
    ) -> Answer<()> {
        let Some(fetcher) = self.fetcher.get() else {
            return Err(Problem::new(problem::NOT_HERE, "no node runs that could fetch it"));
        };
        match fetch(fetcher).await {
            Ok(_) => Ok(()),
            Err(FetchError::Read(error)) => Err(error.into()),
            Err(other) => Err(Problem::new(problem::NOT_HERE, other.to_string())),
        }
    }
}
