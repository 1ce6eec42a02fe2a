//! CARs of the vectors read and write to the same bytes; damaged ones are refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that panics says what is wrong"
)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use quipu_merge::{
    BlockId, CarBlock, CarError, CarFault, CarReader, CarWriter, Codec, MAX_BLOCK_LEN,
    MAX_CAR_HEADER_LEN, MAX_CAR_ROOTS,
};

type Blocks = Vec<(BlockId, Vec<u8>)>;

fn read(file: &[u8]) -> Result<(Vec<BlockId>, Vec<CarBlock>), CarError> {
    let reader = CarReader::new(file)?;
    let roots = reader.roots().to_vec();
    Ok((roots, reader.collect::<Result<_, _>>()?))
}

fn write<'a>(roots: &[BlockId], blocks: impl IntoIterator<Item = (BlockId, &'a [u8])>) -> Vec<u8> {
    let mut writer = CarWriter::new(Vec::new(), roots).unwrap();
    for (id, bytes) in blocks {
        writer.block(id, bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn write_blocks(roots: &[BlockId], blocks: &Blocks) -> Vec<u8> {
    write(roots, blocks.iter().map(|(id, bytes)| (*id, bytes.as_slice())))
}

fn fault(file: &[u8]) -> (u64, CarFault) {
    let error = read(file).unwrap_err();
    (error.offset, error.fault)
}

#[test]
fn vectors_read_and_write_to_the_same_bytes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "car") {
            continue;
        }
        let file = fs::read(&path).unwrap();
        let (roots, blocks) = read(&file).unwrap();
        assert!(roots.iter().all(|root| blocks.iter().any(|block| block.id == *root)));
        for block in &blocks {
            let start = block.offset as usize;
            assert_eq!(file[start..start + block.bytes.len()], block.bytes);
        }
        let again = write(&roots, blocks.iter().map(|b| (b.id, b.bytes.as_slice())));
        assert_eq!(again, file, "{}", path.display());
        files += 1;
    }
    assert!(files > 10);
}

fn raw(bytes: &[u8]) -> (BlockId, Vec<u8>) {
    (BlockId::of(Codec::Raw, bytes), bytes.to_vec())
}

#[test]
fn headers_have_rules() {
    let root = raw(b"root").0;
    let file = write(&[root], []);
    assert_eq!(read(&file).unwrap(), (vec![root], vec![]));
    assert!(matches!(fault(b""), (0, CarFault::Truncated)));
    let empty = b"\x11\xa2\x65roots\x80\x67version\x01";
    assert!(matches!(fault(empty), (0, CarFault::NoRoots)));
    assert!(matches!(CarWriter::new(Vec::new(), &[]).unwrap_err().fault, CarFault::NoRoots));
    let version = [&file[..file.len() - 1], &[2]].concat();
    assert!(matches!(fault(&version), (0, CarFault::Header(_))));
    assert!(CarWriter::new(Vec::new(), &vec![root; MAX_CAR_ROOTS]).is_ok());
    let many = vec![root; MAX_CAR_ROOTS + 1];
    let error = CarWriter::new(Vec::new(), &many).unwrap_err();
    assert!(matches!(error.fault, CarFault::TooLong { limit: MAX_CAR_HEADER_LEN }));
    assert!(matches!(fault(&[0x81, 0x80, 0x80, 0x08]), (0, CarFault::TooLong { .. })));
}

#[test]
fn sections_have_rules() {
    let (root, bytes) = raw(b"root");
    let header = write(&[root], []);
    let at = header.len() as u64;
    let with = |section: &[u8]| fault(&[header.as_slice(), section].concat());
    assert!(matches!(with(&[0]), (o, CarFault::ForeignCid) if o == at));
    assert!(matches!(with(&[35]), (o, CarFault::ForeignCid) if o == at));
    assert!(matches!(with(&[36]), (o, CarFault::Truncated) if o == at));
    assert!(matches!(with(&[0x80]), (o, CarFault::Truncated) if o == at));
    assert!(matches!(with(&[0xa8, 0]), (o, CarFault::Varint) if o == at));
    assert!(matches!(with(&[0xa8, 0x80, 0x80, 0x80, 0]), (o, CarFault::TooLong { .. }) if o == at));
    assert!(matches!(with(&[0xff; 20]), (o, CarFault::TooLong { .. }) if o == at));
    assert!(matches!(with(&[0xa5, 0x80, 0x40]), (o, CarFault::TooLong { .. }) if o == at));
    let cid = root.to_bytes();
    let section = |cid: &[u8], bytes: &[u8]| {
        let length = [(cid.len() + bytes.len()) as u8];
        [length.as_slice(), cid, bytes].concat()
    };
    let wrong = with(&section(&cid, b"toor"));
    assert!(matches!(wrong, (o, CarFault::Mismatch(id)) if o == at && id == root));
    for (place, value) in [(0, 2), (1, 0x70), (2, 0x12), (3, 31)] {
        let mut foreign = cid;
        foreign[place] = value;
        let refused = with(&section(&foreign, &bytes));
        assert!(matches!(refused, (o, CarFault::ForeignCid) if o == at));
    }
    // An identity CID too: only what BLAKE3 names can be in this format.
    assert!(matches!(with(&section(&[1, 0x55, 0, 1, 7], &[0; 40])), (_, CarFault::ForeignCid)));
}

#[test]
fn blocks_have_a_largest_length() {
    let (id, bytes) = raw(&vec![7; MAX_BLOCK_LEN]);
    let file = write(&[id], [(id, bytes.as_slice())]);
    assert_eq!(read(&file).unwrap().1[0].bytes, bytes);
    let (id, bytes) = raw(&vec![7; MAX_BLOCK_LEN + 1]);
    let mut writer = CarWriter::new(Vec::new(), &[id]).unwrap();
    let error = writer.block(id, &bytes).unwrap_err();
    assert!(matches!(error.fault, CarFault::TooLong { limit: MAX_BLOCK_LEN }));
    let error = writer.block(id, b"another").unwrap_err();
    assert!(matches!(error.fault, CarFault::Mismatch(found) if found == id));
    assert_eq!(writer.finish().unwrap(), write(&[id], []));
}

#[test]
fn nothing_comes_after_an_error() {
    let (root, _) = raw(b"root");
    let file = [write(&[root], []), vec![0, 0]].concat();
    let mut reader = CarReader::new(file.as_slice()).unwrap();
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn failures_of_the_stream_are_told_apart() {
    #[derive(Debug)]
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let error = CarReader::new(Broken).unwrap_err();
    assert!(matches!(error.fault, CarFault::Io(_)));
}

fn blocks() -> impl Strategy<Value = Blocks> {
    let codec = prop_oneof![Just(Codec::Raw), Just(Codec::DagCbor)];
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    prop::collection::vec((codec, bytes), 1..12).prop_map(|blocks| {
        blocks.into_iter().map(|(codec, bytes)| (BlockId::of(codec, &bytes), bytes)).collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_reads(blocks in blocks()) {
        let roots: Vec<_> = blocks.iter().map(|(id, _)| *id).take(3).collect();
        let (read_roots, read_blocks) = read(&write_blocks(&roots, &blocks)).unwrap();
        prop_assert_eq!(read_roots, roots);
        let read: Blocks = read_blocks.into_iter().map(|b| (b.id, b.bytes)).collect();
        prop_assert_eq!(read, blocks);
    }

    #[test]
    fn any_order_reads(
        (blocks, shuffled) in blocks().prop_flat_map(|b| (Just(b.clone()), Just(b).prop_shuffle()))
    ) {
        let roots = [blocks[0].0];
        let (_, mut left) = read(&write_blocks(&roots, &blocks)).unwrap();
        let (_, mut right) = read(&write_blocks(&roots, &shuffled)).unwrap();
        for side in [&mut left, &mut right] {
            side.sort_by_key(|block| block.id);
        }
        prop_assert!(left.iter().map(|b| (b.id, &b.bytes)).eq(right.iter().map(|b| (b.id, &b.bytes))));
    }

    #[test]
    fn a_cut_file_is_refused_or_a_shorter_one(blocks in blocks(), at in any::<prop::sample::Index>()) {
        let roots = [blocks[0].0];
        let file = write_blocks(&roots, &blocks);
        let len = at.index(file.len());
        // A cut between two blocks cannot be seen here: that roots are complete is for the caller.
        let ends: Vec<_> = (0..=blocks.len())
            .map(|count| write_blocks(&roots, &blocks[..count].to_vec()).len())
            .collect();
        match read(&file[..len]) {
            Ok((_, read)) => prop_assert_eq!(Some(read.len()), ends.iter().position(|&end| end == len)),
            Err(error) => {
                prop_assert!(matches!(error.fault, CarFault::Truncated));
                prop_assert!(!ends.contains(&len));
                prop_assert!(error.offset <= len as u64);
            }
        }
    }

    #[test]
    fn a_flipped_bit_never_changes_a_block(
        blocks in blocks(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let roots = [blocks[0].0];
        let mut file = write_blocks(&roots, &blocks);
        let header = write(&roots, []).len();
        let place = at.index(file.len());
        file[place] ^= 1 << bit;
        match read(&file) {
            Err(error) => prop_assert!(error.offset <= place as u64),
            // Only a flip in the digest of a root can pass.
            Ok((read_roots, read)) => {
                prop_assert_eq!(read.len(), blocks.len());
                prop_assert!(place < header || read_roots == roots);
                for (read, (id, bytes)) in read.iter().zip(&blocks) {
                    prop_assert_eq!((read.id, &read.bytes), (*id, bytes));
                }
            }
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&noise);
        let root = raw(b"root").0;
        let _ = read(&[write(&[root], []), noise].concat());
    }
}
