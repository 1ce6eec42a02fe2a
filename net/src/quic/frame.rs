//! Messages in a stream: a length of four bytes, big-endian, then as many bytes.
//!
//! Nothing here reads or writes; bytes are put in as they come.

/// Bytes of the length before each message.
pub(crate) const HEADER_LEN: usize = 4;
/// Room that is taken for a message before any of its bytes have come.
const FIRST_ROOM: usize = 4096;

/// The length of a message is above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub len: u32,
}

/// Puts messages together from bytes that come in pieces.
///
/// The room taken is at most twice what has come, and at least [`FIRST_ROOM`], so that a peer
/// cannot make us reserve what it only announces.
#[derive(Debug)]
pub(crate) struct FrameReader {
    limit: u32,
    header: [u8; HEADER_LEN],
    /// How many bytes of `header`, or then of `body`, have come.
    filled: usize,
    /// The message's length and the room for it, once the header is whole.
    body: Option<(usize, Vec<u8>)>,
}

impl FrameReader {
    /// Reads messages of up to `limit` bytes.
    pub const fn new(limit: u32) -> Self {
        Self { limit, header: [0; HEADER_LEN], filled: 0, body: None }
    }

    /// The longest message, in bytes.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Where the next bytes belong; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        let room = match &mut self.body {
            None => self.header.get_mut(self.filled..),
            Some((len, body)) => {
                if body.len() == self.filled {
                    let room = (2 * self.filled).max(FIRST_ROOM).min(*len);
                    body.reserve_exact(room - self.filled);
                    body.resize(room, 0);
                }
                body.get_mut(self.filled..)
            }
        };
        room.unwrap_or_default()
    }

    /// Takes note that the first `count` bytes of [`Self::room`] are there, and gives the message
    /// if it is whole.
    pub fn filled(&mut self, count: usize) -> Result<Option<Vec<u8>>, TooLong> {
        self.filled += count;
        if self.body.is_none() {
            if self.filled < HEADER_LEN {
                return Ok(None);
            }
            let len = u32::from_be_bytes(self.header);
            let fits = usize::try_from(len).ok().filter(|_| len <= self.limit);
            self.body = Some((fits.ok_or(TooLong { len })?, Vec::new()));
            self.filled = 0;
        }
        let whole = matches!(&self.body, Some((len, _)) if *len == self.filled);
        if !whole {
            return Ok(None);
        }
        self.filled = 0;
        Ok(self.body.take().map(|(_, body)| body))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u32 = 100_000;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            out.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            out.extend(message);
        }
        out
    }

    /// Reads `bytes` in pieces, whose lengths are taken from `pieces` in turn.
    fn read(mut bytes: &[u8], pieces: &[usize]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut reader = FrameReader::new(LIMIT);
        let mut messages = Vec::new();
        let mut pieces = pieces.iter().cycle();
        while !bytes.is_empty() {
            let room = reader.room();
            let count = room.len().min(bytes.len()).min(*pieces.next().unwrap());
            assert!(count > 0);
            room[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            messages.extend(reader.filled(count)?);
        }
        Ok(messages)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            lens in prop::collection::vec(prop_oneof![0usize..10, 4000usize..4200, 0usize..=100_000], 0..8),
            pieces in prop::collection::vec(1usize..9000, 1..20),
        ) {
            let fill = |len: &usize| (0..=u8::MAX).cycle().skip(*len).take(*len).collect();
            let messages: Vec<Vec<u8>> = lens.iter().map(fill).collect();
            prop_assert_eq!(read(&framed(&messages), &pieces), Ok(messages));
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            pieces in prop::collection::vec(1usize..50, 1..20),
        ) {
            let whole = read(&bytes, &[usize::MAX]);
            prop_assert_eq!(read(&bytes, &pieces), whole);
        }
    }

    #[test]
    fn a_length_above_the_limit_takes_no_room() {
        let mut reader = FrameReader::new(LIMIT);
        reader.room().copy_from_slice(&(LIMIT + 1).to_be_bytes());
        assert_eq!(reader.filled(HEADER_LEN), Err(TooLong { len: LIMIT + 1 }));
        assert!(reader.body.is_none());
    }

    #[test]
    fn room_grows_only_with_what_has_come() {
        let mut reader = FrameReader::new(u32::MAX);
        reader.room().copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(reader.filled(HEADER_LEN), Ok(None));
        let mut come = 0;
        while come < 1_000_000 {
            let count = reader.room().len().min(1000);
            let (_, body) = reader.body.as_ref().unwrap();
            assert!(body.capacity() <= (2 * come).max(FIRST_ROOM), "{} of {come}", body.capacity());
            assert_eq!(reader.filled(count), Ok(None));
            come += count;
        }
    }
}
