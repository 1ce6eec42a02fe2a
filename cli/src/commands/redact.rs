//! `quipu redact`

use crate::context::Context;
use crate::exit::Failure;

use super::print_committed;

/// Erase the values of an event, here and on every replica that learns of it.
///
/// The event stays, with its keys and members; so does everything that was signed or proved. Own
/// events can be erased by their author, others by an admin. This cannot be undone.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu redact dqvzo4m2")]
pub struct Args {
    /// Its id, or a unique part of it.
    event: String,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open_to_write()?;
    let event = ledger.snapshot()?.find_event(&args.event)?;
    let committed = ledger.redact(event)?;
    print_committed(&ledger, &committed, &mut context.out)
}
