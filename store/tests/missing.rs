//! Values that did not come along with their events, and come later.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has done its work")]

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use quipu_merge::{BlockId, CarReader, CarWriter, Codec, Content, Opening};
use quipu_store::{Durability, Ledger, MergeReport, NewLedger, Options, Value};

const LONG: usize = 300_000;

fn options() -> Options {
    Options::new().durability(Durability::Relaxed)
}

/// A store with a short and a long value, and the file that it exports.
fn source(dir: &Path) -> (Ledger, Vec<u8>) {
    let ledger = options().create(dir.join("source"), &NewLedger::default()).unwrap();
    let mut transaction = ledger.transaction();
    transaction.put("short", b"here").unwrap();
    transaction.put("long", &vec![7; LONG]).unwrap();
    transaction.append("list", b"first").unwrap();
    transaction.commit().unwrap();
    let mut file = Vec::new();
    ledger.export(&mut file, &quipu_merge::Cut::Everything, None, &mut |_, _| {}).unwrap();
    (ledger, file)
}

/// The file without the blocks that `dropped` names.
fn without(file: &[u8], dropped: impl Fn(BlockId, &[u8]) -> bool) -> File {
    let reader = CarReader::new(file).unwrap();
    let mut writer = CarWriter::new(Vec::new(), reader.roots()).unwrap();
    for block in reader {
        let block = block.unwrap();
        if !dropped(block.id, &block.bytes) {
            writer.block(block.id, &block.bytes).unwrap();
        }
    }
    file_of(&writer.finish().unwrap())
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn is_opening(id: BlockId, bytes: &[u8]) -> bool {
    id.codec == Codec::DagCbor && Opening::decode(bytes).is_ok()
}

fn is_link(id: BlockId, bytes: &[u8]) -> bool {
    is_opening(id, bytes)
        && matches!(Opening::decode(bytes), Ok(Opening { content: Content::Linked(_), .. }))
}

fn clone(dir: &Path, name: &str, file: File) -> (Ledger, MergeReport) {
    options().clone_file(dir.join(name), file, &mut |_, _| {}).unwrap()
}

fn missing(ledger: &Ledger) -> u64 {
    let report = ledger.verify(&mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    ledger.status().unwrap().missing_values
}

fn assert_whole(ledger: &Ledger) {
    assert_eq!(missing(ledger), 0);
    assert_eq!(ledger.get("short").unwrap(), Some(Value::Bytes(b"here".to_vec())));
    let snapshot = ledger.snapshot().unwrap();
    let Some(Value::Long(link)) = snapshot.get("long").unwrap() else { panic!("no long value") };
    let mut read = Vec::new();
    let write = |bytes: &[u8]| {
        read.extend_from_slice(bytes);
        Ok(())
    };
    snapshot.read_long(link, write).unwrap().unwrap();
    assert_eq!(read, vec![7; LONG]);
}

#[test]
fn values_without_openings_come_from_another_store_or_file() {
    let place = tempfile::tempdir().unwrap();
    let (source, file) = source(place.path());
    let (first, _) = clone(place.path(), "first", without(&file, is_opening));
    let (second, _) = clone(place.path(), "second", without(&file, is_opening));
    assert_eq!((missing(&first), missing(&second)), (3, 3));
    assert_eq!(first.get("short").unwrap(), Some(Value::Missing));
    // Two that lack the same values do not help each other.
    assert_eq!(first.merge(&second, &mut |_, _| {}).unwrap().new_values, 0);
    assert_eq!(first.merge(&source, &mut |_, _| {}).unwrap().new_values, 3);
    assert_whole(&first);
    assert_eq!(second.import(file_of(&file), &mut |_, _| {}).unwrap().new_values, 3);
    assert_whole(&second);
}

#[test]
fn blocks_that_are_missing_come_later() {
    let place = tempfile::tempdir().unwrap();
    let (source, file) = source(place.path());
    let raw = |id: BlockId, _: &[u8]| id.codec == Codec::Raw;
    let (ledger, _) = clone(place.path(), "replica", without(&file, raw));
    assert_eq!(missing(&ledger), 1);
    // The link alone does not make the value whole.
    let report = ledger.import(without(&file, raw), &mut |_, _| {}).unwrap();
    assert_eq!((report.new_values, missing(&ledger)), (0, 1));
    assert_eq!(ledger.merge(&source, &mut |_, _| {}).unwrap().new_values, 1);
    assert_whole(&ledger);
}

#[test]
fn what_is_erased_is_not_missing() {
    let place = tempfile::tempdir().unwrap();
    let (source, file) = source(place.path());
    let (ledger, _) = clone(place.path(), "replica", without(&file, is_link));
    assert_eq!(missing(&ledger), 1);
    let event = source.snapshot().unwrap().heads().unwrap()[0];
    source.redact(event).unwrap();
    assert_eq!(ledger.merge(&source, &mut |_, _| {}).unwrap().new_values, 0);
    assert_eq!((missing(&ledger), missing(&source)), (0, 0));
    assert_eq!(ledger.get("short").unwrap(), Some(Value::Erased));
}
