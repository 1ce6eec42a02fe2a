//! `quipu import`

use std::path::PathBuf;

use crate::context::Context;
use crate::exit::Failure;
use crate::input::seekable;
use crate::report;

use super::merge::{NOT_BY_FILE, Refill, left, take_in};

/// Take in the events of a CAR file.
///
/// A file with an event that breaks a rule is refused as a whole: the store stays as it was, and
/// the exit code is 20.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu import bob.car
  quipu import archive.car --refill       and what has been pruned here
  ssh host quipu export - | quipu import -")]
pub struct Args {
    /// The file; `-` reads stdin.
    #[arg(value_name = "F.car")]
    file: PathBuf,
    /// Only tell what would come.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    refill: Refill,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let file = seekable(&args.file, context)?;
    let ledger = if args.dry_run { context.open()? } else { context.open_to_merge()? };
    let report = take_in(&ledger, file, args.dry_run, args.refill)?;
    let history = left(&ledger, NOT_BY_FILE, context).filter(|_| !args.dry_run);
    report::print(&report, args.dry_run, history.as_ref(), &mut context.out)
}
