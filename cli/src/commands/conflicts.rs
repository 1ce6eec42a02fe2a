//! `quipu conflicts`

use quipu_net::WriteOut;
use serde::Serialize;

use crate::args::At;
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;
use crate::output::Look;
use crate::shown::{self, Names};

use super::get::write_line;

/// List the registers with more than one value.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu conflicts
  quipu conflicts sign/ --json")]
pub struct Args {
    /// Only keys that begin with this.
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    at: At,
}

#[derive(Serialize)]
struct ConflictJson<'k> {
    key: &'k str,
    values: Vec<WriteOut>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = snapshot_at(&ledger, &args.at)?;
    let names = Names::of(&snapshot)?;
    let out = &mut context.out;
    for key in snapshot.conflicts(&args.prefix)? {
        let writes = snapshot.register(&key)?;
        if out.is_json() {
            out.json(&ConflictJson {
                key: &key,
                values: writes.iter().map(WriteOut::from).collect(),
            })?;
            continue;
        }
        let title = out.paint(Look::Key, shown::clean(&key));
        out.line(title)?;
        for write in &writes {
            let line = write_line(write, &names, out);
            out.line(format_args!("    {line}"))?;
        }
    }
    Ok(())
}
