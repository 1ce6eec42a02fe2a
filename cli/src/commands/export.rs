//! `quipu export`

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use quipu_merge::CutExpression;
use quipu_store::{ExportError, ExportReport};
use serde::Serialize;

use crate::amount::{count, size};
use crate::args::At;
use crate::context::{Context, cut_at, find_cut};
use crate::exit::Failure;
use crate::output::{self, Output, Progress};

/// Write events and values to a CAR file, for `import` and `clone`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu export backup.car
  quipu export news.car --since alice:12,bob:7
  quipu export - | ssh host quipu import -")]
pub struct Args {
    /// The file; `-` writes to stdout.
    #[arg(value_name = "F.car")]
    file: PathBuf,
    #[command(flatten)]
    at: At,
    /// Leave out what this cut holds.
    #[arg(long, value_name = "CUT")]
    since: Option<CutExpression>,
}

#[derive(Serialize)]
struct ExportJson {
    file: String,
    events: u64,
    blocks: u64,
    bytes: u64,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let to_stdout = args.file.as_os_str() == "-";
    if to_stdout && context.out.is_json() {
        return Err(Failure::Usage("--json and a file on stdout do not go together".to_owned()));
    }
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    let cut = cut_at(&snapshot, &args.at)?;
    let since = args.since.as_ref().map(|since| find_cut(&snapshot, Some(since))).transpose()?;
    let progress = Progress::new("exporting");
    let mut export = |out: &mut dyn Write| -> Result<(ExportReport, u64), ExportError> {
        let mut counted = Counted { out, bytes: 0 };
        let report = ledger.export(&mut counted, &cut, since.as_ref(), &mut |done, total| {
            progress.report(done, total)
        })?;
        Ok((report, counted.bytes))
    };
    let (report, bytes) = if to_stdout {
        to_stdout_whole(&mut context.out, &mut export)?
    } else {
        to_file(&args.file, context, &mut export)?
    };
    let (events, blocks) = (report.events, report.blocks);
    if context.out.is_json() {
        let file = args.file.display().to_string();
        context.out.json(&ExportJson { file, events, blocks, bytes })?;
    } else {
        let (events, blocks) = (count(events, "event"), count(blocks, "block"));
        output::note(format_args!("{events} in {blocks}, {}", size(bytes)));
    }
    Ok(())
}

type Export<'e> = &'e mut dyn FnMut(&mut dyn Write) -> Result<(ExportReport, u64), ExportError>;

fn to_stdout_whole(out: &mut Output, export: Export<'_>) -> Result<(ExportReport, u64), Failure> {
    let report = export(out.writer()).map_err(|error| match error {
        ExportError::Output(error) => Failure::Output(error),
        other => other.into(),
    })?;
    out.flush()?;
    Ok(report)
}

/// Writes the file as a whole, or leaves what was there.
fn to_file(
    written: &Path,
    context: &Context,
    export: Export<'_>,
) -> Result<(ExportReport, u64), Failure> {
    let dir = written.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (dir, path) = (&context.path(dir), &context.path(written));
    let fresh = tempfile::Builder::new()
        .prefix(".quipu-export-")
        .tempfile_in(dir)
        .map_err(Failure::file(dir))?;
    let mut writer = BufWriter::with_capacity(1 << 20, fresh);
    let report = export(&mut writer)?;
    let fresh = writer.into_inner().map_err(|error| Failure::file(path)(error.into_error()))?;
    fresh.as_file().sync_all().map_err(Failure::file(path))?;
    fresh.persist(path).map_err(|error| Failure::file(path)(error.error))?;
    Ok(report)
}

/// Counts what goes through.
struct Counted<'w> {
    out: &'w mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
