//! `quipu dump`

use quipu_merge::{Cut, CutExpression};
use quipu_store::Value;

use crate::amount::count;
use crate::args::At;
use crate::context::{Context, find_cut, snapshot_at};
use crate::exit::Failure;
use crate::output;
use crate::parse::parsed;

/// Print the full state as one JSON object.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu dump --json > state.json          one line
  quipu dump                              indented
  quipu dump --json --at 2026-05-01T00:00:00Z
  quipu dump --json --certified HEAD1+HEAD2,HEAD3")]
pub struct Args {
    #[command(flatten)]
    at: At,
    /// Certified cuts, the first one first: heads joined by `+` inside a cut; commas, or the
    /// option again, between cuts.
    #[arg(long, value_name = "HEADS[,HEADS…]", value_delimiter = ',',
          value_parser = parsed::<CutExpression>)]
    certified: Vec<CutExpression>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let now = ledger.snapshot()?;
    let mut certified: Vec<Cut> = Vec::new();
    for cut in &args.certified {
        if !matches!(cut, CutExpression::Heads(_)) {
            return Err(Failure::Usage(
                "--certified takes ids of events, joined by `+`".to_owned(),
            ));
        }
        certified.push(find_cut(&now, Some(cut))?);
    }
    let mut pruned = 0_u64;
    let mut note = |value: &Value| pruned += u64::from(*value == Value::Pruned);
    let dump = snapshot_at(&ledger, &args.at)?.dump_noting(&certified, &mut note)?;
    if context.out.is_json() {
        context.out.json(&dump)?;
    } else {
        context.out.json_pretty(&dump)?;
    }
    if pruned > 0 {
        let values = count(pruned, "pruned value");
        output::warning(format_args!("{values} shown as null"));
    }
    Ok(())
}
