//! What a file must come to: a refusal that leaves nothing, or what is certified.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use quipu_fuzz::{Dice, StartFile};
use quipu_store::{Ledger, OpenError, StartInfo};

use super::reading::Reading;
use super::world::{Honest, World, options, scratch, start};

/// Makes a file of honest ones as these bytes say, has a store made of it, and judges that. Tells what has
/// come of it: the name of the error; `Same` for a store that reads as the honest one in everything,
/// `Certified` for one that does where something in the file shows it; or `Honest`.
pub fn judge(worlds: &[World], bytes: &[u8]) -> String {
    let mut dice = Dice::from_bytes(bytes);
    let world = &worlds[dice.below(worlds.len())];
    // Other ledgers' files are at hand, too.
    let mut means = world.means.clone();
    let other = &worlds[dice.below(worlds.len())];
    means.files.extend(other.means.files.iter().cloned());
    // The last one has most in it.
    let honest = &world.honest[world.honest.len() - 1 - dice.below(world.honest.len())];
    let exists = dice.below(8) == 7;
    let file = honest.file.forged(&mut dice, &means);
    if file == honest.file.seal() {
        return "Honest".to_owned();
    }
    let dir = scratch();
    let place = dir.path().join("store");
    if exists {
        fs::create_dir(&place).expect("a folder");
    }
    let outcome = match start(&place, &file, world.ledger) {
        Err(OpenError::Start(error)) => {
            assert_eq!(place.exists(), exists, "what was there is as before");
            let text = format!("{error:?}");
            text.split([' ', '(']).next().unwrap_or_default().to_owned()
        }
        Err(error) => panic!("the culprit is the file, not: {error}"),
        Ok((ledger, info)) => {
            assert_eq!(info.len, file.len() as u64);
            let outcome = accepted(world, &file, (ledger, info), &place);
            fs::remove_dir_all(&place).expect("removed");
            fs::create_dir(&place).expect("a folder");
            outcome.to_owned()
        }
    };
    let left = fs::remove_dir(&place).err().filter(|error| error.kind() != ErrorKind::NotFound);
    assert!(left.is_none(), "something is left: {left:?}");
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0, "something is left");
    outcome
}

/// Judges a file of which a store has been made.
fn accepted(
    world: &World,
    file: &[u8],
    (ledger, info): (Ledger, StartInfo),
    place: &Path,
) -> &'static str {
    let height = usize::try_from(info.height.0).expect("a low height");
    let honest = &world.honest[height - 1];
    assert_eq!(info, StartInfo { len: info.len, ..honest.info });
    let same = StartFile::parse(file).is_some_and(|of| of.said() == honest.file.said());
    check(world, honest, ledger, place, same);
    if same { "Same" } else { "Certified" }
}

/// Holds a store against the honest one.
fn check(world: &World, honest: &Honest, ledger: Ledger, place: &Path, same: bool) {
    assert_eq!(ledger.id(), world.ledger);
    let found = Reading::of(&ledger);
    compare(honest.reading.clone(), found.clone(), same);
    if same {
        let report = ledger.verify(&mut |_, _| {}).expect("the store can be read");
        assert!(report.is_sound(), "{:?}", report.findings);
    }
    // What comes later is the same when it is opened again.
    drop(ledger);
    let ledger = options().open(place).expect("it opens again");
    Reading::of(&ledger).assert_same(&found);
    if same {
        world.complete(&ledger);
        compare(honest.after.clone(), Reading::of(&ledger), true);
    }
}

fn compare(mut honest: Reading, mut found: Reading, same: bool) {
    if same {
        honest.hide_lacking(&mut found);
    } else {
        honest.hide_said();
        found.hide_said();
    }
    found.assert_same(&honest);
}
