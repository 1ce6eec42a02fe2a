//! What a client wants: a command, and the streams and the directory to run it with.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::message::{MAX_REQUEST, Secret, receive_bytes, send};

/// What a request begins with, before the version of the client.
const MAGIC: &[u8; 6] = b"quipu\n";
/// This program's version, which both sides must have.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How many descriptors come with a request: stdin, stdout and stderr.
const STREAMS: usize = 3;

/// A command of a client.
#[derive(Encode, Decode)]
pub struct Request {
    /// The command line, with the name of the program.
    #[n(0)]
    pub args: Vec<ByteVec>,
    /// The directory that the client is in.
    #[n(1)]
    pub dir: ByteVec,
    /// The store that is named by an option or by the environment.
    #[n(2)]
    pub store: Option<ByteVec>,
    /// Whether colours are wanted on stdout, and on stderr.
    #[n(3)]
    pub colours: [bool; 2],
    /// Whether bars that move are wanted.
    #[n(4)]
    pub progress: bool,
    /// Whether stdin gets nothing before it is asked for.
    #[n(5)]
    pub feeds: bool,
    /// Permissions that new files must not have.
    #[n(6)]
    pub umask: u32,
    #[n(7)]
    pub passphrase: Option<Secret>,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum Bad {
    #[error("this is quipu {0}, and the daemon is {VERSION}: restart the daemon")]
    Version(String),
    #[error("the request makes no sense to the daemon: {0}")]
    Malformed(&'static str),
    #[error("the request cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Request {
    /// Hands over a command with three descriptors.
    pub fn send(&self, mut to: &UnixStream, streams: &[OwnedFd; STREAMS]) -> io::Result<()> {
        let mut start = MAGIC.to_vec();
        start.push(u8::try_from(VERSION.len()).map_err(io::Error::other)?);
        let streams = streams.each_ref().map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&streams));
        let sent = sendmsg(to, &[IoSlice::new(&start)], &mut control, SendFlags::NOSIGNAL)?;
        to.write_all(start.get(sent..).unwrap_or_default())?;
        to.write_all(VERSION.as_bytes())?;
        send(&mut to, self, MAX_REQUEST)
    }

    /// Takes a command over.
    pub fn receive(mut from: &UnixStream) -> Result<(Self, [OwnedFd; STREAMS]), Bad> {
        let mut start = [0; MAGIC.len() + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut start)];
        let received = recvmsg(from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
        let received = received.map_err(io::Error::from)?.bytes;
        let mut streams = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                streams.extend(descriptors);
            }
        }
        from.read_exact(start.get_mut(received..).unwrap_or_default())?;
        let Some((version_len, magic)) = start.split_last() else {
            return Err(Bad::Malformed("it is empty"));
        };
        if magic != MAGIC {
            return Err(Bad::Malformed("it does not begin as one"));
        }
        let mut version = vec![0; usize::from(*version_len)];
        from.read_exact(&mut version)?;
        // Read to its end before it is refused, so that the answer arrives.
        let request = receive_bytes(&mut from, MAX_REQUEST)?;
        if version != VERSION.as_bytes() {
            return Err(Bad::Version(String::from_utf8_lossy(&version).escape_debug().collect()));
        }
        let streams =
            streams.try_into().map_err(|_| Bad::Malformed("it comes without its streams"))?;
        let request =
            minicbor::decode(&request).map_err(|_| Bad::Malformed("it is no command line"))?;
        Ok((request, streams))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn request() -> Request {
        Request {
            args: vec![b"quipu".to_vec().into(), b"put".to_vec().into(), vec![0xff, 0].into()],
            dir: b"/home/ann".to_vec().into(),
            store: None,
            colours: [true, false],
            progress: false,
            feeds: true,
            umask: 0o77,
            passphrase: Some(Secret("secret".to_owned().into())),
        }
    }

    fn streams() -> [OwnedFd; STREAMS] {
        std::array::from_fn(|_| File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn a_request_comes_with_its_streams() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut own = streams();
        own[1] = file.try_clone().unwrap().into();
        request().send(&here, &own).unwrap();
        let (came, [_, stdout, _]) = Request::receive(&there).unwrap();
        assert_eq!(came.args, request().args);
        assert_eq!(*came.passphrase.unwrap().0, "secret");
        File::from(stdout).write_all(b"printed").unwrap();
        let mut text = String::new();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "printed");
    }

    #[test]
    fn another_version_is_told() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"quipu\n\x039.9\0\0\0\x02ab").unwrap();
        let told = Request::receive(&there).map(drop).unwrap_err().to_string();
        assert!(told.contains("9.9") && told.contains("restart"), "{told}");
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [
            &b""[..],
            b"q",
            b"quipu",
            b"GET / HTTP/1.1\r\n\r\n",
            b"quipu\n\xff",
            b"quipu\n\x00\xff\xff\xff\xff",
            concat!("quipu\n\x05", env!("CARGO_PKG_VERSION"), "\0\0\0\x02ab").as_bytes(),
        ] {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(garbage).unwrap();
            drop(here);
            assert!(Request::receive(&there).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn a_request_without_streams_is_refused() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(MAGIC).unwrap();
        here.write_all(&[u8::try_from(VERSION.len()).unwrap()]).unwrap();
        here.write_all(VERSION.as_bytes()).unwrap();
        send(&mut here, &request(), MAX_REQUEST).unwrap();
        let bad = Request::receive(&there).map(drop).unwrap_err();
        assert!(matches!(bad, Bad::Malformed(why) if why.contains("streams")));
    }
}
