//! Making a replica that starts from a checkpoint of a peer's.

use std::fs::File;
use std::io::{Seek, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quipu_merge::EventId;
use quipu_proto::{
    AskPart, Hello, MAX_PART_LEN, MAX_PARTS, Message, Part, Start, StartFile, VERSION, Version,
};
use quipu_store::{Ledger, Newcomer, StartInfo, StartOptions};
use tokio::time::{sleep, timeout};

use super::address::PeerAddress;
use super::clock;
use super::dial;
use super::error::{JoinError, SyncError};
use super::handle::blocking;
use super::join::{ended, next};
use crate::{CloseCode, Connection, Endpoint, Limits};

/// The version since which peers give starts.
const SINCE: Version = Version { major: 1, minor: 3 };
/// What a peer may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a peer may take to make a file, where it makes one.
const MAKING: Duration = Duration::from_secs(600);
/// Until it is asked whether it has been made: at first, and at most.
const ASK_AGAIN: Duration = Duration::from_millis(20);
const ASK_AGAIN_MOST: Duration = Duration::from_millis(500);
/// So many files that the peer lets go before they have been fetched.
const ATTEMPTS: usize = 3;

/// Asks a peer for what a replica may start from, and makes one that starts there: see [`quipu_store::Below`]
/// for what becomes of what precedes it. Nothing that the peer says is believed. Of an `expected` ledger it is
/// sure; otherwise it is the one that the peer serves, whose key is known. `progress` hears how many bytes
/// have come, and of how many.
///
/// # Errors
/// Those of [`join`](super::join), [`JoinError::Older`], [`JoinError::NoStart`], and
/// [`JoinError::Open`] where the file is not what it should be. The newcomer's directory keeps the key for
/// another attempt.
pub async fn start_from(
    newcomer: Newcomer,
    listen: SocketAddr,
    peer: &PeerAddress,
    expected: Option<EventId>,
    start: StartOptions,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<(Ledger, StartInfo), JoinError> {
    let key = Arc::new(newcomer.handshake_key());
    let endpoint = Endpoint::bind(listen, key, Arc::new(|_| false), Limits::default());
    let endpoint = endpoint.map_err(super::error::StartError::from)?;
    let fetched = fetch(&endpoint, &newcomer, peer, expected, &mut progress).await;
    endpoint.close(CloseCode::Done, "").await;
    let (ledger, mut file) = fetched?;
    let start = StartOptions { ledger: Some(ledger), ..start };
    blocking(move || {
        file.rewind().map_err(|why| JoinError::File { path: newcomer.dir().to_owned(), why })?;
        Ok(newcomer.start_from(&mut file, &start, &mut |_, _| {})?)
    })
    .await
}

/// Fetches the file, and says of which ledger it ought to be.
async fn fetch(
    endpoint: &Endpoint,
    newcomer: &Newcomer,
    peer: &PeerAddress,
    expected: Option<EventId>,
    progress: &mut (impl FnMut(u64, u64) + Send),
) -> Result<(EventId, File), JoinError> {
    let connection = dial::connect(endpoint, peer).await?;
    let mut source = Source { connection, peer, dir: newcomer.dir() };
    let ledger = source.greet(expected).await?;
    for _ in 0..ATTEMPTS {
        let which = source.ask().await?;
        if let Some(room) = newcomer.room().filter(|room| *room < which.len) {
            return Err(JoinError::NoRoom { len: which.len, room });
        }
        let failed = |why| JoinError::File { path: newcomer.dir().to_owned(), why };
        // It has no name: whatever happens, nothing of it stays.
        let mut file = tempfile::tempfile_in(newcomer.dir()).map_err(failed)?;
        if source.parts(which, &mut file, progress).await? {
            return Ok((ledger, file));
        }
    }
    Err(source.ended("it does not keep the file long enough").into())
}

/// A peer that gives a file.
struct Source<'p> {
    connection: Connection,
    peer: &'p PeerAddress,
    /// Where the file is written.
    dir: &'p Path,
}

impl Source<'_> {
    /// Greets it, and learns which ledger it serves.
    async fn greet(&mut self, expected: Option<EventId>) -> Result<EventId, JoinError> {
        let hello = self.hear(|message| match message {
            Message::Hello(hello) => Some(hello),
            _ => None,
        });
        let Hello { version, ledger: found, .. } = hello.await?;
        let peer = self.peer;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(JoinError::OtherLedger { peer: peer.clone(), found, expected });
        }
        if version < SINCE || version.major != VERSION.major {
            return Err(JoinError::Older { peer: peer.clone(), version });
        }
        let time = clock::wall();
        let hello = Hello { version: VERSION, ledger: found, time, hidden: true };
        self.say(&Message::Hello(hello)).await?;
        Ok(found)
    }

    /// Asks what there is to start from, until it has been made.
    async fn ask(&mut self) -> Result<StartFile, JoinError> {
        let asking = async {
            let mut pause = ASK_AGAIN;
            loop {
                self.say(&Message::AskStart).await?;
                let start = self.hear(|message| match message {
                    Message::Start(start) => Some(start),
                    _ => None,
                });
                match start.await? {
                    Start::From(which) => return Ok(which),
                    Start::Nothing => return Err(JoinError::NoStart { peer: self.peer.clone() }),
                    Start::Later => {}
                }
                sleep(pause).await;
                pause = (pause * 2).min(ASK_AGAIN_MOST);
            }
        };
        let asked = timeout(MAKING, asking).await;
        asked.unwrap_or_else(|_| Err(self.ended("it has not made a file in time").into()))
    }

    /// Fetches a file. Tells whether all of it is here: it may not be kept there any more.
    async fn parts(
        &mut self,
        which: StartFile,
        file: &mut File,
        progress: &mut (impl FnMut(u64, u64) + Send),
    ) -> Result<bool, JoinError> {
        let (mut come, mut asked, mut waits) = (0_u64, 0_u64, 0_usize);
        while come < which.len {
            while waits < MAX_PARTS && asked < which.len {
                self.say(&Message::AskPart(AskPart { file: which, offset: asked })).await?;
                asked = asked.saturating_add(MAX_PART_LEN as u64);
                waits += 1;
            }
            let Part { offset, bytes } = self.part().await?;
            waits -= 1;
            let Some(bytes) = bytes else {
                // Nor are the parts that are still to come.
                for _ in 0..waits {
                    self.part().await?;
                }
                return Ok(false);
            };
            let left = which.len - come;
            let expected = left.min(MAX_PART_LEN as u64);
            if offset != come || bytes.len() as u64 != expected {
                return Err(self.ended("it sends another part than it was asked for").into());
            }
            file.write_all(&bytes)
                .map_err(|why| JoinError::File { path: self.dir.to_owned(), why })?;
            come += expected;
            progress(come, which.len);
        }
        Ok(true)
    }

    async fn part(&mut self) -> Result<Part, JoinError> {
        let part = self.hear(|message| match message {
            Message::Part(part) => Some(part),
            _ => None,
        });
        part.await
    }

    async fn say(&mut self, message: &Message) -> Result<(), JoinError> {
        let sent = self.connection.sender().send(message.channel(), message.encode()).await;
        sent.map_err(|error| ended(self.peer, error))
    }

    /// The next message of a kind, for which it has some time.
    async fn hear<T>(&mut self, of: impl Fn(Message) -> Option<T>) -> Result<T, JoinError> {
        let hearing = async {
            loop {
                if let Some(heard) = of(next(&mut self.connection, self.peer).await?) {
                    return Ok(heard);
                }
            }
        };
        let heard = timeout(PATIENCE, hearing).await;
        heard.unwrap_or_else(|_| Err(self.ended("it does not answer").into()))
    }

    fn ended(&self, why: &str) -> SyncError {
        SyncError::Ended { peer: self.peer.clone(), why: why.to_owned() }
    }
}
