//! The receiving half of a connection.

use quipu_proto::Channel;
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::{ReadError, RecvStream};

use super::channel::PerChannel;
use super::close::CloseCode;
use super::error::{ConnectionError, Violation};
use super::frame::{FrameReader, TooLong};
use super::link::Link;

/// The receiving half of a connection. Dropping it closes the connection: one that nobody reads
/// would only hold memory.
pub struct Receiver {
    link: Arc<Link>,
    /// Streams whose channel is not known yet.
    unnamed: Vec<RecvStream>,
    streams: PerChannel<Incoming>,
    /// The channel whose turn it is.
    turn: usize,
    /// No more streams will come.
    ended: bool,
    /// Why there will be no more messages.
    over: Option<ConnectionError>,
}

/// What comes on one channel.
struct Incoming {
    channel: Channel,
    state: State,
    frames: FrameReader,
}

enum State {
    /// The peer has not sent anything.
    Waiting,
    Open(RecvStream),
    /// The connection has ended, and all that had come has been read.
    Over,
}

/// Why there is no message.
enum Stopped {
    /// Nothing more will come.
    Ended,
    Broken(Violation),
}

impl Receiver {
    /// The receiving half of a connection, of whose streams `first` came already.
    pub(crate) fn new(link: Arc<Link>, first: Option<RecvStream>) -> Self {
        let frames = link.frames;
        let waiting = |channel| Incoming {
            channel,
            state: State::Waiting,
            frames: FrameReader::new(frames.of(channel)),
        };
        Self {
            link,
            unnamed: first.into_iter().collect(),
            streams: PerChannel::of(waiting),
            turn: 0,
            ended: false,
            over: None,
        }
    }

    /// The next message, and the channel it came on. Where several channels have one, they take
    /// turns.
    ///
    /// Whoever gives up waiting loses nothing: the next call goes on where this one was.
    ///
    /// # Errors
    ///
    /// The connection has ended, and what had come of it has been read; or the peer broke the
    /// rules, and the connection has been closed. Every later call says the same.
    pub async fn next(&mut self) -> Result<(Channel, Vec<u8>), ConnectionError> {
        if let Some(error) = &self.over {
            return Err(error.clone());
        }
        let link = self.link.clone();
        // Lives as long as this call: it holds the place where a new stream is announced.
        let mut arriving = pin!(link.wire.quic.accept_uni());
        let next = poll_fn(|cx| {
            while !self.ended {
                match arriving.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => {
                        self.unnamed.push(stream);
                        arriving.set(link.wire.quic.accept_uni());
                    }
                    Poll::Ready(Err(_)) => self.ended = true,
                    Poll::Pending => break,
                }
            }
            self.poll_next(cx)
        })
        .await;
        let error = match next {
            Ok(message) => return Ok(message),
            Err(Stopped::Ended) => link.closed().await,
            Err(Stopped::Broken(violation)) => link.wire.violated(violation),
        };
        Err(self.over.insert(error).clone())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Channel, Vec<u8>), Stopped>> {
        self.name_streams(cx).map_err(Stopped::Broken)?;
        let mut over = self.ended && self.unnamed.is_empty();
        let channels = Channel::ALL.into_iter();
        for channel in channels.clone().cycle().skip(self.turn).take(channels.len()) {
            match self.streams.get_mut(channel).poll_message(cx) {
                Poll::Ready(Ok(message)) => {
                    self.turn = usize::from(channel.byte()) + 1;
                    return Poll::Ready(Ok((channel, message)));
                }
                Poll::Ready(Err(Stopped::Ended)) => {}
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                Poll::Pending => over = false,
            }
        }
        // Every stream has been asked and will wake this task.
        if over { Poll::Ready(Err(Stopped::Ended)) } else { Poll::Pending }
    }

    /// Reads the first byte of the streams that have come, and gives them to their channels.
    fn name_streams(&mut self, cx: &mut Context<'_>) -> Result<(), Violation> {
        for mut stream in std::mem::take(&mut self.unnamed) {
            let mut byte = [0];
            match stream.poll_read(cx, &mut byte) {
                Poll::Pending => self.unnamed.push(stream),
                Poll::Ready(Ok(0)) => return Err(Violation::StreamEnded),
                Poll::Ready(Ok(_)) => {
                    let [byte] = byte;
                    let channel =
                        Channel::from_byte(byte).ok_or(Violation::UnknownChannel(byte))?;
                    self.streams.get_mut(channel).open(stream)?;
                }
                Poll::Ready(Err(ReadError::ConnectionLost(_))) => {}
                Poll::Ready(Err(_)) => return Err(Violation::StreamEnded),
            }
        }
        Ok(())
    }
}

impl Incoming {
    fn open(&mut self, stream: RecvStream) -> Result<(), Violation> {
        if !matches!(self.state, State::Waiting) {
            return Err(Violation::SecondStream(self.channel));
        }
        self.state = State::Open(stream);
        Ok(())
    }

    /// Reads on until a message is whole or nothing is there.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, Stopped>> {
        let State::Open(stream) = &mut self.state else { return Poll::Ready(Err(Stopped::Ended)) };
        loop {
            let broken = match ready!(stream.poll_read(cx, self.frames.room())) {
                // A stream lasts as long as the connection.
                Ok(0) => Violation::StreamEnded,
                Ok(count) => match self.frames.filled(count) {
                    Ok(Some(message)) => return Poll::Ready(Ok(message)),
                    Ok(None) => continue,
                    Err(TooLong { len }) => {
                        let limit = self.frames.limit();
                        Violation::TooLong { channel: self.channel, len, limit }
                    }
                },
                Err(ReadError::ConnectionLost(_)) => {
                    self.state = State::Over;
                    return Poll::Ready(Err(Stopped::Ended));
                }
                Err(_) => Violation::StreamEnded,
            };
            return Poll::Ready(Err(Stopped::Broken(broken)));
        }
    }
}

impl Deref for Receiver {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.link.close(CloseCode::Done, "");
    }
}
