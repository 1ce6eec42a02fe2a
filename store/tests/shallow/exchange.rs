//! What goes between stores of which some start from a checkpoint, and files.

use std::fs::File;

use quipu_merge::{Cut, Height};
use quipu_store::{MergeError, MergeOptions, OpenError, ReadError};

use super::same::assert_same;
use super::support::certified::{certify, checkpoint, options};
use super::support::reading::read;
use super::support::values::put;
use super::support::{assert_sound, merge};
use super::world::{Pair, pair, start};

#[test]
fn between_stores_that_start_somewhere_goes_what_comes_later() {
    let Pair { whole, shallow, last, dir, .. } = pair();
    let dir = dir.path();
    // A replica that was left behind has nothing to start on here.
    let file = dir.join("old.car");
    let output = File::create(&file).unwrap();
    whole.export(output, &checkpoint(&whole, 2), None, &mut |_, _| {}).unwrap();
    let behind = File::open(&file).unwrap();
    let behind = options().clone_file(dir.join("behind"), behind, &mut |_, _| {}).unwrap().0;
    let report = behind.merge(&shallow, &mut |_, _| {});
    let pruned = |error: &MergeError| match error {
        MergeError::Source(why) => matches!(**why, ReadError::BelowStart(Height(3))),
        _ => false,
    };
    assert!(report.as_ref().is_err_and(pruned), "{report:?}");
    assert!(behind.merge_preview(&shallow).is_err_and(|error| pruned(&error)));
    let cloned = options().clone_ledger(dir.join("c"), &shallow, &Cut::Everything, &mut |_, _| {});
    assert!(matches!(cloned, Err(OpenError::Merge(error)) if pruned(&error)));
    let report = shallow.merge(&behind, &mut |_, _| {});
    assert!(matches!(report, Err(MergeError::Behind { height: Height(3), .. })), "{report:?}");
    // One that starts later takes from it, and gives to it.
    let fourth = certify(&whole);
    shallow.accept(fourth).unwrap();
    let later = start(&whole, &dir.join("later"));
    let event = put(&whole, "c", b"5");
    merge(&later, &whole);
    merge(&shallow, &later);
    assert!(shallow.snapshot().unwrap().contains(event).unwrap());
    let event = put(&whole, "c", b"6");
    merge(&shallow, &whole);
    merge(&later, &shallow);
    assert!(later.snapshot().unwrap().contains(event).unwrap());
    assert_eq!(read(&shallow, &Cut::Everything).unwrap(), read(&later, &Cut::Everything).unwrap());
    // Whoever has all that it starts with takes from it.
    merge(&behind, &whole);
    let event = put(&whole, "c", b"7");
    certify(&whole);
    merge(&shallow, &whole);
    merge(&behind, &shallow);
    assert!(behind.snapshot().unwrap().contains(event).unwrap());
    assert_eq!(behind.certification().height, Some(Height(5)));
    assert!(later.snapshot().unwrap().contains(last).unwrap());
    [&shallow, &later, &behind].into_iter().for_each(|ledger| drop(assert_sound(ledger)));
}

#[test]
fn a_file_of_everything_is_taken_in_from_the_checkpoint_on() {
    let Pair { whole, shallow, dir, .. } = pair();
    for number in 0..4 {
        put(&whole, "a", &[number]);
        if number % 2 == 0 {
            certify(&whole);
        }
    }
    let path = dir.path().join("all.car");
    let output = File::create(&path).unwrap();
    let written = whole.export(output, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    let file = || File::open(&path).unwrap();
    let preview = shallow.import_preview(file()).unwrap();
    assert_eq!((preview.new_events, preview.new_checkpoints), (4, 2));
    let report = shallow.import(file(), &mut |_, _| {}).unwrap();
    assert_eq!((report.new_events, report.new_checkpoints), (4, 2));
    assert_eq!(report.known_events, written.events - 4);
    assert_same(&shallow, &whole);
    assert_sound(&shallow);
    let refill = MergeOptions { refill: true };
    let refused = shallow.import_with(file(), refill, &mut |_, _| {});
    assert!(matches!(refused, Err(MergeError::Shallow(Height(3)))), "{refused:?}");
    let refused = shallow.merge_with(&whole, refill, &mut |_, _| {});
    assert!(matches!(refused, Err(MergeError::Shallow(Height(3)))), "{refused:?}");
}
