//! The certified log over HTTP, followed by clients that are not ours.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use quipu_merge::{EventId, Height, NoteKey};
use quipu_store::Ledger;
use signed_note::{Note, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::tlog::{
    check_record, check_tree, prove_record, prove_tree, record_hash, stored_hash_index, tree_hash,
};
use tlog_tiles::{Checkpoint, HashReader, Tile, TileHashReader, TileReader};

use super::cosigner::Cosigner;
use super::served::Served;
use super::support::{Stores, all_ready, is_final, put, start_all, until};

/// Entries of a tile, as a power of two, and as a number.
const HEIGHT: u8 = 8;
const WIDTH: u64 = 1 << HEIGHT;
/// So many events are written in each of two times: more than a tile together, and fewer than three.
const EVENTS: u64 = 300;

/// What a witness knows: who the validators are, by the keys that `quipu validators` prints.
fn verifiers(ledgers: &[Arc<Ledger>]) -> VerifierList {
    let keys = ledgers.iter().flat_map(|ledger| {
        let log = NoteKey::log(ledger.id(), ledger.author()).to_string();
        let log: Box<dyn Verifier> = Box::new(StandardVerifier::new(&log).unwrap());
        [log, Box::new(Cosigner::new(ledger.author()))]
    });
    VerifierList::new(keys.collect())
}

/// Checks a note, and reads what it says.
fn read(note: &[u8], known: &VerifierList, lines: usize) -> Checkpoint {
    let note = Note::from_bytes(note).unwrap();
    let (verified, unknown) = note.verify(known).unwrap();
    assert_eq!((verified.len(), unknown.len()), (lines, 0));
    Checkpoint::from_bytes(note.text()).unwrap()
}

/// A client that knows nothing but what is served.
struct Client<'s> {
    served: &'s Served,
    seen: RefCell<BTreeSet<String>>,
}

impl Client<'_> {
    fn get(&self, tile: &Tile) -> Bytes {
        // Its names have the height of tiles in them, and other ones for entries.
        let name = tile.path().replacen("/8/data/", "/entries/", 1).replacen("/8/", "/", 1);
        let uri = format!("/tlog/{name}");
        let asking = self.served.ask("GET", &uri, "");
        let (status, body) = tokio::runtime::Handle::current().block_on(asking);
        assert_eq!(status, 200, "{name}");
        self.seen.borrow_mut().insert(name);
        body
    }
}

impl TileReader for Client<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::tlog::Error> {
        Ok(tiles.iter().map(|tile| self.get(tile).to_vec()).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// Follows the log from one checkpoint to a later one, and reads all of it; tells the names of the tiles
/// that it has asked for.
fn follow(served: &Served, old: &Checkpoint, new: &Checkpoint, event: EventId) -> BTreeSet<String> {
    let client = Client { served, seen: RefCell::default() };
    let (size, root) = (new.size(), *new.hash());
    let reader = TileHashReader::new(size, root, &client);
    assert_eq!(tree_hash(size, &reader).unwrap(), root);
    let grown = prove_tree(size, old.size(), &reader).unwrap();
    check_tree(&grown, size, root, old.size(), *old.hash()).unwrap();

    let mut found = None;
    for at in 0..size.div_ceil(WIDTH) {
        let first = at * WIDTH;
        let width = (size - first).min(WIDTH);
        let bundle = client.get(&Tile::new(HEIGHT, 0, at, width.try_into().unwrap(), true));
        let (entries, []) = bundle.as_chunks::<38>() else { panic!("not of 2 and 36 bytes") };
        assert_eq!(entries.len() as u64, width);
        let leaves: Vec<_> =
            (first..first + width).map(|leaf| stored_hash_index(0, leaf)).collect();
        let leaves = reader.read_hashes(&leaves).unwrap();
        for ((entry, leaf), index) in entries.iter().zip(leaves).zip(first..) {
            assert_eq!((&entry[..2], record_hash(&entry[2..])), (&[0, 36][..], leaf));
            if entry.ends_with(&event.0) {
                found = Some((index, leaf));
            }
        }
    }
    let (index, leaf) = found.unwrap();
    let proof = prove_record(size, index, &reader).unwrap();
    check_record(&proof, size, root, index, leaf).unwrap();
    client.seen.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_others_follow_the_certified_log() {
    let stores = Stores::new();
    let ledgers = stores.validators(4);
    let nodes = start_all(&ledgers).await;
    all_ready(&nodes, 4).await;
    let mut written: Vec<(EventId, Height)> = Vec::new();
    for _ in 0..2 {
        let events: Vec<_> = (0..EVENTS).map(|_| put(&ledgers[2], "k", b"v")).collect();
        let last = *events.last().unwrap();
        let height = is_final(&nodes[0], last).await;
        let lines = || ledgers[0].snapshot().unwrap().cosignatures(height).unwrap().len();
        until(|| lines() == 4).await;
        written.push((last, height));
    }
    let served = Served::start(&stores, &ledgers[0], Some(&nodes[0]));
    let (known, note) = (verifiers(&ledgers), async |path: &str| {
        let (status, note) = served.ask("GET", path, "").await;
        assert_eq!(status, 200, "{path}");
        note
    });
    let [(_, old), (event, new)] = written[..] else { panic!("twice") };
    let latest = note("/tlog/checkpoint").await;
    assert_eq!(latest, note(&format!("/v1/checkpoints/{new}/note")).await);
    let new = read(&latest, &known, 8);
    assert_eq!(new.origin(), format!("quipu/ledger/{}", ledgers[0].id()));
    assert!((2 * EVENTS..3 * WIDTH).contains(&new.size()), "{}", new.size());
    let old = read(&note(&format!("/v1/checkpoints/{old}/note")).await, &known, 8);
    assert!((EVENTS..new.size()).contains(&old.size()), "{}", old.size());

    let seen = tokio::task::block_in_place(|| follow(&served, &old, &new, event));
    let part = new.size() % WIDTH;
    for name in [
        "tile/0/000",
        "tile/0/001",
        &format!("tile/0/002.p/{part}"),
        "tile/1/000.p/2",
        "tile/entries/000",
        &format!("tile/entries/002.p/{part}"),
    ] {
        assert!(seen.contains(name), "{name}: {seen:?}");
    }
    for none in ["0/002", "0/003.p/1", "1/000", "2/000.p/1", "entries/002", "0/x", "../checkpoint"]
    {
        assert_eq!(served.ask("GET", &format!("/tlog/tile/{none}"), "").await.0, 404, "{none}");
    }
    served.stop().await;
}
