//! `quipu merge`

use std::fs::File;
use std::path::PathBuf;

use quipu_store::{Ledger, MergeReport};

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
  quipu merge bob.car")]
pub struct Args {
    /// A store's directory, or a CAR file.
    source: PathBuf,
    /// Only tell what would come.
    #[arg(long)]
    dry_run: bool,
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
                ledger.merge(&source, &mut |done, total| progress.report(done, total))?
            }
        }
        None => {
            let file = File::open(&args.source).map_err(Failure::file(&args.source))?;
            take_in(&ledger, file, args.dry_run)?
        }
    };
    report::print(&report, args.dry_run, &mut context.out)
}

/// Takes in a file, or looks at what it would bring.
pub fn take_in(ledger: &Ledger, file: File, dry_run: bool) -> Result<MergeReport, Failure> {
    if dry_run {
        return Ok(ledger.import_preview(file)?);
    }
    let progress = Progress::new("importing");
    Ok(ledger.import(file, &mut |done, total| progress.report(done, total))?)
}

fn is_same(one: &std::path::Path, other: &std::path::Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
