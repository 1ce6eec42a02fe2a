//! A start file as a stream: frames one after the other, with a hash over all of them at the end.
//!
//! A frame is a letter, the length of what it holds as LEB128, and what it holds. Frames come in the
//! order of [`Tag`]. After the last come the 32 bytes of BLAKE3 over everything before them, and nothing more.

use std::io::{BufReader, ErrorKind, Read, Write};

use super::StartError;
use crate::record::put_number;

/// What a start file begins with: the last byte is the version.
const MAGIC: [u8; 12] = *b"quipu-start\x01";
/// Longest content of a frame, in bytes: so much is in memory of a file at once.
pub const MAX_FRAME_LEN: usize = 16 << 20;
/// Bytes of the longest length of a frame.
const MAX_LENGTH_LEN: usize = 4;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// The first event and its body: one.
    Genesis,
    /// A checkpoint that names other validators, or the last: at least one.
    Step,
    /// A branch of an author with its last event: at least one.
    Lane,
    /// An event with control operations.
    Control,
    /// An event that one of these redacts.
    Redacted,
    /// The hashes of the certified log: one.
    Peaks,
    /// Some of the state, with the events that it names.
    Chapter,
    /// How much there was of all that: one.
    End,
}

impl Tag {
    const ALL: [(u8, Self); 8] = [
        (b'g', Self::Genesis),
        (b's', Self::Step),
        (b'l', Self::Lane),
        (b'c', Self::Control),
        (b'r', Self::Redacted),
        (b'p', Self::Peaks),
        (b'k', Self::Chapter),
        (b'e', Self::End),
    ];

    fn letter(self) -> u8 {
        Self::ALL.iter().find(|(_, tag)| *tag == self).map_or(0, |(letter, _)| *letter)
    }

    fn of(letter: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == letter).map(|(_, tag)| *tag)
    }

    const fn is_single(self) -> bool {
        matches!(self, Self::Genesis | Self::Peaks | Self::End)
    }
}

/// Writes frames.
pub struct FrameWriter<'w> {
    out: &'w mut dyn Write,
    hasher: blake3::Hasher,
    len: u64,
}

impl<'w> FrameWriter<'w> {
    /// Begins a file.
    pub fn begin(out: &'w mut dyn Write) -> Result<Self, StartError> {
        let mut writer = Self { out, hasher: blake3::Hasher::new(), len: 0 };
        writer.put(&MAGIC)?;
        Ok(writer)
    }

    /// Writes a frame.
    pub fn frame(&mut self, tag: Tag, content: &[u8]) -> Result<(), StartError> {
        if content.len() > MAX_FRAME_LEN {
            return Err(StartError::TooMuch { what: "bytes in one piece", limit: MAX_FRAME_LEN });
        }
        let mut head = vec![tag.letter()];
        put_number(&mut head, content.len() as u64);
        self.put(&head)?;
        self.put(content)
    }

    /// Ends the file. Tells its length, in bytes.
    pub fn end(mut self, content: &[u8]) -> Result<u64, StartError> {
        self.frame(Tag::End, content)?;
        let digest = *self.hasher.finalize().as_bytes();
        self.put(&digest)?;
        self.out.flush().map_err(StartError::Output)?;
        Ok(self.len)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StartError> {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        self.out.write_all(bytes).map_err(StartError::Output)
    }
}

/// Reads frames.
pub struct FrameReader<'r> {
    input: BufReader<&'r mut dyn Read>,
    hasher: blake3::Hasher,
    len: u64,
    last: Option<Tag>,
}

impl<'r> FrameReader<'r> {
    /// Begins to read a file.
    pub fn begin(input: &'r mut dyn Read) -> Result<Self, StartError> {
        let input = BufReader::with_capacity(1 << 18, input);
        let mut reader = Self { input, hasher: blake3::Hasher::new(), len: 0, last: None };
        let magic = reader.take(MAGIC.len())?;
        if magic == MAGIC { Ok(reader) } else { Err(StartError::NotOne) }
    }

    /// How many bytes have been read.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// The next frame.
    pub fn next(&mut self) -> Result<(Tag, Vec<u8>), StartError> {
        let letter = self.byte()?;
        let tag = Tag::of(letter).ok_or_else(|| StartError::corrupt("a frame of no kind"))?;
        let in_order = self.last.is_none_or(|last| last < tag || last == tag && !tag.is_single());
        if !in_order || self.last.is_none() && tag != Tag::Genesis {
            return Err(StartError::corrupt("frames out of order"));
        }
        self.last = Some(tag);
        let len = self.length()?;
        Ok((tag, self.take(len)?))
    }

    /// Checks that the file ends here, after its last frame, and is as it was written. Tells its
    /// length, in bytes.
    pub fn end(mut self) -> Result<u64, StartError> {
        let expected = *self.hasher.finalize().as_bytes();
        if self.take(expected.len())? != expected {
            return Err(StartError::corrupt("its hash is another"));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(self.len),
            Ok(_) => Err(StartError::corrupt("there is more after its end")),
            Err(error) => Err(StartError::Input(error)),
        }
    }

    fn length(&mut self) -> Result<usize, StartError> {
        let mut bytes = Vec::with_capacity(MAX_LENGTH_LEN);
        loop {
            let byte = self.byte()?;
            bytes.push(byte);
            if byte < 0x80 {
                break;
            }
            if bytes.len() == MAX_LENGTH_LEN {
                return Err(too_long());
            }
        }
        let len = crate::record::Reader(&bytes).number();
        let len = len.ok_or_else(|| StartError::corrupt("the length of a frame"))?;
        usize::try_from(len).ok().filter(|len| *len <= MAX_FRAME_LEN).ok_or_else(too_long)
    }

    fn byte(&mut self) -> Result<u8, StartError> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        Ok(byte[0])
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, StartError> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StartError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => StartError::corrupt("it is cut short"),
            _ => StartError::Input(error),
        })?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn too_long() -> StartError {
    StartError::TooMuch { what: "bytes in one piece", limit: MAX_FRAME_LEN }
}
