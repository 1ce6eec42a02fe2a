//! CARv1 files as streams: a header with roots, then blocks, each behind its CID.
//!
//! Reader and writer hold one block at a time. Both are stricter than CARv1 in one point: a block
//! whose CID is not of this format (another hash, codec or version) cannot be checked, so a file
//! that holds one is refused, whether anything refers to the block or not.

use std::io::{self, Read, Write};

use minicbor::Decoder;

use crate::cbor::{self, Malformed};
use crate::id::{BlockId, CID_LEN};

/// Largest block of the format, in bytes: a body or a raw block; lists and manifests stay below.
pub const MAX_BLOCK_LEN: usize = 1024 * 1024;
/// Largest header of a CAR, in bytes. A file names the certificate of every checkpoint in it there.
pub const MAX_CAR_HEADER_LEN: usize = 16 * 1024 * 1024;
/// Most roots that such a header has.
pub const MAX_CAR_ROOTS: usize = (MAX_CAR_HEADER_LEN - HEADER_ROOM) / ROOT_LEN;

/// Length of a root in the header.
const ROOT_LEN: usize = 41;
/// Room for the rest of it.
const HEADER_ROOM: usize = 24;

const MAX_SECTION_LEN: usize = CID_LEN + MAX_BLOCK_LEN;
/// Lengths have at most four bytes: seven bits each, and no limit needs more than 28.
const MAX_LENGTH_LEN: u32 = 4;

/// A CAR that cannot be read or written further.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset} of the CAR: {fault}")]
pub struct CarError {
    /// Where the header (0) or the section begins that is at fault.
    pub offset: u64,
    /// What is wrong there.
    #[source]
    pub fault: CarFault,
}

/// What is wrong with a CAR.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarFault {
    /// The file or device under the stream failed.
    #[error("reading or writing failed")]
    Io(#[source] io::Error),
    /// The stream ends within the header or a section.
    #[error("the file ends too early")]
    Truncated,
    /// A length is not written in its shortest form.
    #[error("a length that is not a minimal varint")]
    Varint,
    /// A header or block exceeds its limit.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The header is not the strict encoding of `{roots, version: 1}`.
    #[error("the header is malformed: {0}")]
    Header(Malformed),
    /// There is no root.
    #[error("the header names no root")]
    NoRoots,
    /// A section does not start with a CIDv1 of a BLAKE3-256 hash and a known codec.
    #[error("a block whose CID is not of this format")]
    ForeignCid,
    /// The bytes of a block are not those that its CID names.
    #[error("the block is not what its CID {0} says")]
    Mismatch(BlockId),
}

/// A block read from a CAR; its bytes are those that its id names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarBlock {
    /// The id of the block.
    pub id: BlockId,
    /// Where `bytes` begin, counted from the start of the CAR.
    pub offset: u64,
    /// The content of the block.
    pub bytes: Vec<u8>,
}

/// Reads a CAR block by block. After the first error there are no more blocks.
#[derive(Debug)]
pub struct CarReader<R> {
    input: R,
    roots: Vec<BlockId>,
    offset: u64,
    ended: bool,
}

impl<R: Read> CarReader<R> {
    /// Reads the header. Reads are small: hand in a buffered reader.
    ///
    /// # Errors
    /// The header is truncated, malformed, too long, names no root or one of another format.
    pub fn new(input: R) -> Result<Self, CarError> {
        let mut reader = Self { input, roots: Vec::new(), offset: 0, ended: false };
        reader.roots = reader.header().map_err(|fault| CarError { offset: 0, fault })?;
        Ok(reader)
    }

    /// The roots that the header names: at least one, in the order of the file.
    pub fn roots(&self) -> &[BlockId] {
        &self.roots
    }

    fn header(&mut self) -> Result<Vec<BlockId>, CarFault> {
        let len = self.length(MAX_CAR_HEADER_LEN)?.ok_or(CarFault::Truncated)?;
        let roots = read_header(&self.take(len)?).map_err(CarFault::Header)?;
        if roots.is_empty() { Err(CarFault::NoRoots) } else { Ok(roots) }
    }

    fn section(&mut self) -> Result<Option<CarBlock>, CarFault> {
        let Some(len) = self.length(MAX_SECTION_LEN)? else { return Ok(None) };
        let len = len.checked_sub(CID_LEN).ok_or(CarFault::ForeignCid)?;
        let mut cid = [0; CID_LEN];
        self.fill(&mut cid)?;
        let id = BlockId::from_bytes(&cid).ok_or(CarFault::ForeignCid)?;
        let offset = self.offset;
        let bytes = self.take(len)?;
        if BlockId::of(id.codec, &bytes) != id {
            return Err(CarFault::Mismatch(id));
        }
        Ok(Some(CarBlock { id, offset, bytes }))
    }

    /// A length of at most `limit`; `None` where the stream ends in its place.
    fn length(&mut self, limit: usize) -> Result<Option<usize>, CarFault> {
        let mut length = 0;
        for place in 0..MAX_LENGTH_LEN {
            let mut byte = [0];
            match self.fill(&mut byte) {
                Err(CarFault::Truncated) if place == 0 => return Ok(None),
                filled => filled?,
            }
            let [byte] = byte;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return match (byte, place) {
                    (0, 1..) => Err(CarFault::Varint),
                    _ if length > limit => Err(CarFault::TooLong { limit }),
                    _ => Ok(Some(length)),
                };
            }
        }
        Err(CarFault::TooLong { limit })
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, CarFault> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), CarFault> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => CarFault::Truncated,
            _ => CarFault::Io(error),
        })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

impl<R: Read> Iterator for CarReader<R> {
    type Item = Result<CarBlock, CarError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let offset = self.offset;
        let block = self.section().map_err(|fault| CarError { offset, fault }).transpose();
        self.ended = !matches!(block, Some(Ok(_)));
        block
    }
}

/// Writes a CAR block by block.
#[derive(Debug)]
pub struct CarWriter<W> {
    output: W,
    offset: u64,
}

impl<W: Write> CarWriter<W> {
    /// Writes the header. Writes are small: hand in a buffered writer.
    ///
    /// # Errors
    /// There is no root, the header exceeds [`MAX_CAR_HEADER_LEN`], or writing fails. Only in the
    /// last case anything may have been written.
    pub fn new(output: W, roots: &[BlockId]) -> Result<Self, CarError> {
        let mut writer = Self { output, offset: 0 };
        writer.header(roots).map_err(|fault| CarError { offset: 0, fault })?;
        Ok(writer)
    }

    /// Writes a block, after checking that `bytes` are what `id` names.
    ///
    /// # Errors
    /// The block exceeds [`MAX_BLOCK_LEN`] or is not what `id` names (nothing has been written
    /// then), or writing fails (the CAR is to be thrown away then).
    pub fn block(&mut self, id: BlockId, bytes: &[u8]) -> Result<(), CarError> {
        let offset = self.offset;
        self.section(id, bytes).map_err(|fault| CarError { offset, fault })
    }

    /// Flushes and hands the output back.
    ///
    /// # Errors
    /// Flushing fails; the CAR is to be thrown away then.
    pub fn finish(mut self) -> Result<W, CarError> {
        match self.output.flush() {
            Ok(()) => Ok(self.output),
            Err(error) => Err(CarError { offset: self.offset, fault: CarFault::Io(error) }),
        }
    }

    fn header(&mut self, roots: &[BlockId]) -> Result<(), CarFault> {
        if roots.is_empty() {
            return Err(CarFault::NoRoots);
        }
        let header = encode_header(roots);
        if header.len() > MAX_CAR_HEADER_LEN {
            return Err(CarFault::TooLong { limit: MAX_CAR_HEADER_LEN });
        }
        self.length(header.len())?;
        self.put(&header)
    }

    fn section(&mut self, id: BlockId, bytes: &[u8]) -> Result<(), CarFault> {
        if bytes.len() > MAX_BLOCK_LEN {
            return Err(CarFault::TooLong { limit: MAX_BLOCK_LEN });
        }
        if BlockId::of(id.codec, bytes) != id {
            return Err(CarFault::Mismatch(id));
        }
        self.length(CID_LEN + bytes.len())?;
        self.put(&id.to_bytes())?;
        self.put(bytes)
    }

    fn length(&mut self, mut length: usize) -> Result<(), CarFault> {
        loop {
            let [low, ..] = length.to_le_bytes();
            length >>= 7;
            if length == 0 {
                return self.put(&[low]);
            }
            self.put(&[low | 0x80])?;
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CarFault> {
        self.output.write_all(bytes).map_err(CarFault::Io)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

fn encode_header(roots: &[BlockId]) -> Vec<u8> {
    cbor::encode(HEADER_ROOM + ROOT_LEN * roots.len(), |w| {
        w.map(2)?.str("roots")?.array(roots.len() as u64)?;
        roots.iter().try_for_each(|&root| cbor::put_link(w, root))?;
        w.str("version")?.u8(1)?.ok()
    })
}

fn read_header(bytes: &[u8]) -> cbor::Read<Vec<BlockId>> {
    let d = &mut Decoder::new(bytes);
    cbor::map(d, 2)?;
    cbor::key(d, "roots")?;
    let count = cbor::list(d)?;
    let roots = (0..count).map(|_| cbor::link(d)).collect::<cbor::Read<Vec<_>>>()?;
    cbor::key(d, "version")?;
    if d.u64().map_err(cbor::malformed)? != 1 {
        return Err("version is not 1".into());
    }
    cbor::end(d)?;
    cbor::canonical(bytes, &encode_header(&roots))?;
    Ok(roots)
}
