//! Everything that a store can be asked, as one text to compare.

use std::error::Error;
use std::fmt::Write;

use quipu_merge::Cut;
use quipu_store::{KeyKind, Ledger, LogFilter};

/// Asks for everything: the current state, its history, the log, and all raw bytes.
pub fn of(ledger: &Ledger) -> Result<String, Box<dyn Error>> {
    let snapshot = ledger.snapshot()?;
    let mut text = String::new();
    writeln!(text, "{:?} {:?}", snapshot.heads()?, snapshot.dump(&[])?)?;
    for info in snapshot.log(LogFilter::default())? {
        writeln!(text, "{:?}", info?)?;
    }
    let mut keys = Vec::new();
    snapshot.keys("", |key, kinds| {
        keys.extend(kinds.iter().map(|kind| (key.to_owned(), *kind)));
        true
    })?;
    for (key, kind) in keys {
        match kind {
            KeyKind::Register => {
                writeln!(text, "{key} {:?}", snapshot.get(&key)?)?;
                writeln!(text, "{:?} {:?}", snapshot.register(&key)?, ledger.get(&key)?)?;
                writeln!(text, "{:?}", snapshot.register_history(&key)?)?;
            }
            KeyKind::Counter => writeln!(text, "{key} {:?}", snapshot.counter(&key)?)?,
            KeyKind::Set => {
                let mut members = Vec::new();
                snapshot.set(&key, |member| {
                    members.push(member.to_vec());
                    true
                })?;
                writeln!(text, "{key} {members:?}")?;
            }
            KeyKind::List => {
                let mut elements = Vec::new();
                snapshot.list(&key, |element| {
                    elements.push(format!("{element:?}"));
                    true
                })?;
                writeln!(text, "{key} {elements:?}")?;
            }
        }
    }
    writeln!(text, "{:?} {:?}", snapshot.names()?, snapshot.conflicts("")?)?;
    drop(snapshot);
    let mut file = Vec::new();
    ledger.export(&mut file, &Cut::Everything, None, &mut |_, _| {})?;
    writeln!(text, "{file:?}")?;
    Ok(text)
}
