//! `quipu redact`

use std::collections::BTreeSet;

use quipu_merge::{Control, EventId};
use quipu_store::{ReadError, Snapshot};

use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;

use super::print_written;

/// Erase the values of events, here and on every replica that learns of it.
///
/// One event erases all of them or none. Those erased stay, with their keys and members; so does everything that was signed or proved. Own
/// events can be erased by their author, others by an admin. This cannot be undone.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu redact dqvzo4m2
  quipu redact dqvzo4m2 3kq7wnza           both, or neither")]
pub struct Args {
    /// Their ids, or unique parts of them.
    #[arg(value_name = "EVENT", required = true)]
    events: Vec<String>,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open_to_write()?;
    args.wait.check(&ledger, context)?;
    let events = find(&ledger.snapshot()?, &args.events)?;
    let redacts = events.into_iter().map(|event| Control::Redact { event }).collect();
    let committed = ledger.control(redacts)?;
    print_written(&ledger, &committed, args.wait, context)
}

/// The events that are named, each once.
fn find(snapshot: &Snapshot<'_>, named: &[String]) -> Result<Vec<EventId>, ReadError> {
    let found: Result<Vec<_>, _> = named.iter().map(|text| snapshot.find_event(text)).collect();
    let (mut events, mut seen) = (found?, BTreeSet::new());
    events.retain(|event| seen.insert(*event));
    Ok(events)
}
