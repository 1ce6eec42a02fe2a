//! A certified ledger with something of everything.

use std::path::Path;

use quipu_merge::{Cut, EventId, ForkPolicy, Policy, Role};
use quipu_store::{Below, Ledger, NewLedger, OpenError, StartInfo, StartOptions};
use tempfile::TempDir;

use super::support::certified::{author, author_of, certify, keys, options};
use super::support::dice::Dice;
use super::support::{copy, merge};

pub const OPTIONS: StartOptions = StartOptions { below: Below::Pruned, ledger: None };

pub fn create(dir: &Path, policy: Policy, forks: ForkPolicy) -> Ledger {
    let validators = Some(vec![author()]);
    let new = NewLedger { policy, forks, validators, ..NewLedger::default() };
    options().create(dir, &new).unwrap()
}

/// Writes some operations on a few keys, and keys of its own.
pub fn write(ledger: &Ledger, dice: &mut Dice) -> EventId {
    let mut transaction = ledger.transaction();
    for _ in 0..=dice.below(4) {
        let name = format!("k{}", dice.below(6));
        let member = [u8::try_from(dice.below(4)).unwrap()];
        match dice.below(14) {
            0..4 => transaction.put(&name, &dice.0.to_be_bytes()).map(drop),
            4 => transaction.put(&name, &[7; 1000]).map(drop),
            5 => transaction.put(&format!("own/{}", dice.below(1000)), b"of one").map(drop),
            6 => transaction.put(&format!("long/{}", dice.below(3)), &[3; 10_000]).map(drop),
            7 => transaction.del(&name).map(drop),
            8..10 => transaction.add(&name, &member).map(drop),
            10 => transaction.rem(&name, &member).map(drop),
            11 => transaction.inc(&name, i64::try_from(dice.below(9)).unwrap() - 10).map(drop),
            _ => transaction.append(&name, &dice.0.to_be_bytes()).map(drop),
        }
        .unwrap();
    }
    transaction.commit().unwrap().event
}

fn clone_of(ledger: &Ledger, dir: &Path) -> Ledger {
    options().clone_ledger(dir, ledger, &Cut::Everything, &mut |_, _| {}).unwrap().0
}

/// A ledger of several authors, one of which forks, with grants, revokes, redacts, conflicts, and
/// checkpoints of which some name other validators. All of it is certified.
pub fn world(dir: &TempDir, seed: u64, policy: Policy, forks: ForkPolicy) -> Ledger {
    let path = |name: &str| dir.path().join(name);
    let mut dice = Dice::new(seed);
    let first = create(&path("first"), policy, forks);
    let [second, third] = ["second", "third"].map(|name| clone_of(&first, &path(name)));
    first.grant(second.author(), Role::Admin).unwrap();
    first.grant(third.author(), Role::Writer).unwrap();
    let mut redactable = Vec::new();
    let round = |dice: &mut Dice, ledgers: &[&Ledger], redactable: &mut Vec<EventId>| {
        for ledger in ledgers {
            merge(ledger, &first);
            redactable.extend((0..6).map(|_| write(ledger, dice)));
        }
        ledgers.iter().for_each(|ledger| merge(&first, ledger));
    };
    let all = [&first, &second, &third];
    round(&mut dice, &all, &mut redactable);
    certify(&first);
    first.grant(author_of(&keys()[1]), Role::Validator).unwrap();
    round(&mut dice, &all, &mut redactable);
    certify(&first);
    for _ in 0..3 {
        let at = usize::try_from(dice.below(redactable.len() as u64)).unwrap();
        first.redact(redactable[at]).unwrap();
        round(&mut dice, &all, &mut redactable);
        certify(&first);
    }
    // A copy with the same key, which forks its author.
    drop(third);
    copy(&path("third"), &path("copy"));
    let third = options().open(path("third")).unwrap();
    let copied = options().open(path("copy")).unwrap();
    copied.keep_place().unwrap();
    for ledger in [&copied, &third] {
        write(ledger, &mut dice);
        write(ledger, &mut dice);
    }
    // What comes first of the branches goes on on the lane; the other is certified first.
    merge(&first, &copied);
    if dice.below(2) == 0 {
        certify(&first);
    }
    merge(&first, &third);
    certify(&first);
    first.revoke(third.author()).unwrap();
    write(&third, &mut dice);
    round(&mut dice, &[&first, &second], &mut redactable);
    certify(&first);
    merge(&first, &third);
    round(&mut dice, &[&first, &second], &mut redactable);
    first.grant(author_of(&keys()[2]), Role::Validator).unwrap();
    second.revoke(author_of(&keys()[1])).unwrap();
    merge(&first, &second);
    certify(&first);
    round(&mut dice, &[&first, &second], &mut redactable);
    certify(&first);
    first
}

pub fn file_of(ledger: &Ledger) -> (Vec<u8>, StartInfo) {
    let mut file = Vec::new();
    let info = ledger.write_start(&mut file).unwrap();
    assert_eq!(info.len, file.len() as u64);
    (file, info)
}

pub fn start(dir: &Path, file: &[u8]) -> Result<(Ledger, StartInfo), OpenError> {
    options().start_from(dir, &mut &file[..], &OPTIONS, &mut |_, _| {})
}
