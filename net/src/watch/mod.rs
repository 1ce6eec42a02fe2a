//! Following what a replica admits, across restarts.
//!
//! Events are admitted out of the order of their times, so a place in time would miss late ones. A
//! [`Cursor`] names what has been seen by the last event of each branch: whoever has seen an event has
//! seen all before it on its author's chain. What is held beyond is what has not been seen.

mod cursor;
mod shelf;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::{AuthorKey, CutExpression, EventId, Height, ParsedEvent, Seq};
use quipu_store::{Feed, Follower, HeldEvent, Ledger, Notice, ReadError, StorageError, Want};

pub use cursor::Cursor;
use cursor::Seen;
use shelf::Shelf;

/// So many events are kept for a watch that does not look; of more, it reads the ledger anew.
const MAX_QUEUED: usize = 4096;
/// So many bytes of events are read at once.
const PORTION: usize = 256 << 10;

/// What a replica admits cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The text is no cursor, or one of another ledger.
    #[error("this is no cursor of this ledger")]
    Cursor,
    /// The cursor refers to a list of branches that is no longer kept.
    #[error("the cursor is too old: what it refers to is no longer kept")]
    Expired,
    /// A list of branches cannot be kept or read.
    #[error("{0}: {1}")]
    File(std::path::PathBuf, #[source] std::io::Error),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<StorageError> for WatchError {
    fn from(error: StorageError) -> Self {
        Self::Read(error.into())
    }
}

/// Sees each event that a replica admits after a cursor: first those that are held already, then those
/// that come. Each once, and none before the events that it follows on its author's chain.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use quipu_net::Watch;
/// use quipu_store::{Ledger, NewLedger};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("ledger");
/// let ledger = Arc::new(Ledger::create(&path, &NewLedger::default())?);
/// let mut watch = Watch::from_now(ledger.clone())?;
/// let cursor = watch.cursor()?;
///
/// let mut transaction = ledger.transaction();
/// transaction.inc("readings", 1)?;
/// let committed = transaction.commit()?;
/// assert_eq!(watch.next(Duration::from_secs(1))?.map(|event| event.id), Some(committed.event));
///
/// // Another one, maybe in another process and a year later, sees it too.
/// let mut again = Watch::after(ledger, &cursor)?;
/// assert_eq!(again.next(Duration::ZERO)?.map(|event| event.id), Some(committed.event));
/// assert_eq!(again.next(Duration::ZERO)?, None);
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    ledger: Arc<Ledger>,
    follower: Follower,
    /// Where lists of branches are kept that are too long for a cursor.
    shelf: Shelf,
    seen: Seen,
    /// What has been read and is to be seen next.
    ready: VecDeque<HeldEvent>,
    feed: Option<Feed>,
    /// What has come since; some of it may have been seen.
    told: VecDeque<HeldEvent>,
    /// Whether more may be held than has been seen and is ready.
    behind: bool,
}

impl Watch {
    /// Sees what is admitted from now on.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn from_now(ledger: Arc<Ledger>) -> Result<Self, WatchError> {
        let follower = ledger.follow(MAX_QUEUED)?;
        let mut seen = Seen::default();
        for branches in ledger.frontier()? {
            for (seq, id) in branches.tips {
                seen.add(branches.author, seq, id);
            }
        }
        Ok(Self::new(ledger, follower, seen, false))
    }

    /// Sees all events, from the first on.
    ///
    /// # Errors
    /// [`ReadError::BelowStart`] in a store that starts from a checkpoint; the disk, the database or its
    /// content.
    pub fn from_start(ledger: Arc<Ledger>) -> Result<Self, WatchError> {
        let follower = ledger.follow(MAX_QUEUED)?;
        Self::new(ledger, follower, Seen::default(), true).checked()
    }

    /// Sees what a certified checkpoint does not hold, and what is admitted from now on.
    ///
    /// # Errors
    /// [`ReadError::Cut`] where no such checkpoint counts here, [`ReadError::BelowStart`] where the
    /// store starts from a later one; the disk, the database or its content.
    pub fn from_checkpoint(ledger: Arc<Ledger>, height: Height) -> Result<Self, WatchError> {
        let follower = ledger.follow(MAX_QUEUED)?;
        let mut seen = Seen::default();
        {
            let snapshot = ledger.snapshot()?;
            let cut = snapshot.find_cut(&CutExpression::Checkpoint(height.0))?;
            for branches in snapshot.at(&cut)?.branches()? {
                for (seq, id) in branches.tips {
                    seen.add(branches.author, seq, id);
                }
            }
        }
        Ok(Self::new(ledger, follower, seen, true))
    }

    /// Sees what has been admitted after what a cursor names, and what is admitted from now on.
    ///
    /// Of an author of whom the cursor names an event that is not held any more, say in a store that was
    /// restored, all events are seen again.
    ///
    /// # Errors
    /// [`WatchError::Cursor`] for a cursor of another ledger, [`WatchError::Expired`];
    /// [`ReadError::BelowStart`] where the store starts from a checkpoint that the cursor lies below; the
    /// disk, the database or its content.
    pub fn after(ledger: Arc<Ledger>, cursor: &Cursor) -> Result<Self, WatchError> {
        let mut shelf = Shelf::of(&ledger);
        let tips = cursor.tips(&shelf, ledger.id())?;
        if let Some(list) = cursor.shelf() {
            shelf.go_on(list);
        }
        let follower = ledger.follow(MAX_QUEUED)?;
        let mut seen = Seen::default();
        {
            let snapshot = ledger.snapshot()?;
            for id in tips {
                match snapshot.event(id) {
                    Ok(event) => seen.add(event.author, event.seq, id),
                    Err(ReadError::NoSuchEvent(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        seen.start_from(cursor);
        Self { shelf, ..Self::new(ledger, follower, seen, true) }.checked()
    }

    /// Checks that all is here that is to be seen.
    fn checked(self) -> Result<Self, WatchError> {
        self.ledger.check_beyond(self.seen.ids(), false)?;
        Ok(self)
    }

    /// Checks that of all that is to be seen the operations are here: what has lost them cannot be told from
    /// what works on other keys. Those of an event may be pruned while it waits to be seen.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] or [`ReadError::BelowStart`] where some may not be here; the disk, the
    /// database or its content.
    pub fn check_operations(&self) -> Result<(), WatchError> {
        Ok(self.ledger.check_beyond(self.seen.ids(), true)?)
    }

    fn new(ledger: Arc<Ledger>, follower: Follower, seen: Seen, behind: bool) -> Self {
        let shelf = Shelf::of(&ledger);
        let (ready, told) = (VecDeque::new(), VecDeque::new());
        Self { ledger, follower, shelf, seen, ready, feed: None, told, behind }
    }

    /// The next event. Waits for it up to `timeout`; `None` where none came.
    ///
    /// # Errors
    /// The disk, the database or its content. The next call goes on where this one was.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<HeldEvent>, WatchError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.seen.advance(&event);
                return Ok(Some(event));
            }
            if self.feed.is_some() || self.behind {
                self.catch_up()?;
                continue;
            }
            match self.told.pop_front() {
                Some(event) if self.seen.continues(&event) => self.ready.push_back(event),
                // It was seen already, or starts a branch: looking at what is held tells.
                Some(_) => self.behind = true,
                None => match self.follower.next(timeout) {
                    None => return Ok(None),
                    Some(Notice::Lagged) => self.behind = true,
                    Some(Notice::New(new)) => self.told.extend(new.iter()),
                },
            }
        }
    }

    /// Where this watch is: after the event that was seen last.
    ///
    /// # Errors
    /// A long list of branches cannot be kept.
    pub fn cursor(&mut self) -> Result<Cursor, WatchError> {
        self.seen.cursor(&self.shelf, self.ledger.id())
    }

    /// The ledger that is followed.
    pub const fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Reads some of what is held and has not been seen.
    fn catch_up(&mut self) -> Result<(), WatchError> {
        let mut feed = match self.feed.take() {
            Some(feed) => feed,
            None => {
                // What was told by now is among what is held.
                self.told.clear();
                while self.follower.next(Duration::ZERO).is_some() {}
                self.ledger.feed(&self.wants()?)?
            }
        };
        self.behind = false;
        // Where reading fails, all that has not been seen is looked for again.
        let portion = feed.read(&self.ledger, PORTION).inspect_err(|_| self.behind = true)?;
        for event in &portion.events {
            let held = held(&event.event).inspect_err(|_| self.behind = true)?;
            self.ready.push_back(held);
        }
        self.feed = (!portion.last).then_some(feed);
        Ok(())
    }

    /// What is held and has not been seen, author by author.
    fn wants(&self) -> Result<Vec<Want>, ReadError> {
        let mut wants = Vec::new();
        for branches in self.ledger.frontier()? {
            let held = self.seen.of(branches.author);
            let new = |(_, id): &(Seq, EventId)| !held.iter().any(|(_, seen)| seen == id);
            let up_to: Vec<_> =
                branches.tips.iter().filter(|tip| new(tip)).map(|tip| tip.1).collect();
            if !up_to.is_empty() {
                wants.push(Want { up_to, held });
            }
        }
        Ok(wants)
    }
}

/// The names of an event.
fn held(bytes: &[u8]) -> Result<HeldEvent, StorageError> {
    let damaged = |_| StorageError::Damaged { what: "an event".to_owned() };
    let event = ParsedEvent::decode(bytes).map_err(damaged)?;
    let content = event.event();
    let (author, seq, prev): (AuthorKey, _, _) = (content.author, content.seq, content.prev);
    Ok(HeldEvent { author, seq, id: event.id(), prev })
}
