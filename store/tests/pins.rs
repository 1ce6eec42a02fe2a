//! Pins: what is kept although nothing refers to it, or no state shows it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod support;

use std::time::Duration;

use quipu_merge::{BlockId, Cut, EventId, Role};
use quipu_store::{
    Expected, GcOptions, GcReport, Ledger, NewLedger, Options, Pin, PinError, PruneOptions,
    Restore, Value,
};
use support::merge;
use support::values::{blocks, chunks, link, noise, put};
use tempfile::TempDir;

const NOW: GcOptions = GcOptions { grace: Duration::ZERO, dry_run: false };

fn new(dir: &TempDir) -> Ledger {
    Ledger::create(dir.path().join("store"), &NewLedger::default()).unwrap()
}

/// Blocks to which nothing refers: those of a transaction that was refused.
fn abandon(ledger: &Ledger, value: &[u8]) {
    let mut transaction = ledger.transaction();
    transaction.put("never", value).unwrap();
    transaction.require("other", Expected::Writes(vec![ledger.id()])).unwrap();
    transaction.commit().unwrap_err();
}

fn gc(ledger: &Ledger) -> GcReport {
    let preview = ledger.gc(GcOptions { dry_run: true, ..NOW }, &mut |_, _| {}).unwrap();
    let report = ledger.gc(NOW, &mut |_, _| {}).unwrap();
    let counts = |report: &GcReport| (report.blocks, report.bytes, report.unpinned);
    assert_eq!(counts(&preview), counts(&report));
    report
}

#[test]
fn a_pinned_block_stays_with_all_that_it_lists() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let value = noise(1, 2_000_000);
    // What the same content is called.
    let other = TempDir::new().unwrap();
    let other = new(&other);
    put(&other, "k", &value);
    let pin = Pin::Block(link(&other, "k").block);
    abandon(&ledger, &value);
    let all = blocks(&ledger);
    assert!(all > 2);
    assert_eq!(ledger.pin(&[pin]).unwrap(), 1);
    assert_eq!(gc(&ledger).blocks, 0);
    assert_eq!((blocks(&ledger), ledger.pins().unwrap()), (all, vec![pin]));
    // Pinning twice is no error, and one rm is enough.
    assert_eq!(ledger.pin(&[pin, pin]).unwrap(), 0);
    drop(ledger);
    let ledger = Ledger::open(dir.path().join("store")).unwrap();
    assert_eq!((gc(&ledger).blocks, ledger.pins().unwrap()), (0, vec![pin]));
    ledger.unpin(&[pin, pin]).unwrap();
    assert_eq!(ledger.pins().unwrap(), []);
    // It is garbage from now on.
    let young = ledger.gc(GcOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!((young.blocks, young.young), (0, 1));
    assert_eq!(gc(&ledger).blocks, all);
    assert_eq!(blocks(&ledger), 0);
}

#[test]
fn what_cannot_be_pinned_is_told_and_nothing_is_pinned() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let event = put(&ledger, "k", &noise(1, 50_000));
    let here = Pin::Block(link(&ledger, "k").block);
    let absent = Pin::Block(BlockId::of(quipu_merge::Codec::Raw, b"absent"));
    let unknown = Pin::Event(EventId([7; 32]));
    for pin in [absent, unknown] {
        let error = ledger.pin(&[here, pin]).unwrap_err();
        assert!(matches!(error, PinError::NotHere(what) if what == pin), "{error}");
        assert_eq!(ledger.pins().unwrap(), []);
    }
    ledger.pin(&[here]).unwrap();
    for pin in [absent, unknown, Pin::Event(event)] {
        let error = ledger.unpin(&[here, pin]).unwrap_err();
        assert!(matches!(error, PinError::NotPinned(what) if what == pin), "{error}");
        assert_eq!(ledger.pins().unwrap(), [here]);
    }
    blocks(&ledger);
}

#[test]
fn erasing_wins_over_pins() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let (secret, shared) = (noise(1, 2_000_000), noise(2, 30_000));
    let event = put(&ledger, "secret", &secret);
    let also = put(&ledger, "also", &shared);
    put(&ledger, "shared", &shared);
    let inner = chunks(&ledger, "secret")[1].block;
    let pins =
        [inner, link(&ledger, "secret").block, link(&ledger, "shared").block].map(Pin::Block);
    ledger.pin(&pins).unwrap();
    ledger.pin(&[Pin::Event(event)]).unwrap();
    ledger.redact(event).unwrap();
    ledger.redact(also).unwrap();
    // It is as good as gone, and not to be kept again.
    ledger.unpin(&[pins[1]]).unwrap();
    ledger.unpin(&[Pin::Event(event)]).unwrap();
    for pin in [pins[1], Pin::Event(event), Pin::Event(also)] {
        let error = ledger.pin(&[pin]).unwrap_err();
        assert!(matches!(error, PinError::Erased(what) if what == pin), "{error}");
    }
    blocks(&ledger);
    let report = ledger.gc(GcOptions { dry_run: true, ..NOW }, &mut |_, _| {}).unwrap();
    assert_eq!(report.unpinned, 1);
    // What has been erased waits for nobody.
    let report = ledger.gc(GcOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!((report.unpinned, report.young), (1, 0), "{report:?}");
    // Something else refers to what is left.
    assert_eq!(ledger.pins().unwrap(), [pins[2]]);
    assert_eq!(blocks(&ledger), 1);
}

#[test]
fn what_others_have_redacted_is_erased_before_its_bytes_go() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let (options, copied) = (Options::new(), dir.path().join("copy"));
    let copy = options.clone_ledger(copied, &ledger, &Cut::Everything, &mut |_, _| {}).unwrap().0;
    ledger.grant(copy.author(), Role::Writer).unwrap();
    merge(&copy, &ledger);
    let value = noise(1, 30_000);
    let event = put(&copy, "k", &value);
    merge(&ledger, &copy);
    let block = Pin::Block(link(&ledger, "k").block);
    // Nothing is certified here, so another's redact may turn out to be void yet.
    ledger.redact(event).unwrap();
    for pin in [block, Pin::Event(event)] {
        let error = ledger.pin(&[pin]).unwrap_err();
        assert!(matches!(error, PinError::Erased(what) if what == pin), "{error}");
    }
    // What somebody else wrote as well is not.
    put(&ledger, "same", &value);
    assert_eq!(ledger.pin(&[block]).unwrap(), 1);
}

#[test]
fn pinned_values_are_not_pruned() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let by_event = put(&ledger, "event", b"of a pinned event");
    put(&ledger, "event", b"later");
    put(&ledger, "block", &noise(1, 2_000_000));
    // Deep inside.
    let inner = Pin::Block(chunks(&ledger, "block")[1].block);
    let at = Cut::Heads(vec![put(&ledger, "block", b"later")]);
    put(&ledger, "neither", b"goes");
    put(&ledger, "neither", b"later");
    ledger.pin(&[Pin::Event(by_event), inner]).unwrap();
    let before = blocks(&ledger);
    for dry_run in [true, false] {
        let report = ledger.prune(&Cut::Everything, PruneOptions { dry_run }, &mut |_, _| {});
        let report = report.unwrap();
        assert_eq!((report.values, report.pinned, report.blocks), (1, 2, 0), "{report:?}");
    }
    assert_eq!(gc(&ledger).blocks, 0);
    assert_eq!(blocks(&ledger), before);
    let past = ledger.at(&Cut::Heads(vec![by_event])).unwrap();
    assert_eq!(past.get("event").unwrap(), Some(Value::Bytes(b"of a pinned event".to_vec())));
    drop(past);
    ledger.unpin(&[Pin::Event(by_event), inner]).unwrap();
    let report = ledger.prune(&at, PruneOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!((report.values, report.pinned, report.blocks), (2, 0, before), "{report:?}");
    assert_eq!(gc(&ledger).blocks, before);
    assert_eq!(blocks(&ledger), 0);
}

#[test]
fn pins_are_backed_up() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    put(&ledger, "k", &noise(1, 50_000));
    let pins = [Pin::Block(link(&ledger, "k").block), Pin::Event(put(&ledger, "k", b"later"))];
    ledger.pin(&pins).unwrap();
    ledger.prune(&Cut::Everything, PruneOptions::default(), &mut |_, _| {}).unwrap();
    let backups = dir.path().join("backups");
    ledger.backup(&backups, &mut |_, _| {}).unwrap();
    let (options, to) = (Options::new(), dir.path().join("restored"));
    let (restored, _) =
        options.restore(&backups, &Restore::default(), &to, &mut |_, _| {}).unwrap();
    assert_eq!(restored.pins().unwrap(), pins);
    assert_eq!((gc(&restored).blocks, blocks(&restored)), (0, blocks(&ledger)));
}
