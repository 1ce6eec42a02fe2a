//! What clients and daemon say to each other: frames of a length in four bytes and CBOR.

use std::io::{self, Read, Write};

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

/// Longest request, in bytes: longer arguments than that no system passes on to a program.
pub const MAX_REQUEST: u32 = 8 << 20;
/// Longest frame of any other kind, in bytes.
pub const MAX_FRAME: u32 = 64 << 10;

/// What the daemon says to a client. Clients of all versions understand how a command ends.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// The command has ended with this exit code.
    #[n(0)]
    Done(#[n(0)] u8),
    /// The command was not run, or not to its end, and why.
    #[n(1)]
    Refused(#[n(0)] String),
    /// Ask for this on your terminal, and answer.
    #[n(2)]
    Ask(#[n(0)] String),
    /// Read your terminal, and hand on what comes.
    #[n(3)]
    Feed,
}

/// What a client answers.
#[derive(Encode, Decode)]
pub enum Answer {
    #[n(0)]
    Given(#[n(0)] Secret),
    /// It cannot be asked for.
    #[n(1)]
    Failed(#[n(0)] String),
}

/// A text that is wiped from memory.
pub struct Secret(pub Zeroizing<String>);

impl<C> Encode<C> for Secret {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        Ok(Self(Zeroizing::new(decoder.str()?.to_owned())))
    }
}

/// Writes a message in a frame.
pub fn send(to: &mut impl Write, message: &impl Encode<()>, limit: u32) -> io::Result<()> {
    let mut frame = Zeroizing::new(vec![0; 4]);
    minicbor::encode(message, &mut *frame).map_err(io::Error::other)?;
    let len = u32::try_from(frame.len().saturating_sub(4)).ok().filter(|len| *len <= limit);
    let len = len.ok_or_else(|| too_long(limit))?;
    if let Some(start) = frame.first_chunk_mut() {
        *start = len.to_be_bytes();
    }
    to.write_all(&frame)
}

/// Reads a message from a frame.
pub fn receive<T: for<'b> Decode<'b, ()>>(from: &mut impl Read, limit: u32) -> io::Result<T> {
    let frame = receive_bytes(from, limit)?;
    minicbor::decode(&frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads what is in a frame. Memory is taken as it comes, not as it is announced.
pub fn receive_bytes(from: &mut impl Read, limit: u32) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len);
    if len > limit {
        return Err(too_long(limit));
    }
    let mut frame = Zeroizing::new(Vec::new());
    if from.take(u64::from(len)).read_to_end(&mut frame)? < len as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame)
}

fn too_long(limit: u32) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message is longer than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        for reply in [
            Reply::Done(21),
            Reply::Refused("no".to_owned()),
            Reply::Ask("Passphrase: ".to_owned()),
            Reply::Feed,
        ] {
            let mut frame = Vec::new();
            send(&mut frame, &reply, MAX_FRAME).unwrap();
            assert_eq!(receive::<Reply>(&mut frame.as_slice(), MAX_FRAME).unwrap(), reply);
        }
    }

    #[test]
    fn what_is_too_long_is_neither_sent_nor_read() {
        let long = Reply::Refused("x".repeat(100));
        assert!(send(&mut Vec::new(), &long, 99).is_err());
        let mut frame = Vec::new();
        send(&mut frame, &long, 200).unwrap();
        assert!(receive::<Reply>(&mut frame.as_slice(), 99).is_err());
        let announced = [&u32::MAX.to_be_bytes()[..], &[0; 8]].concat();
        assert!(receive::<Reply>(&mut announced.as_slice(), MAX_FRAME).is_err());
    }

    #[test]
    fn garbage_is_no_message() {
        for garbage in [&b""[..], b"\0\0", b"\0\0\0\x09ab", b"\0\0\0\x02ab", b"\0\0\0\0"] {
            assert!(receive::<Reply>(&mut &garbage[..], MAX_FRAME).is_err());
        }
    }
}
