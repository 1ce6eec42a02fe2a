//! The commands, one in each file.

pub mod add;
pub mod append;
pub mod author;
pub mod backup;
mod batch;
pub mod blame;
pub mod check;
pub mod checkpoint;
pub mod clock;
pub mod clone;
pub mod completions;
pub mod conflicts;
pub mod del;
pub mod diff;
pub mod du;
pub mod dump;
mod events;
pub mod export;
pub mod gc;
pub mod get;
mod get_dir;
pub mod identity;
pub mod import;
pub mod inc;
pub mod init;
pub mod keys;
pub mod log;
pub mod man;
pub mod member;
pub mod merge;
pub mod peer;
pub mod peers;
pub mod pin;
pub mod prove;
pub mod prune;
pub mod put;
mod put_dir;
pub mod redact;
pub mod rem;
pub mod resolve;
pub mod restore;
pub mod serve;
pub mod show;
pub mod status;
pub mod token;
pub mod upgrade;
pub mod validators;
pub mod verify;
pub mod watch;

use quipu_store::{Committed, Ledger};

use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::output::{self, Output};
use crate::shown::EventJson;

/// Prints an event that has been written, and waits until it is certified where that is wanted. The id
/// comes first, so that whoever ends the waiting knows that it is written; of JSON, which tells the
/// height too, it comes on stderr.
fn print_written(
    ledger: &Ledger,
    committed: &Committed,
    wait: Wait,
    context: &mut Context,
) -> Result<(), Failure> {
    let out = &mut context.out;
    if !out.is_json() {
        print_committed(ledger, committed, out)?;
        out.flush()?;
        return wait.until_final(committed.event, context);
    }
    if wait.is_wanted() {
        output::note(format_args!("event {} is written", committed.event));
    }
    let waited = wait.until_final(committed.event, context);
    print_committed(ledger, committed, &mut context.out)?;
    waited
}

/// Prints an event that has been written: its id, or all of it as JSON.
fn print_committed(
    ledger: &Ledger,
    committed: &Committed,
    out: &mut Output,
) -> Result<(), Failure> {
    if out.is_json() {
        let snapshot = ledger.snapshot()?;
        let event = snapshot.event(committed.event)?;
        out.json(&EventJson::new(&snapshot, &event)?)?;
    } else {
        out.line(committed.event)?;
    }
    Ok(())
}
