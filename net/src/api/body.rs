//! Bodies of requests and answers: those that are held in memory, and those that never are as a whole.

use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::problem::{self, Answer, Problem};

/// So many pieces are on their way at most.
const PIECES: usize = 4;

/// Room in memory for what comes of bodies, in bytes: connections share it.
#[derive(Clone)]
pub struct Room(Arc<Semaphore>);

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Reads a body of up to `limit` bytes.
    pub async fn read_all(&self, body: Body, limit: usize, idle: Duration) -> Answer<Bytes> {
        let mut incoming = Incoming::new(body, limit as u64, idle);
        let mut all = self.gather();
        while let Some(piece) = incoming.next().await? {
            all.push(&piece)?;
        }
        Ok(all.finish())
    }

    /// Begins to gather a body.
    pub fn gather(&self) -> Gathered {
        Gathered { bytes: Vec::new(), room: self.clone(), taken: None }
    }
}

/// What has come of a body. Its room is taken until the last of its bytes is dropped.
pub struct Gathered {
    bytes: Vec<u8>,
    room: Room,
    taken: Option<OwnedSemaphorePermit>,
}

impl Gathered {
    /// Adds what came next. Room is taken for what is here, and not for what was announced: so nobody
    /// keeps others out by promises.
    pub fn push(&mut self, piece: &[u8]) -> Answer<()> {
        let full = || Problem::for_now(problem::BUSY, "too many requests are being sent", 1);
        let len = u32::try_from(piece.len()).map_err(|_| full())?;
        let taken = self.room.0.clone().try_acquire_many_owned(len).map_err(|_| full())?;
        match &mut self.taken {
            Some(all) => all.merge(taken),
            none => *none = Some(taken),
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// How many bytes have come.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All of them.
    pub fn finish(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Gathered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of a request, piece by piece.
pub struct Incoming {
    body: Body,
    idle: Duration,
    /// So many bytes may still come.
    left: u64,
}

impl Incoming {
    /// A body of up to `limit` bytes.
    pub const fn new(body: Body, limit: u64, idle: Duration) -> Self {
        Self { body, idle, left: limit }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Answer<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.body.frame()).await;
            let frame = frame.map_err(|_| Problem::new(problem::SLOW, ""))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Problem::bad(error.to_string()))?;
            let Ok(piece) = frame.into_data() else { continue };
            let left = self.left.checked_sub(piece.len() as u64);
            self.left = left.ok_or_else(|| Problem::new(problem::TOO_LARGE, ""))?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// Hands the rest to a reader, which another thread reads meanwhile.
    pub async fn pump(mut self, pieces: mpsc::Sender<io::Result<Bytes>>) {
        loop {
            let (piece, is_last) = match self.next().await {
                // Nothing more: an empty piece says so, for a body may also be cut off.
                Ok(None) => (Ok(Bytes::new()), true),
                Ok(Some(piece)) => (Ok(piece), false),
                Err(problem) => {
                    let kind = match problem.code() {
                        "too_large" => ErrorKind::FileTooLarge,
                        "request_too_slow" => ErrorKind::TimedOut,
                        _ => ErrorKind::Other,
                    };
                    (Err(io::Error::new(kind, problem.detail().to_owned())), true)
                }
            };
            // Who reads it has given up, and says why.
            if pieces.send(piece).await.is_err() || is_last {
                return;
            }
        }
    }
}

/// What a request's body is read from, off the threads that serve connections.
pub struct BodyReader {
    /// What came first.
    current: Bytes,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    is_whole: bool,
    hasher: blake3::Hasher,
    len: u64,
}

impl BodyReader {
    /// Reads `first`, then the pieces. What is read is hashed after what `hasher` has seen.
    pub fn new(first: Bytes, hasher: blake3::Hasher) -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES);
        (sender, Self { current: first, pieces, is_whole: false, hasher, len: 0 })
    }

    /// Reads what is left, and does nothing with it.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(|_| ())
    }

    /// The hash of all that was read, and its length.
    pub fn finish(&self) -> (blake3::Hash, u64) {
        (self.hasher.finalize(), self.len)
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.is_whole {
                return Ok(0);
            }
            self.current = self.pieces.blocking_recv().ok_or(ErrorKind::UnexpectedEof)??;
            self.is_whole = self.current.is_empty();
        }
        let taken = self.current.split_to(self.current.len().min(buffer.len()));
        let (place, _) = buffer.split_at_mut(taken.len());
        place.copy_from_slice(&taken);
        self.hasher.update(&taken);
        self.len += taken.len() as u64;
        Ok(taken.len())
    }
}

/// The body of an answer that is made while it is sent.
pub struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// How long it is, where that is known.
    left: Option<u64>,
}

impl Pieces {
    /// A body of this length, or of one that is not known.
    pub fn new(len: Option<u64>) -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES);
        (sender, Self { pieces, left: len })
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        if let (Some(left), Some(Ok(piece))) = (&mut self.left, &piece) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(match piece {
            Some(piece) => Some(piece.map(Frame::data)),
            // Cut short: the caller must not take it for all.
            None if self.left.is_some_and(|left| left > 0) => {
                self.left = None;
                Some(Err(ErrorKind::UnexpectedEof.into()))
            }
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Sends a piece of an answer; tells whether it was taken in time.
pub async fn send(
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    piece: io::Result<Bytes>,
    idle: Duration,
) -> bool {
    matches!(tokio::time::timeout(idle, pieces.send(piece)).await, Ok(Ok(())))
}
