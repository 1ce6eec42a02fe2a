//! `quipu clone`

use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use quipu_merge::{CutExpression, Role};
use quipu_store::{Below, Ledger, MergeReport, OpenError, Options, StartError, StartOptions};

use crate::amount::count;
use crate::context::{Context, find_cut, warn_of_copy};
use crate::exit::{Failure, NotFinal};
use crate::input;
use crate::output::{self, Progress};
use crate::parse::parsed;
use crate::remote;
use crate::route::Route;
use crate::source::Source;

use super::init::print_new;

/// Make a new replica with a key of its own, from a store, a CAR file or a node.
///
/// It writes no event, except that with --grant the source, a local store whose key is an
/// admin's, gives the new key a role first. Where the cloning fails after that, only the grant is
/// left. A node lets in only members and readers: where it does not know the new key, that is kept in
/// DIR, and the same command goes on when it does. So it is where the connection is lost midway;
/// where nothing has been had for any other reason, nothing is left.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu clone ../alice bob --grant writer
  quipu clone backup.car restored
  quipu clone quic://KEY@node-1.example.org:7420 shop
  quipu clone --from-checkpoint quic://KEY@node-1.example.org:7420 shop
  quipu clone ../alice then --at 2026-05-01T00:00:00Z")]
pub struct Args {
    /// A store's directory, a CAR file, or a node: quic://KEY@HOST:PORT.
    source: Source,
    /// Where to; unless given, where `--store` or QUIPU_STORE says, and `./.quipu` without them.
    dir: Option<PathBuf>,
    /// Only this cut of the source.
    #[arg(long, value_name = "CUT", conflicts_with = "grant", value_parser = parsed::<CutExpression>)]
    at: Option<CutExpression>,
    /// Have the source grant the new key this role: writer, admin or validator.
    #[arg(long, value_name = "ROLE", value_parser = parsed::<Role>)]
    grant: Option<Role>,
    /// Of a node, fetch only long values below these keys; others come when they are read while
    /// `quipu serve` runs.
    #[arg(long, value_name = "PREFIX", num_args = 1.., conflicts_with_all = ["at", "grant"])]
    only: Option<Vec<String>>,
    #[command(flatten)]
    start: Start,
    /// Ask for a passphrase to encrypt the new key with.
    #[arg(long)]
    encrypt: bool,
}

/// Whether to start from a checkpoint.
#[derive(Clone, Copy, clap::Args)]
struct Start {
    /// Start from the source's last certified checkpoint: its state is checked against the state root, and the
    /// replica works at once. The events before it come while `quipu serve` runs, or with `quipu merge` of a
    /// store; until they have, reading below says `pruned`.
    #[arg(long, conflicts_with = "at")]
    from_checkpoint: bool,
    /// With --from-checkpoint: of what precedes the checkpoint, keep the events alone: when they have come, the bodies and values that no
    /// later state needs are dropped, as `quipu prune --before` that checkpoint does. Not with
    /// --verify-signatures.
    #[arg(long, requires = "from_checkpoint", conflicts_with = "verify_signatures")]
    shallow: bool,
    /// With --from-checkpoint: check every signature of the events that come later, and not only their hashes
    /// against the certified log. Not with --shallow.
    #[arg(long, requires = "from_checkpoint")]
    verify_signatures: bool,
}

impl Start {
    /// What is to become of the events before the checkpoint, where one is started from.
    const fn below(self) -> Option<Below> {
        match (self.from_checkpoint, self.shallow, self.verify_signatures) {
            (false, ..) => None,
            (true, true, _) => Some(Below::Pruned),
            (true, false, true) => Some(Below::Signatures),
            (true, false, false) => Some(Below::Hashes),
        }
    }
}

impl Args {
    /// Where the command runs.
    pub fn route(&self) -> Route<'_> {
        match &self.source {
            Source::Path(path) => Route::Source(path),
            Source::Peer(_) => Route::Here,
        }
    }

    /// Whether it says where the store goes.
    pub const fn names_dir(&self) -> bool {
        self.dir.is_some()
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
            let (ledger, report) =
                remote::clone(peer, (&written, &dir), &options, args.only, args.start.below())?;
            return print(&ledger, &report, &written, context);
        }
    };
    let (ledger, report) = match (context.source_store(path)?, args.start.below()) {
        (Some(source), below) => {
            let source = context.open_source(&source)?;
            match (below, args.grant) {
                (Some(below), role) => started(&source, &dir, &options, below, role, context)?,
                (None, Some(role)) => granted(&source, &dir, &options, role, context)?,
                (None, None) => from_store(&source, &dir, &options, args.at.as_ref())?,
            }
        }
        (None, Some(_)) if !context.path(path).exists() => {
            return Err(OpenError::NotFound(path.clone()).into());
        }
        (None, Some(_)) => {
            let why = "--from-checkpoint needs a store or a node as the source";
            return Err(Failure::Usage(why.to_owned()));
        }
        (None, None) if args.grant.is_some() => {
            let why = "--grant needs a source that is a local store, with an admin's key";
            return Err(Failure::Usage(why.to_owned()));
        }
        (None, None) => from_file(&context.path(path), &dir, &options, args.at.as_ref())?,
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
    let (place, events) = (written.display(), count(report.new_events, "event"));
    match ledger.shallow() {
        None => {
            let certified = ledger.snapshot()?.certified_height().map_or(0, |height| height.0);
            let checkpoints = count(certified, "checkpoint");
            let and = if certified > 0 { format!(" and {checkpoints}") } else { String::new() };
            output::note(format_args!("a new replica in {place} with {events}{and}"));
        }
        Some(shallow) => {
            let height = shallow.height;
            output::note(format_args!(
                "a new replica in {place} from checkpoint {height}, with {events} after it"
            ));
            output::note(
                "what precedes it comes while `quipu serve` runs and reaches a peer that has it, or with \
                 `quipu merge` of a store",
            );
        }
    }
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

/// Starts from the last checkpoint of a store, which may grant a role before, and follows it to its
/// end.
fn started(
    source: &Ledger,
    dir: &Path,
    options: &Options,
    below: Below,
    grant: Option<Role>,
    context: &Context,
) -> Cloned {
    let parent = parent_of(dir);
    let failed = || Failure::file(parent);
    std::fs::create_dir_all(parent).map_err(failed())?;
    let mut file = tempfile::tempfile_in(parent).map_err(failed())?;
    let mut out = BufWriter::new(&file);
    source.write_start(&mut out).map_err(|error| match error {
        StartError::NothingCertified => nothing_certified(source),
        other => other.into(),
    })?;
    out.flush().map_err(failed())?;
    drop(out);
    file.rewind().map_err(failed())?;
    if grant.is_some() {
        warn_of_copy(source);
        context.unlock(source)?;
    }
    let newcomer = options.newcomer(dir)?;
    let leftover = newcomer.leftover();
    let progress = Progress::new("cloning");
    let mut report = |done, total| progress.report(done, total);
    let start = StartOptions { below, ledger: Some(source.id()) };
    let started = grant
        .map_or(Ok(()), |role| source.grant(newcomer.author(), role).map(drop))
        .map_err(|error| OpenError::Grant(Box::new(error)))
        .and_then(|()| newcomer.start_from(&mut BufReader::new(file), &start, &mut report));
    let (ledger, _) = match (started, leftover) {
        (Err(error), Some(leftover)) => {
            leftover.remove();
            return Err(error.into());
        }
        (started, _) => started?,
    };
    let merged = ledger.merge(source, &mut report)?;
    Ok((ledger, merged))
}

/// Why a source has no checkpoint to start from.
fn nothing_certified(source: &Ledger) -> Failure {
    match source.snapshot() {
        Ok(snapshot) if snapshot.next_validators().is_empty() => NotFinal::NoValidators.into(),
        _ => StartError::NothingCertified.into(),
    }
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
    let open = || input::open(file);
    let progress = Progress::new("cloning");
    let mut report = |done, total| progress.report(done, total);
    let Some(at) = at else { return Ok(options.clone_file(dir, open()?, &mut report)?) };
    // A file has no order to cut by: all of it goes into a store beside the new one first.
    let parent = parent_of(dir);
    std::fs::create_dir_all(parent).map_err(Failure::file(parent))?;
    let whole = tempfile::Builder::new()
        .prefix(".quipu-clone-")
        .tempdir_in(parent)
        .map_err(Failure::file(parent))?;
    let (source, _) = Options::new().clone_file(whole.path().join("all"), open()?, &mut report)?;
    let cut = find_cut(&source.snapshot()?, Some(at))?;
    Ok(options.clone_ledger(dir, &source, &cut, &mut report)?)
}

/// The directory that a new store's is in.
fn parent_of(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
