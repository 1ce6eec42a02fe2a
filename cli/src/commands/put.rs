//! `quipu put`

use std::path::PathBuf;

use quipu_merge::{EventId, MAX_OPERATIONS};
use quipu_store::{Expected, ReadError, Snapshot};

use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::input::ValueArgs;
use crate::parse::number;

use super::{batch, print_written, put_dir};

/// Write a register, a tree of files, or many operations from a file.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu put sign/colour green
  quipu put logo --file logo.png
  date | quipu put note -
  quipu put sign/colour red --if bafyr4i…       only on top of exactly that write
  quipu put --dir site www/                     every file below `site`, as www/PATH
  quipu put --batch in.ndjson --group 1000 --json

With --dir, files that the ledger shows already are not written again, and registers below the
prefix that are no file of the directory any more are deleted.

A line of a batch is one operation: {\"op\":\"put\",\"key\":\"k\",\"value\":\"v\"}, or del (key),
inc (key, by), add and rem (key, member), append (key, value). Bytes that are not text are
{\"/\":{\"bytes\":\"base64\"}}.")]
pub struct Args {
    /// The register; with --dir, what the keys of the tree begin with, ending in `/`.
    #[arg(value_name = "KEY|PREFIX", required_unless_present = "batch")]
    key: Option<String>,
    #[command(flatten)]
    value: ValueArgs,
    /// Write only where the register's current writes are exactly these events.
    #[arg(long = "if", value_name = "EVENT+…", conflicts_with = "if_absent")]
    only_if: Option<String>,
    /// Write only where the register has no value.
    #[arg(long)]
    if_absent: bool,
    /// Write the operations in this file, one a line; `-` reads stdin.
    #[arg(long, value_name = "F.ndjson", conflicts_with_all = ["key", "value", "file", "only_if", "if_absent"])]
    batch: Option<PathBuf>,
    /// Make the registers below PREFIX hold the files in this directory, and nothing else.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["value", "file", "only_if", "if_absent", "batch"])]
    dir: Option<PathBuf>,
    /// How many operations go into an event, from 1 to 10,000.
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "batch",
          value_parser = group)]
    group: u32,
    #[command(flatten)]
    wait: Wait,
}

/// How many operations an event is to have.
fn group(text: &str) -> Result<u32, String> {
    let within = |number: &u32| (1..=MAX_OPERATIONS).contains(&(*number as usize));
    let number = Some(number(text)?).filter(within);
    number.ok_or_else(|| format!("not from 1 to {MAX_OPERATIONS}"))
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    if let Some(file) = args.batch {
        return batch::run(&file, args.group, args.wait, context);
    }
    let key = args.key.unwrap_or_default();
    if let Some(dir) = args.dir {
        return put_dir::run(&dir, &key, args.wait, context);
    }
    let Some(source) = args.value.source() else {
        return Err(Failure::Usage("a VALUE, --file F or `-` (stdin) is needed".to_owned()));
    };
    let input = source.open(context)?;
    let ledger = context.open_to_write()?;
    args.wait.check(&ledger, context)?;
    let mut transaction = ledger.transaction();
    if let Some(expected) = args.only_if {
        let snapshot = ledger.snapshot()?;
        let events =
            expected.split('+').map(|part| event_of(&snapshot, part)).collect::<Result<_, _>>()?;
        transaction.require(&key, Expected::Writes(events))?;
    } else if args.if_absent {
        transaction.require(&key, Expected::Absent)?;
    }
    transaction.put_from(&key, input)?;
    let committed = transaction.commit()?;
    print_written(&ledger, &committed, args.wait, context)
}

/// An event that a condition names. One that is not held is no mistake: the condition fails.
fn event_of(snapshot: &Snapshot<'_>, part: &str) -> Result<EventId, ReadError> {
    part.parse().or_else(|_| snapshot.find_event(part))
}
