//! `quipu merge`

use std::fs::File;
use std::path::Path;

use quipu_store::{FillError, Ledger, MergeOptions, MergeReport, OpenError};

use crate::context::{Context, is_same};
use crate::daemon::fetch;
use crate::exit::Failure;
use crate::output::{self, Progress};
use crate::source::Source;
use crate::{remote, report};

/// Take in the events of another replica, of a CAR file, or of a node.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu merge ../bob --dry-run        what would come
  quipu merge ../bob
  quipu merge bob.car
  quipu merge quic://KEY@node-1.example.org:7420
  quipu merge ../bob --refill         and what has been pruned here")]
pub struct Args {
    /// A store's directory, a CAR file, or a node: quic://KEY@HOST:PORT.
    source: Source,
    /// Only tell what would come.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    refill: Refill,
}

/// Whether to take back what has been pruned.
#[derive(Clone, Copy, clap::Args)]
pub struct Refill {
    /// Take back the values that have been pruned here, as far as they are there.
    #[arg(long, conflicts_with = "dry_run")]
    refill: bool,
}

impl From<Refill> for MergeOptions {
    fn from(args: Refill) -> Self {
        Self { refill: args.refill }
    }
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = if args.dry_run { context.open()? } else { context.open_to_merge()? };
    let source = match &args.source {
        Source::Path(path) => path,
        Source::Peer(_) if args.dry_run || args.refill.refill => {
            let why = "--dry-run and --refill are for stores and files, not for a node";
            return Err(Failure::Usage(why.to_owned()));
        }
        Source::Peer(peer) => {
            let report = remote::merge(&ledger, peer, context)?;
            return report::print(&report, false, &mut context.out);
        }
    };
    let report = match context.source_store(source)? {
        Some(source) if is_same(&context.path(&source), ledger.dir()) => {
            return Err(Failure::Usage("a store cannot be merged into itself".to_owned()));
        }
        Some(source) => merge_store(&ledger, &source, args, context)?,
        None => {
            let source = context.path(source);
            let file = File::open(&source).map_err(Failure::file(source))?;
            take_in(&ledger, file, args.dry_run, args.refill)?
        }
    };
    report::print(&report, args.dry_run, &mut context.out)
}

/// Takes in a store, or looks at what it would bring. One that is served is asked for an export.
fn merge_store(
    ledger: &Ledger,
    source: &Path,
    args: &Args,
    context: &Context,
) -> Result<MergeReport, Failure> {
    let exported = || fetch(&context.path(source));
    if let Some(file) = exported()? {
        return take_in(ledger, file, args.dry_run, args.refill);
    }
    let source = match context.open_source(source) {
        // Its daemon was starting.
        Err(Failure::Served(_)) => {
            let file = exported()?.ok_or(Failure::DaemonEnded)?;
            return take_in(ledger, file, args.dry_run, args.refill);
        }
        opened => opened?,
    };
    let progress = Progress::new("merging");
    if args.dry_run {
        return Ok(ledger.merge_preview(&source)?);
    }
    let mut report = |done, total| progress.report(done, total);
    let merged = ledger.merge_with(&source, args.refill.into(), &mut report)?;
    if ledger.shallow().is_some() {
        fill(ledger, &source)?;
    }
    Ok(merged)
}

/// Has what precedes the checkpoint that a replica starts from come too, if the source has it.
fn fill(ledger: &Ledger, source: &Ledger) -> Result<(), Failure> {
    let progress = Progress::new("filling");
    let mut report = |done, total| progress.report(done, total);
    match ledger.fill_from(source, &mut report) {
        // The daemon is at it.
        Err(FillError::Open(error)) if matches!(*error, OpenError::Locked(_)) => Ok(()),
        // What the source has beyond the checkpoint has come all the same.
        Err(error @ (FillError::NoCheckpoint(_) | FillError::Source(_))) => {
            output::note(format_args!("what precedes the checkpoint does not come: {error}"));
            Ok(())
        }
        filled => Ok(filled?),
    }
}

/// Takes in a file, or looks at what it would bring.
pub fn take_in(
    ledger: &Ledger,
    file: File,
    dry_run: bool,
    refill: Refill,
) -> Result<MergeReport, Failure> {
    if dry_run {
        return Ok(ledger.import_preview(file)?);
    }
    let progress = Progress::new("importing");
    let mut report = |done, total| progress.report(done, total);
    Ok(ledger.import_with(file, refill.into(), &mut report)?)
}
