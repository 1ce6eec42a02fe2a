//! `quipu merge`

use std::fs::File;
use std::path::PathBuf;

use quipu_store::{Ledger, MergeOptions, MergeReport};

use crate::context::{Context, open_source, source_store};
use crate::exit::Failure;
use crate::output::Progress;
use crate::report;

/// Take in the events of another replica, or of a CAR file.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu merge ../bob --dry-run        what would come
  quipu merge ../bob
  quipu merge bob.car
  quipu merge ../bob --refill         and what has been pruned here")]
pub struct Args {
    /// A store's directory, or a CAR file.
    source: PathBuf,
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
    let report = match source_store(&args.source)? {
        Some(source) if is_same(&source, ledger.dir()) => {
            return Err(Failure::Usage("a store cannot be merged into itself".to_owned()));
        }
        Some(source) => {
            let source = open_source(&source)?;
            let progress = Progress::new("merging");
            if args.dry_run {
                ledger.merge_preview(&source)?
            } else {
                let mut report = |done, total| progress.report(done, total);
                ledger.merge_with(&source, args.refill.into(), &mut report)?
            }
        }
        None => {
            let file = File::open(&args.source).map_err(Failure::file(&args.source))?;
            take_in(&ledger, file, args.dry_run, args.refill)?
        }
    };
    report::print(&report, args.dry_run, &mut context.out)
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

fn is_same(one: &std::path::Path, other: &std::path::Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
