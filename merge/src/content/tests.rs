#![expect(clippy::cast_sign_loss, reason = "the numbers of a test are small")]

mod cut;
mod range;

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::cut::Cutter;
use super::*;
use crate::id::{BlockId, Codec};
use crate::value::{
    CONTENT_LEN_LIMIT, Link, MAX_CHUNKS, MAX_MANIFEST_DEPTH, MAX_RAW_LEN, Manifest,
};

type Blocks = BTreeMap<BlockId, Vec<u8>>;

/// What is written, and where.
type Written = (Blocks, Result<Link, ContentWriteError<()>>);

/// Writes in portions of `step` bytes, with chunks of `len` bytes and manifests of `width` links.
fn write_fixed(len: usize, width: usize, content: &[u8], step: usize) -> Written {
    write(Cutter::with(len, len, len), width, content.chunks(step))
}

fn write<'p>(cutter: Cutter, width: usize, portions: impl Iterator<Item = &'p [u8]>) -> Written {
    let mut blocks = Blocks::new();
    let mut writer = ContentWriter::with(cutter, width, |id, bytes: &[u8]| {
        blocks.insert(id, bytes.to_vec());
        Ok(())
    });
    for portion in portions {
        writer.write(portion).unwrap();
    }
    let link = writer.finish();
    (blocks, link)
}

fn read(blocks: &Blocks, link: Link) -> Result<Vec<u8>, ContentReadError<Infallible>> {
    let mut content = Vec::new();
    let fetch = |id| Ok(blocks.get(&id).cloned());
    read_content(link, fetch, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(content)
}

fn add_raw(blocks: &mut Blocks, bytes: &[u8]) -> Link {
    let block = BlockId::of(Codec::Raw, bytes);
    blocks.insert(block, bytes.to_vec());
    Link { block, size: bytes.len() as u64 }
}

fn add_manifest(blocks: &mut Blocks, chunks: Vec<Link>) -> Link {
    let manifest = Manifest { chunks };
    let bytes = manifest.encode().unwrap();
    let block = BlockId::of(Codec::DagCbor, &bytes);
    blocks.insert(block, bytes);
    Link { block, size: manifest.size().unwrap() }
}

#[test]
fn what_is_written_reads() {
    let content: Vec<u8> = (0..4 * 81).map(|i| (i % 251) as u8).collect();
    for len in 1..=content.len() {
        for step in [1, 3, 4, 1000] {
            let (blocks, link) = write_fixed(4, 3, &content[..len], step);
            let link = link.unwrap();
            assert_eq!(link.size, len as u64);
            assert_eq!(link.block.codec == Codec::Raw, len <= 4);
            assert_eq!(read(&blocks, link).unwrap(), &content[..len]);
        }
    }
    assert_eq!(write_fixed(4, 3, &[], 1).1, Err(ContentWriteError::Empty));
}

#[test]
fn the_longest_content_nests_three_manifests() {
    let smallest = MIN_CHUNK_LEN as u128;
    let levels =
        (1..).find(|&n| (MAX_CHUNKS as u128).pow(n) * smallest >= CONTENT_LEN_LIMIT.into());
    assert_eq!(levels, Some(3));
}

#[test]
fn a_full_manifest_has_none_above_it() {
    let (blocks, _) = write_fixed(4, 3, &[9; 12], 12);
    // Equal chunks are one block.
    assert_eq!(blocks.len(), 2);
    let (blocks, _) = write_fixed(4, MAX_CHUNKS, &[9; 4 * MAX_CHUNKS], 7);
    assert_eq!(blocks.len(), 2);
    let (blocks, link) = write_fixed(4, MAX_CHUNKS, &[9; 4 * MAX_CHUNKS + 1], 7);
    assert_eq!(blocks.len(), 4);
    assert_eq!(read(&blocks, link.unwrap()).unwrap(), [9; 4 * MAX_CHUNKS + 1]);
}

#[test]
fn faults_name_their_block() {
    let (blocks, link) = write_fixed(4, 3, b"many different words in here", 5);
    let link = link.unwrap();
    for &id in blocks.keys() {
        let mut some = blocks.clone();
        some.remove(&id);
        assert_eq!(read(&some, link), Err(ContentReadError::Missing(id)));
        let mut bad = blocks.clone();
        bad.entry(id).and_modify(|bytes| bytes[0] ^= 1);
        assert_eq!(read(&bad, link), Err(ContentReadError::Mismatch(id)));
    }
    for size in [0, link.size - 1, link.size + 1, u64::MAX] {
        let wrong = Link { size, ..link };
        let (expected, found) = (size, link.size);
        assert_eq!(
            read(&blocks, wrong),
            Err(ContentReadError::Size { block: link.block, expected, found })
        );
    }
}

#[test]
fn sizes_must_hold_at_every_level() {
    let mut blocks = Blocks::new();
    let raw = add_raw(&mut blocks, b"abc");
    let inner = add_manifest(&mut blocks, vec![raw, raw]);
    let good = add_manifest(&mut blocks, vec![inner, raw]);
    assert_eq!(read(&blocks, good).unwrap(), b"abcabcabc");
    let liar = add_manifest(&mut blocks, vec![inner, Link { size: 4, ..raw }]);
    assert!(matches!(read(&blocks, liar), Err(ContentReadError::Size { found: 3, .. })));
    let liar = add_manifest(&mut blocks, vec![Link { size: 7, ..inner }, raw]);
    assert!(matches!(read(&blocks, liar), Err(ContentReadError::Size { found: 6, .. })));
}

#[test]
fn hostile_blocks_are_refused() {
    let mut blocks = Blocks::new();
    let empty = add_raw(&mut blocks, b"");
    assert!(matches!(read(&blocks, empty), Err(ContentReadError::Size { .. })));
    let long = add_raw(&mut blocks, &vec![1; MAX_RAW_LEN + 1]);
    assert!(matches!(read(&blocks, long), Err(ContentReadError::Size { .. })));
    let block = BlockId::of(Codec::DagCbor, b"none");
    blocks.insert(block, b"none".to_vec());
    let none = read(&blocks, Link { block, size: 4 });
    assert!(matches!(none, Err(ContentReadError::Manifest { .. })));
    let mut link = add_raw(&mut blocks, b"deep");
    for _ in 0..MAX_MANIFEST_DEPTH {
        link = add_manifest(&mut blocks, vec![link]);
    }
    assert_eq!(read(&blocks, link).unwrap(), b"deep");
    let deepest = link;
    link = add_manifest(&mut blocks, vec![link]);
    assert!(matches!(read(&blocks, link), Err(ContentReadError::TooDeep(_))));
    assert_ne!(deepest, link);
}

#[test]
fn failures_of_callbacks_come_back() {
    let mut writer = ContentWriter::new(|_, _: &[u8]| Err("full"));
    writer.write(b"x").unwrap();
    assert_eq!(writer.finish(), Err(ContentWriteError::Emit("full")));
    let mut blocks = Blocks::new();
    let raw = add_raw(&mut blocks, b"abc");
    let failed = read_content(raw, |_| Err("gone"), |_| Ok(()));
    assert_eq!(failed, Err(ContentReadError::Fetch("gone")));
    let failed = read_content(raw, |id| Ok(blocks.get(&id).cloned()), |_| Err("full"));
    assert_eq!(failed, Err(ContentReadError::Write("full")));
}
