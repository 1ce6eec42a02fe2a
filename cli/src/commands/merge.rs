//! `quipu merge`

use std::fs::File;
use std::path::Path;

use quipu_store::{FillError, Ledger, MergeOptions, MergeReport, OpenError};

use crate::context::{Context, is_same};
use crate::daemon::fetch;
use crate::exit::Failure;
use crate::input;
use crate::output::Progress;
use crate::report::History;
use crate::source::Source;
use crate::{remote, report};

/// Why the history below a checkpoint does not come.
const NOT_BY_EXPORT: &str = "a daemon serves the source, so that it comes as an export: end that daemon, or run `quipu serve` here with that node as a peer (`quipu peer add`)";
pub const NOT_BY_FILE: &str = "a file does not bring it: merge a whole store, or run `quipu serve`, which gets it from peers (`quipu peer add`)";
const BY_DAEMON: &str =
    "the daemon gets it from peers that have it (`quipu peers`, `quipu peer add`)";

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
    /// Take back the values and operations that have been pruned here, as far as they are there.
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
            let history = left(&ledger, "a node gives it while `quipu serve` runs here", context);
            return report::print(&report, false, history.as_ref(), &mut context.out);
        }
    };
    let (report, history) = match context.source_store(source)? {
        Some(source) if is_same(&context.path(&source), ledger.dir()) => {
            return Err(Failure::Usage("a store cannot be merged into itself".to_owned()));
        }
        Some(source) => merge_store(&ledger, &source, args, context)?,
        None => {
            let file = input::open(&context.path(source))?;
            let report = take_in(&ledger, file, args.dry_run, args.refill)?;
            (report, left(&ledger, NOT_BY_FILE, context))
        }
    };
    let history = history.filter(|_| !args.dry_run);
    report::print(&report, args.dry_run, history.as_ref(), &mut context.out)
}

/// Takes in a store, or looks at what it would bring. One that is served is asked for an export.
fn merge_store(
    ledger: &Ledger,
    source: &Path,
    args: &Args,
    context: &Context,
) -> Result<(MergeReport, Option<History>), Failure> {
    let exported = || fetch(&context.path(source));
    let take = |file| {
        let report = take_in(ledger, file, args.dry_run, args.refill)?;
        Ok((report, left(ledger, NOT_BY_EXPORT, context)))
    };
    if let Some(file) = exported()? {
        return take(file);
    }
    let source = match context.open_source(source) {
        // Its daemon was starting.
        Err(Failure::Served(_)) => return take(exported()?.ok_or(Failure::DaemonEnded)?),
        opened => opened?,
    };
    let progress = Progress::new("merging");
    if args.dry_run {
        return Ok((ledger.merge_preview(&source)?, None));
    }
    let mut report = |done, total| progress.report(done, total);
    let merged = ledger.merge_with(&source, args.refill.into(), &mut report)?;
    Ok((merged, fill(ledger, &source)?))
}

/// Has what precedes the checkpoint that a replica starts from come too, if the source has it.
fn fill(ledger: &Ledger, source: &Ledger) -> Result<Option<History>, Failure> {
    if ledger.shallow().is_none() {
        return Ok(None);
    }
    let progress = Progress::new("filling");
    let mut report = |done, total| progress.report(done, total);
    match ledger.fill_from(source, &mut report) {
        Err(FillError::Open(error)) if matches!(*error, OpenError::Locked(_)) => {
            Ok(Some(History::Left(BY_DAEMON.to_owned())))
        }
        // What the source has beyond the checkpoint has come all the same.
        Err(error @ (FillError::NoCheckpoint(_) | FillError::Source(_))) => {
            Ok(Some(History::Left(error.to_string())))
        }
        filled => Ok(filled.map(|()| Some(History::Filled))?),
    }
}

/// What has become of the history below a replica that starts from a checkpoint, where the source is none
/// that brings it.
pub fn left(ledger: &Ledger, why: &str, context: &Context) -> Option<History> {
    ledger.shallow()?;
    let why = if context.served().is_some() { BY_DAEMON } else { why };
    Some(History::Left(why.to_owned()))
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
