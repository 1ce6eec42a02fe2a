//! Tiles and notes, read by an implementation that is not ours.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics says what is wrong"
)]

use quipu_merge::{
    CheckpointId, CheckpointNote, EventId, Height, LOG_SIZE_LIMIT, LogResource, LogTree,
    MAX_LOG_PATH_LEN, Tile, TileError, UnknownResource, event_leaf_hash, prove_consistency,
    prove_inclusion, read_entry_tile, read_hash_tile,
};
use tlog_tiles::{Hash, HashReader, TileHashReader, TileReader};

const EVENTS: u64 = 70_000;

fn event(number: u64) -> EventId {
    EventId::of(&number.to_be_bytes())
}

fn hashes(count: u64) -> Vec<[u8; 32]> {
    let mut tree = LogTree::new();
    (0..count).flat_map(|number| tree.append(event_leaf_hash(event(number)))).collect()
}

/// A client that knows nothing but what is served.
struct Client<'a> {
    stored: &'a Vec<[u8; 32]>,
    size: u64,
}

impl TileReader for Client<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(
        &self,
        tiles: &[tlog_tiles::Tile],
    ) -> Result<Vec<Vec<u8>>, tlog_tiles::tlog::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            // Its names have the height of tiles in them, which is always 8 here.
            let name = tile.path().replacen("tile/8/", "tile/", 1);
            let Ok(LogResource::Hashes { level, tile }) = name.parse() else { panic!("{name}") };
            read_hash_tile(self.stored, self.size, level, tile).unwrap().unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn a_client_of_tiles_verifies_everything() {
    let stored = hashes(EVENTS);
    for size in [1, 2, 255, 256, 257, 511, 65_535, 65_536, 65_537, EVENTS] {
        let root = LogTree::resume(size, &stored).unwrap().root();
        let client = Client { stored: &stored, size };
        let reader = TileHashReader::new(size, Hash(root), &client);
        assert_eq!(tlog_tiles::tlog::tree_hash(size, &reader).unwrap(), Hash(root));
        for leaf in [0, size / 2, size - 1] {
            let proof = tlog_tiles::tlog::prove_record(size, leaf, &reader).unwrap();
            let ours = prove_inclusion(size, leaf, &stored).unwrap();
            assert_eq!(proof.into_iter().map(|hash| hash.0).collect::<Vec<_>>(), ours);
            let index = tlog_tiles::tlog::stored_hash_index(0, leaf);
            let hash = reader.read_hashes(&[index]).unwrap();
            assert_eq!(hash, [Hash(event_leaf_hash(event(leaf)))]);
        }
        for old in [1, size.div_ceil(3), size] {
            let proof = tlog_tiles::tlog::prove_tree(size, old, &reader).unwrap();
            let ours = prove_consistency(size, old, &stored).unwrap();
            assert_eq!(proof.into_iter().map(|hash| hash.0).collect::<Vec<_>>(), ours);
        }
    }
}

#[test]
fn a_log_has_the_tiles_of_the_specification() {
    let stored = hashes(EVENTS);
    let served = |level: u8, index: u64, width: u16| {
        read_hash_tile(&stored, EVENTS, level, Tile { index, width }).unwrap()
    };
    // Its example: a tree of 70,000.
    for (level, index, width) in [(0, 272, 256), (0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)]
    {
        let bytes = served(level, index, width).unwrap();
        assert_eq!(bytes.len(), usize::from(width) * 32);
        assert_eq!(served(level, index, width + 1), None, "a wider one");
    }
    assert_eq!(served(0, 274, 1), None);
    assert_eq!(served(3, 0, 1), None);
    assert_eq!(served(7, 0, 1), None);
    assert_eq!(served(63, 0, 1), None);
    assert_eq!(served(0, u64::MAX, 1), None);
    assert_eq!(served(0, 0, 0), None);
    assert_eq!(served(0, 0, 257), None);
    let tile = Tile { index: 0, width: 1 };
    assert_eq!(read_hash_tile(&stored, LOG_SIZE_LIMIT, 0, tile), Ok(None));
    let missing = read_hash_tile(&vec![], 1, 0, tile);
    assert_eq!(missing, Err(TileError::MissingHash(0)));
}

#[test]
fn entries_hash_to_the_leaves() {
    let stored = hashes(300);
    let events: Vec<_> = (0..300).map(event).collect();
    for tile in [Tile { index: 0, width: 256 }, Tile { index: 1, width: 44 }] {
        let bundle = read_entry_tile(&events, 300, tile).unwrap().unwrap();
        let leaves = read_hash_tile(&stored, 300, 0, tile).unwrap().unwrap();
        let (entries, []) = bundle.as_chunks::<38>() else { panic!("not of 2 and 36 bytes") };
        for (entry, leaf) in entries.iter().zip(leaves.as_chunks::<32>().0) {
            assert_eq!(entry[..2], [0, 36]);
            assert_eq!(tlog_tiles::tlog::record_hash(&entry[2..]), Hash(*leaf));
        }
        assert_eq!(entries.len(), usize::from(tile.width));
    }
    assert_eq!(read_entry_tile(&events, 300, Tile { index: 1, width: 45 }), Ok(None));
    let missing = read_entry_tile(&events, 301, Tile { index: 1, width: 45 });
    assert_eq!(missing, Err(TileError::MissingEntry(300)));
}

#[test]
fn names_are_those_of_the_specification() {
    let hashes = |level, index, width| LogResource::Hashes { level, tile: Tile { index, width } };
    let entries = |index, width| LogResource::Entries(Tile { index, width });
    for (name, resource) in [
        ("checkpoint", LogResource::Checkpoint),
        ("tile/0/000", hashes(0, 0, 256)),
        ("tile/63/x001/x234/067", hashes(63, 1_234_067, 256)),
        ("tile/1/x001/000.p/255", hashes(1, 1_000, 255)),
        ("tile/0/x018/x446/x744/x073/x709/x551/615.p/1", hashes(0, u64::MAX, 1)),
        ("tile/entries/000.p/1", entries(0, 1)),
        ("tile/entries/x012/345", entries(12_345, 256)),
    ] {
        assert_eq!(name.parse(), Ok(resource));
        assert_eq!(resource.to_string(), name);
    }
    for name in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/checkpoint",
        "checkpoint/",
        "tile/64/000",
        "tile/-1/000",
        "tile/00/000",
        "tile/+0/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/entries/1000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/\u{0661}00",
    ] {
        assert_eq!(name.parse::<LogResource>(), Err(UnknownResource), "{name}");
    }
    let long = format!("tile/0/{}000", "x000/".repeat(MAX_LOG_PATH_LEN));
    assert_eq!(long.parse::<LogResource>(), Err(UnknownResource));
}

#[test]
fn the_text_of_a_note_is_a_checkpoint_to_others() {
    let note = CheckpointNote {
        ledger: EventId([1; 32]),
        size: 7,
        root: [2; 32],
        height: Height(3),
        checkpoint: CheckpointId([4; 32]),
    };
    let text = format!("{note}\n");
    let read = tlog_tiles::Checkpoint::from_reader(&mut text.as_bytes(), false).unwrap();
    assert_eq!(read.origin(), quipu_merge::log_origin(note.ledger));
    assert_eq!((read.size(), *read.hash()), (7, Hash([2; 32])));
    assert_eq!(read.extension(), format!("quipu checkpoint 3 {}\n", note.checkpoint));
}
