//! Where content is cut: where its bytes say so, with FastCDC (Xia et al., 2020).
//!
//! A hash over the last 64 bytes rolls along the content, and a chunk ends where certain bits of
//! it are zero. So bytes that are put in or taken out change the chunks around them, and those
//! that follow are the same blocks as before. More bits count before the average length than
//! after it, which keeps lengths near it.

use fastcdc::v2020::{self, Normalization};

/// Length below which no chunk is cut, in bytes; only the last of a content is shorter.
pub const MIN_CHUNK_LEN: usize = 16 * 1024;
/// Length that chunks of ordinary content have on average, in bytes.
pub const AVERAGE_CHUNK_LEN: usize = 64 * 1024;
/// Length at which a chunk ends whatever its bytes say; a raw block may be four times as long.
pub const MAX_CHUNK_LEN: usize = 256 * 1024;

/// Finds the ends of chunks; only tests use other lengths than those above.
#[derive(Clone, Copy, Debug)]
pub struct Cutter {
    min: usize,
    average: usize,
    max: usize,
    /// Which bits of the hash are zero where a chunk shorter than the average ends.
    before: u64,
    /// The same for longer ones.
    after: u64,
}

impl Cutter {
    /// Cuts at the lengths above.
    pub fn new() -> Self {
        Self::with(MIN_CHUNK_LEN, AVERAGE_CHUNK_LEN, MAX_CHUNK_LEN)
    }

    /// Cuts at other lengths: even ones, ascending, from 2 bytes to 4 MiB.
    pub fn with(min: usize, average: usize, max: usize) -> Self {
        let (before, after) = v2020::select_masks(average, Normalization::Level1);
        Self { min, average, max, before, after }
    }

    /// How many bytes [`Cutter::chunk`] needs to see.
    pub const fn window(&self) -> usize {
        self.max
    }

    /// The length of the chunk that `content` begins with: at least 1, unless there is none.
    /// `content` is at least [`Cutter::window`] long, or all that there is.
    pub fn chunk(&self, content: &[u8]) -> usize {
        let Self { min, average, max, before, after } = *self;
        // The algorithm takes two bytes a time: the first of them is judged by the bits one to the
        // left.
        let (_, len) =
            v2020::cut(content, min, average, max, before, after, before << 1, after << 1);
        len.max(1).min(content.len())
    }
}
