//! Ranges of content, and which blocks reading them takes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use proptest::prelude::*;

use super::*;

type ReadRange = Result<Vec<u8>, ContentReadError<Infallible>>;

/// What a range holds, and the blocks that were fetched for it, in order.
fn read_range(blocks: &Blocks, link: Link, range: Range<u64>) -> (ReadRange, Vec<BlockId>) {
    let fetched = RefCell::new(Vec::new());
    let fetch = |id| {
        fetched.borrow_mut().push(id);
        Ok(blocks.get(&id).cloned())
    };
    let mut content = Vec::new();
    let read = read_content_range(link, range, fetch, |piece| {
        assert!(!piece.is_empty());
        content.extend_from_slice(piece);
        Ok(())
    });
    (read.map(|()| content), fetched.into_inner())
}

/// The blocks whose content overlaps a range, by going through all of them.
fn needed(blocks: &Blocks, link: Link, at: u64, range: &Range<u64>, into: &mut Vec<BlockId>) {
    if at.max(range.start) >= (at + link.size).min(range.end) {
        return;
    }
    into.push(link.block);
    if link.block.codec == Codec::DagCbor {
        let mut at = at;
        for chunk in Manifest::decode(&blocks[&link.block]).unwrap().chunks {
            needed(blocks, chunk, at, range, into);
            at += chunk.size;
        }
    }
}

fn slice(content: &[u8], range: &Range<u64>) -> Vec<u8> {
    let bytes = content.iter().zip(0_u64..).filter(|(_, at)| range.contains(at));
    bytes.map(|(byte, _)| *byte).collect()
}

proptest! {
    #[test]
    fn a_range_is_a_slice_and_fetches_what_it_holds(
        content in prop::collection::vec(any::<u8>(), 1..400),
        width in 2..5_usize,
        start in 0..450_u64,
        end in prop_oneof![0..450_u64, Just(u64::MAX)],
    ) {
        let (blocks, link) = write_fixed(4, width, &content, 1000);
        let link = link.unwrap();
        prop_assume!(manifests_above(&blocks, link) <= MAX_MANIFEST_DEPTH);
        let range = start..end;
        let (read, fetched) = read_range(&blocks, link, range.clone());
        prop_assert_eq!(read.unwrap(), slice(&content, &range));
        let mut expected = Vec::new();
        needed(&blocks, link, 0, &range, &mut expected);
        prop_assert_eq!(&fetched, &expected);
        // Nothing else needs to be at hand.
        let fetched: BTreeSet<_> = fetched.into_iter().collect();
        let some = blocks.into_iter().filter(|(id, _)| fetched.contains(id)).collect();
        prop_assert_eq!(read_range(&some, link, range.clone()).0.unwrap(), slice(&content, &range));
    }
}

fn manifests_above(blocks: &Blocks, link: Link) -> usize {
    match link.block.codec {
        Codec::Raw => 0,
        Codec::DagCbor => {
            let chunks = Manifest::decode(&blocks[&link.block]).unwrap().chunks;
            1 + chunks.iter().map(|chunk| manifests_above(blocks, *chunk)).max().unwrap()
        }
    }
}

#[test]
fn a_range_of_cut_content_takes_few_blocks() {
    let content: Vec<u8> =
        (0..3_000_000_u32).flat_map(|n| n.wrapping_pow(3).to_le_bytes()).collect();
    let (blocks, link) = write(Cutter::new(), MAX_CHUNKS, content.chunks(1 << 20));
    assert!(blocks.len() > 50);
    let (read, fetched) = read_range(&blocks, link.unwrap(), 7_000_000..7_000_100);
    assert_eq!(read.unwrap(), &content[7_000_000..7_000_100]);
    assert!(fetched.len() <= 3);
}

#[test]
fn a_range_without_bytes_fetches_nothing() {
    let (blocks, link) = write_fixed(4, 3, b"many different words", 5);
    let link = link.unwrap();
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let ranges = [0..0, 7..7, 9..2, 20..30, 20..u64::MAX, u64::MAX..u64::MAX];
    for range in ranges {
        assert_eq!(read_range(&blocks, link, range), (Ok(Vec::new()), Vec::new()));
    }
}

#[test]
fn faults_in_a_range_name_their_block() {
    let content = b"many different words in here";
    let (blocks, link) = write_fixed(4, 3, content, 5);
    let link = link.unwrap();
    let range = 9..14;
    let (_, fetched) = read_range(&blocks, link, range.clone());
    for &id in blocks.keys() {
        let mut some = blocks.clone();
        some.remove(&id);
        let mut bad = blocks.clone();
        bad.entry(id).and_modify(|bytes| bytes[0] ^= 1);
        let missing = read_range(&some, link, range.clone()).0;
        let mismatch = read_range(&bad, link, range.clone()).0;
        if fetched.contains(&id) {
            assert_eq!(missing, Err(ContentReadError::Missing(id)));
            assert_eq!(mismatch, Err(ContentReadError::Mismatch(id)));
        } else {
            assert_eq!((missing, mismatch), (Ok(content[9..14].into()), Ok(content[9..14].into())));
        }
    }
    let wrong = Link { size: 27, ..link };
    let (expected, found) = (27, 28);
    let read = read_range(&blocks, wrong, range).0;
    assert_eq!(read, Err(ContentReadError::Size { block: link.block, expected, found }));
}
