//! What does not follow all of the cut waits for what lies below.

use quipu_merge::{ForkPolicy, Height, Role};
use quipu_store::{Ledger, MergeError, MergeReport, Outcome, WaitingReason};
use tempfile::TempDir;

use super::support::certified::{certify, options};
use super::support::values::put;
use super::support::{assert_sound, merge};
use super::world::{clone_of, create, pull, start};

/// A ledger, and another writer of it who has seen some of it.
fn writers(dir: &TempDir) -> (Ledger, Ledger) {
    let whole = create(&dir.path().join("whole"), ForkPolicy::Keep);
    let aside = clone_of(&whole, &dir.path().join("aside"));
    whole.grant(aside.author(), Role::Writer).unwrap();
    put(&whole, "a", b"1");
    merge(&aside, &whole);
    put(&aside, "b", b"known");
    merge(&whole, &aside);
    (whole, aside)
}

fn kinds(report: &MergeReport) -> Vec<WaitingReason> {
    report.waiting.iter().map(|waiting| waiting.reason.clone()).collect()
}

/// Who wrote without knowing all of the cut is not forgotten, is not asked for again and again, and does
/// not stand in the way.
#[test]
fn what_does_not_follow_the_cut_waits_for_what_lies_below() {
    let dir = TempDir::new().unwrap();
    let (whole, aside) = writers(&dir);
    put(&whole, "a", b"2");
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    // It follows its author's last event in the cut, and no head.
    let first = put(&aside, "b", b"not knowing");
    let second = put(&aside, "b", b"nor this");
    for _ in 0..2 {
        let report = shallow.merge(&aside, &mut |_, _| {});
        assert!(matches!(report, Err(MergeError::Behind { height: Height(1), .. })), "{report:?}");
    }
    for _ in 0..2 {
        pull(&shallow, &aside);
        let waiting = shallow.waiting();
        let reason = |id| waiting.iter().find(|info| info.event == id).unwrap().reason.clone();
        assert_eq!(reason(first), WaitingReason::History);
        assert_eq!(reason(second), WaitingReason::Missing(vec![first]));
        assert_eq!(shallow.plan(&aside.frontier().unwrap()).unwrap(), []);
    }
    drop(shallow);
    let shallow = options().open(dir.path().join("shallow")).unwrap();
    assert_eq!(shallow.waiting().len(), 2);
    assert_eq!(shallow.plan(&aside.frontier().unwrap()).unwrap(), []);
    // What follows both sides waits for it, and what does not is taken in.
    put(&whole, "a", b"3");
    merge(&shallow, &whole);
    assert_eq!(shallow.waiting().len(), 2);
    merge(&whole, &aside);
    let tie = put(&whole, "a", b"4");
    let report = shallow.merge(&whole, &mut |_, _| {}).unwrap();
    assert_eq!(report.new_events, 0);
    assert!(kinds(&report).contains(&WaitingReason::Missing(vec![second])), "{report:?}");
    assert_eq!(shallow.plan(&whole.frontier().unwrap()).unwrap(), []);
    assert!(!shallow.snapshot().unwrap().contains(tie).unwrap());
    assert_sound(&shallow);
}

/// An event that names something in the cut that is not here.
#[test]
fn what_follows_an_event_below_waits_too() {
    let dir = TempDir::new().unwrap();
    let (whole, aside) = writers(&dir);
    let hidden = put(&whole, "a", b"2");
    merge(&aside, &whole);
    put(&whole, "a", b"3");
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    assert!(!shallow.snapshot().unwrap().contains(hidden).unwrap());
    let event = put(&aside, "b", b"after 2");
    pull(&shallow, &aside);
    let reasons: Vec<_> = shallow.waiting().into_iter().map(|info| info.reason).collect();
    assert_eq!(reasons, [WaitingReason::Missing(vec![hidden])]);
    // When what it follows is offered, that is found to lie below.
    let events = aside.events(&[hidden], usize::MAX).unwrap();
    assert_eq!(shallow.admit(events).unwrap().outcomes, [Ok(Outcome::Known)]);
    let reasons: Vec<_> = shallow.waiting().into_iter().map(|info| info.reason).collect();
    assert_eq!(reasons, [WaitingReason::History]);
    assert_eq!(shallow.plan(&aside.frontier().unwrap()).unwrap(), []);
    assert!(!shallow.snapshot().unwrap().contains(event).unwrap());
    // A redact of what is not here waits as well.
    let redact = whole.redact(hidden).unwrap().event;
    let report = shallow.merge(&whole, &mut |_, _| {}).unwrap();
    let waits = report.waiting.iter().find(|info| info.event == redact).unwrap();
    assert_eq!(waits.reason, WaitingReason::History);
    assert_sound(&shallow);
}
