//! `quipu export`

use std::io::{self, Write};
use std::path::PathBuf;

use quipu_merge::CutExpression;
use quipu_store::{ExportError, ExportReport};
use serde::Serialize;

use crate::amount::{count, size};
use crate::args::At;
use crate::context::{Context, cut_at, find_cut};
use crate::exit::Failure;
use crate::output::{self, Output, Progress};
use crate::parse::parsed;
use crate::whole_file::write_whole;

/// Write events, values and checkpoints to a CAR file, for `import` and `clone`.
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
    #[arg(long, value_name = "CUT", value_parser = parsed::<CutExpression>)]
    since: Option<CutExpression>,
}

#[derive(Serialize)]
struct ExportJson {
    file: String,
    events: u64,
    blocks: u64,
    bytes: u64,
    checkpoints: u64,
    /// How many more there are than one file can name.
    left_out_checkpoints: u64,
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
        write_whole(&args.file, context, |out| {
            export(out).map_err(|error| match error {
                ExportError::Output(error) => Failure::file(&args.file)(error),
                other => other.into(),
            })
        })?
    };
    let ExportReport { events, blocks, checkpoints, left_out, .. } = report;
    if context.out.is_json() {
        let file = args.file.display().to_string();
        let left_out_checkpoints = left_out;
        context.out.json(&ExportJson {
            file,
            events,
            blocks,
            bytes,
            checkpoints,
            left_out_checkpoints,
        })?;
    } else {
        let (events, blocks) = (count(events, "event"), count(blocks, "block"));
        let certified = match checkpoints {
            0 => String::new(),
            _ => format!(" and {}", count(checkpoints, "checkpoint")),
        };
        output::note(format_args!("{events}{certified} in {blocks}, {}", size(bytes)));
    }
    if left_out > 0 {
        output::warning(format_args!(
            "{left_out} more checkpoints than one file can name: export the rest with --since checkpoint:N"
        ));
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
