//! Where content is cut.

use fastcdc::v2020::FastCDC;
use proptest::prelude::*;

use super::*;

/// Bytes without a pattern, the same everywhere.
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The lengths of the chunks, in order, of content that one manifest lists.
fn lengths(content: &[u8]) -> Vec<u64> {
    let (blocks, link) = write(Cutter::new(), MAX_CHUNKS, content.chunks(1 << 20));
    let link = link.unwrap();
    assert_eq!(read(&blocks, link).unwrap(), content);
    match link.block.codec {
        Codec::Raw => vec![link.size],
        Codec::DagCbor => {
            let manifest = Manifest::decode(&blocks[&link.block]).unwrap();
            manifest.chunks.iter().map(|chunk| chunk.size).collect()
        }
    }
}

#[test]
fn one_chunk_has_no_manifest() {
    for content in [vec![5], random(1, MIN_CHUNK_LEN), vec![0; MAX_CHUNK_LEN]] {
        assert_eq!(lengths(&content), [content.len() as u64]);
    }
}

#[test]
fn chunks_are_of_the_lengths_promised() {
    let content = random(2, 20 << 20);
    let lengths = lengths(&content);
    let (last, others) = lengths.split_last().unwrap();
    assert!(*last <= MAX_CHUNK_LEN as u64);
    let allowed = MIN_CHUNK_LEN as u64..=MAX_CHUNK_LEN as u64;
    assert!(others.iter().all(|len| allowed.contains(len)));
    let average = content.len() / lengths.len();
    assert!((AVERAGE_CHUNK_LEN * 3 / 4..AVERAGE_CHUNK_LEN * 5 / 4).contains(&average), "{average}");
}

#[test]
fn content_without_ends_is_cut_at_the_longest() {
    let max = MAX_CHUNK_LEN as u64;
    assert_eq!(lengths(&vec![0; 3 * MAX_CHUNK_LEN + 7]), [max, max, max, 7]);
}

/// Replicas find each other's blocks again only while all of them cut alike.
#[test]
fn ends_stay_where_they_have_always_been() {
    let ends = [38_459, 60_016, 99_678, 58_490, 75_473, 28_699, 106_758, 32_427];
    assert_eq!(lengths(&random(3, 500_000)), ends);
}

#[test]
fn what_follows_a_change_stays() {
    let old = random(4, 4 << 20);
    let mut new = old.clone();
    new.splice(1_000_000..1_000_000, *b"some bytes more");
    let blocks = |content: &[u8]| write(Cutter::new(), MAX_CHUNKS, [content].into_iter()).0;
    let (old, new) = (blocks(&old), blocks(&new));
    let changed = new.keys().filter(|id| !old.contains_key(id)).count();
    assert!(changed <= 4, "{changed} of {} blocks", new.len());
}

/// Chunks of a manifest: so many that the longest content in the shortest chunks is not too deep.
const WIDTH: usize = 5;

/// Content in which some parts have ends, some none, and some occur twice.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = (any::<u64>(), 0..4_usize, 0..6000_usize).prop_map(|(seed, kind, len)| match kind {
        0 => vec![0; len],
        1 => random(seed % 2, len),
        _ => random(seed, len),
    });
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn portions_change_nothing(
        content in content(),
        mut ends in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        step in 1..5000_usize,
    ) {
        let cutter = Cutter::with(64, 256, 1024);
        let whole = write(cutter, WIDTH, [content.as_slice()].into_iter());
        let ends: &mut Vec<_> =
            &mut ends.drain(..).map(|end| end.index(content.len() + 1)).collect();
        ends.sort_unstable();
        let mut start = 0;
        let portions = ends.iter().copied().chain([content.len()]).map(|end| {
            let portion = &content[start..end];
            start = end;
            portion
        });
        prop_assert_eq!(&write(cutter, WIDTH, portions), &whole);
        prop_assert_eq!(&write(cutter, WIDTH, content.chunks(step)), &whole);
        match whole.1 {
            Ok(link) => prop_assert_eq!(read(&whole.0, link).unwrap(), content),
            Err(error) => prop_assert!(content.is_empty() && error == ContentWriteError::Empty),
        }
    }

    #[test]
    fn ends_are_those_of_the_algorithm(content in content()) {
        prop_assume!(!content.is_empty());
        let (blocks, _) = write(Cutter::with(64, 256, 1024), MAX_CHUNKS, content.chunks(700));
        for chunk in FastCDC::new(&content, 64, 256, 1024) {
            let bytes = &content[chunk.offset..chunk.offset + chunk.length];
            prop_assert!(blocks.contains_key(&BlockId::of(Codec::Raw, bytes)));
        }
    }
}
