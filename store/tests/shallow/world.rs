//! A ledger, stores that start from a checkpoint of it, and what is done with them.

use std::path::Path;

use quipu_merge::{Cut, EventId, ForkPolicy, Role};
use quipu_store::{Below, GcOptions, Ledger, NewLedger, StartOptions};
use tempfile::TempDir;

use super::support::certified::{author, certify, options};
use super::support::dice::Dice;
use super::support::values::put;
use super::support::{assert_sound, copy, merge};

pub const NOW: GcOptions = GcOptions { dry_run: false, grace: std::time::Duration::ZERO };

/// Starts from the last checkpoint of a ledger.
pub fn start(ledger: &Ledger, dir: &Path) -> Ledger {
    let mut file = Vec::new();
    ledger.write_start(&mut file).unwrap();
    let start = StartOptions { below: Below::Pruned, ledger: Some(ledger.id()) };
    let started = options().start_from(dir, &mut file.as_slice(), &start, &mut |_, _| {});
    let ledger = started.unwrap().0;
    assert!(ledger.shallow().is_some());
    ledger
}

pub fn create(dir: &Path, forks: ForkPolicy) -> Ledger {
    let new = NewLedger { validators: Some(vec![author()]), forks, ..NewLedger::default() };
    options().create(dir, &new).unwrap()
}

pub fn clone_of(ledger: &Ledger, dir: &Path) -> Ledger {
    options().clone_ledger(dir, ledger, &Cut::Everything, &mut |_, _| {}).unwrap().0
}

/// Gives `to` what `from` has and it lacks, as peers do.
pub fn pull(to: &Ledger, from: &Ledger) {
    let wants = to.plan(&from.frontier().unwrap()).unwrap();
    let mut feed = from.feed(&wants).unwrap();
    loop {
        let portion = feed.read(from, 2_000).unwrap();
        // Without its body nobody can admit an event: it is not sent.
        let events = portion.events.into_iter().filter(|event| event.body.is_some()).collect();
        let report = to.admit(events).unwrap();
        let refused: Vec<_> = report.outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
        assert!(refused.is_empty(), "{refused:?}");
        if portion.last {
            return;
        }
    }
}

/// Writes some operations on a few keys.
pub fn write(ledger: &Ledger, dice: &mut Dice) -> Option<EventId> {
    let mut transaction = ledger.transaction();
    for _ in 0..=dice.below(3) {
        let name = format!("k{}", dice.below(5));
        let member = [u8::try_from(dice.below(3)).unwrap()];
        match dice.below(13) {
            0..4 => transaction.put(&name, &dice.0.to_be_bytes()).map(drop),
            4 => transaction.put(&name, &[7; 1000]).map(drop),
            5 => transaction.put(&name, &dice.0.to_be_bytes().repeat(2_000)).map(drop),
            6 => transaction.del(&name).map(drop),
            7..9 => transaction.add(&name, &member).map(drop),
            9 => transaction.rem(&name, &member).map(drop),
            10 => transaction.inc(&name, 3).map(drop),
            _ => transaction.append(&name, &dice.0.to_be_bytes()).map(drop),
        }
        .unwrap();
    }
    // Whoever was revoked writes nothing.
    transaction.commit().ok().map(|committed| committed.event)
}

/// A ledger that several have written, with forks, revokes and redacts, certified at every turn.
pub fn history(dir: &Path, dice: &mut Dice, forks: ForkPolicy) -> (Ledger, Ledger) {
    let first = create(&dir.join("first"), forks);
    let second = clone_of(&first, &dir.join("second"));
    let third = clone_of(&first, &dir.join("third"));
    first.grant(second.author(), Role::Admin).unwrap();
    first.grant(third.author(), Role::Writer).unwrap();
    merge(&second, &first);
    merge(&third, &first);
    let mut events = Vec::new();
    for round in 0..4 {
        for ledger in [&first, &second, &third] {
            for _ in 0..=dice.below(6) {
                events.extend(write(ledger, dice).map(|event| (event, ledger.author())));
            }
        }
        if round == 1 {
            // A copy with the same key, which forks its author.
            copy(third.dir(), &dir.join("copy"));
        }
        merge(&second, &third);
        if round == 2 {
            let (target, _) = events[usize::try_from(dice.below(events.len() as u64)).unwrap()];
            let _ = second.redact(target);
            let copied = options().open(dir.join("copy")).unwrap();
            copied.keep_place().unwrap();
            write(&copied, dice);
            write(&copied, dice);
            merge(&first, &copied);
        }
        merge(&first, &second);
        if round == 2 && dice.below(2) == 0 {
            first.revoke(third.author()).unwrap();
        }
        certify(&first);
        merge(&second, &first);
        if dice.below(2) == 0 {
            merge(&third, &first);
        }
    }
    merge(&second, &first);
    assert_sound(&first);
    (first, second)
}

/// A ledger with three checkpoints and an event after the last, and a store that starts from that.
pub struct Pair {
    pub dir: TempDir,
    pub whole: Ledger,
    pub shallow: Ledger,
    /// The last event of each cut.
    pub events: Vec<EventId>,
    /// An event in the middle of the first cut.
    pub below: EventId,
    pub last: EventId,
}

pub fn pair() -> Pair {
    let dir = TempDir::new().unwrap();
    let whole = create(&dir.path().join("whole"), ForkPolicy::Keep);
    let (mut events, mut below) = (Vec::new(), Vec::new());
    for height in 1..=3_u8 {
        below.push(put(&whole, "a", &[height]));
        let mut transaction = whole.transaction();
        transaction.inc("n", 1).unwrap().append("l", &[height]).unwrap();
        transaction.put("b", &[height]).unwrap().add("s", &[height]).unwrap();
        events.push(transaction.commit().unwrap().event);
        certify(&whole);
    }
    let shallow = start(&whole, &dir.path().join("shallow"));
    let last = put(&whole, "a", b"later");
    merge(&shallow, &whole);
    Pair { whole, shallow, events, below: below[0], last, dir }
}
