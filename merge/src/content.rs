//! Long content, cut into raw blocks under manifests, and put together again.
//!
//! Both directions stream. Writing holds what is not cut yet, at most a few chunks, and the links
//! of one manifest per level; reading holds one raw block and one manifest per level.

mod cut;
mod manifest;
mod read;
mod write;

pub use cut::{AVERAGE_CHUNK_LEN, MAX_CHUNK_LEN, MIN_CHUNK_LEN};
pub use read::{ContentReadError, read_content, read_content_range};
pub use write::{ContentWriteError, ContentWriter};

#[cfg(test)]
mod tests;
