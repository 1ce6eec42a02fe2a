//! The daemon's connection to the client whose command it runs.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zeroize::Zeroizing;

use super::message::{Answer, MAX_FRAME, Reply, receive, send};

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A client that waits for its command.
pub struct Client {
    stream: UnixStream,
    /// Whether its stdin gets nothing before it is asked for.
    feeds: AtomicBool,
}

impl Client {
    pub const fn new(stream: UnixStream, feeds: bool) -> Self {
        Self { stream, feeds: AtomicBool::new(feeds) }
    }

    /// Whether nobody waits for the command any more.
    pub fn is_gone(&self) -> bool {
        let mut ends = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        matches!(poll(&mut ends, Some(&AT_ONCE)), Ok(1..))
    }

    /// Waits until a stream is ready, or fails where the client goes first.
    pub fn wait_for(&self, stream: BorrowedFd<'_>, ready: PollFlags) -> io::Result<()> {
        let mut ends =
            [PollFd::from_borrowed_fd(stream, ready), PollFd::new(&self.stream, PollFlags::RDHUP)];
        while poll(&mut ends, None).is_err_and(|error| error == rustix::io::Errno::INTR) {}
        let [_, connection] = &ends;
        if connection.revents().is_empty() { Ok(()) } else { Err(gone()) }
    }

    /// Has the client ask on its terminal.
    pub fn ask(&self, prompt: &str) -> io::Result<Zeroizing<String>> {
        self.tell(&Reply::Ask(prompt.to_owned()))?;
        match receive(&mut &self.stream, MAX_FRAME)? {
            Answer::Given(secret) => Ok(secret.0),
            Answer::Failed(why) => Err(io::Error::other(why)),
        }
    }

    /// Has the client fill stdin, where it waits to be told so.
    pub fn feed(&self) -> io::Result<()> {
        if self.feeds.swap(false, Ordering::Relaxed) { self.tell(&Reply::Feed) } else { Ok(()) }
    }

    fn tell(&self, reply: &Reply) -> io::Result<()> {
        send(&mut &self.stream, reply, MAX_FRAME)
    }
}

/// It is no broken pipe, after which some commands go on.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client has gone")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_client_that_goes_is_noticed() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut input, output) = UnixStream::pair().unwrap();
        let client = Client::new(there, false);
        assert!(!client.is_gone());
        input.write_all(b"x").unwrap();
        client.wait_for(output.as_fd(), PollFlags::IN).unwrap();
        let waits = std::thread::spawn(move || {
            let (_input, idle) = UnixStream::pair().unwrap();
            let error = client.wait_for(idle.as_fd(), PollFlags::IN).unwrap_err();
            (error.kind(), client.is_gone())
        });
        drop(here);
        assert_eq!(waits.join().unwrap(), (io::ErrorKind::ConnectionAborted, true));
    }
}
