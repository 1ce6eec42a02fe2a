//! `quipu clone`

use std::fs::File;
use std::path::{Path, PathBuf};

use quipu_merge::{CutExpression, Role};
use quipu_store::{Ledger, MergeReport, Options};

use crate::amount::count;
use crate::context::{Context, find_cut, warn_of_copy};
use crate::exit::Failure;
use crate::output::{self, Progress};
use crate::remote;
use crate::route::Route;
use crate::source::Source;

use super::init::print_new;

/// Make a new replica with a key of its own, from a store, a CAR file or a node.
///
/// It writes no event, except that with --grant the source, a local store whose key is an
/// admin's, gives the new key a role first. Where the cloning fails after that, only the grant is
/// left. A node lets in only members and readers: where it does not know the new key, that is kept in
/// DIR, and the same command goes on when it does.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu clone ../alice bob --grant writer
  quipu clone backup.car restored
  quipu clone quic://KEY@node-1.example.org:7420 shop
  quipu clone ../alice then --at 2026-05-01T00:00:00Z")]
pub struct Args {
    /// A store's directory, a CAR file, or a node: quic://KEY@HOST:PORT.
    source: Source,
    /// Where to; `./.quipu` unless given.
    dir: Option<PathBuf>,
    /// Only this cut of the source.
    #[arg(long, value_name = "CUT", conflicts_with = "grant")]
    at: Option<CutExpression>,
    /// Have the source grant the new key this role: writer, admin or validator.
    #[arg(long, value_name = "ROLE")]
    grant: Option<Role>,
    /// Of a node, fetch only long values below these keys; others come when they are read while
    /// `quipu serve` runs.
    #[arg(long, value_name = "PREFIX", num_args = 1.., conflicts_with_all = ["at", "grant"])]
    only: Option<Vec<String>>,
    /// Ask for a passphrase to encrypt the new key with.
    #[arg(long)]
    encrypt: bool,
}

impl Args {
    /// Where the command runs.
    pub fn route(&self) -> Route<'_> {
        match &self.source {
            Source::Path(path) => Route::Source(path),
            Source::Peer(_) => Route::Here,
        }
    }
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let written = context.new_store(args.dir);
    let dir = context.path(&written);
    let options = context.new_options(args.encrypt)?;
    let path = match &args.source {
        Source::Path(_) if args.only.is_some() => {
            return Err(Failure::Usage("--only needs a node as the source".to_owned()));
        }
        Source::Path(path) => path,
        Source::Peer(_) if args.at.is_some() || args.grant.is_some() => {
            let why = "--at and --grant are for stores and files, not for a node";
            return Err(Failure::Usage(why.to_owned()));
        }
        Source::Peer(peer) => {
            let (ledger, report) = remote::clone(peer, &dir, &options, args.only)?;
            return print(&ledger, &report, &written, context);
        }
    };
    let (ledger, report) = match context.source_store(path)? {
        Some(source) => {
            let source = context.open_source(&source)?;
            match args.grant {
                Some(role) => granted(&source, &dir, &options, role, context)?,
                None => from_store(&source, &dir, &options, args.at.as_ref())?,
            }
        }
        None if args.grant.is_some() => {
            let why = "--grant needs a source that is a local store, with an admin's key";
            return Err(Failure::Usage(why.to_owned()));
        }
        None => from_file(&context.path(path), &dir, &options, args.at.as_ref())?,
    };
    print(&ledger, &report, &written, context)
}

fn print(
    ledger: &Ledger,
    report: &MergeReport,
    written: &Path,
    context: &mut Context,
) -> Result<(), Failure> {
    print_new(ledger, written, &mut context.out)?;
    output::note(format_args!(
        "a new replica in {} with {}",
        written.display(),
        count(report.new_events, "event")
    ));
    for waiting in &report.waiting {
        output::note(crate::report::waiting_line(waiting));
    }
    Ok(())
}

type Cloned = Result<(Ledger, MergeReport), Failure>;

fn from_store(
    source: &Ledger,
    dir: &Path,
    options: &Options,
    at: Option<&CutExpression>,
) -> Cloned {
    let cut = find_cut(&source.snapshot()?, at)?;
    let progress = Progress::new("cloning");
    let mut report = |done, total| progress.report(done, total);
    Ok(options.clone_ledger(dir, source, &cut, &mut report)?)
}

/// Clones all of a store, which writes the grant before.
fn granted(
    source: &Ledger,
    dir: &Path,
    options: &Options,
    role: Role,
    context: &Context,
) -> Cloned {
    warn_of_copy(source);
    context.unlock(source)?;
    let progress = Progress::new("cloning");
    let mut report = |done, total| progress.report(done, total);
    Ok(options.clone_granted(dir, source, role, &mut report)?)
}

fn from_file(file: &Path, dir: &Path, options: &Options, at: Option<&CutExpression>) -> Cloned {
    let open = || File::open(file).map_err(Failure::file(file));
    let progress = Progress::new("cloning");
    let mut report = |done, total| progress.report(done, total);
    let Some(at) = at else { return Ok(options.clone_file(dir, open()?, &mut report)?) };
    // A file has no order to cut by: all of it goes into a store beside the new one first.
    let parent =
        dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Failure::file(parent))?;
    let whole = tempfile::Builder::new()
        .prefix(".quipu-clone-")
        .tempdir_in(parent)
        .map_err(Failure::file(parent))?;
    let (source, _) = Options::new().clone_file(whole.path().join("all"), open()?, &mut report)?;
    let cut = find_cut(&source.snapshot()?, Some(at))?;
    Ok(options.clone_ledger(dir, &source, &cut, &mut report)?)
}
