//! `quipu prune`

use quipu_merge::CutExpression;
use quipu_store::{PruneOptions, PruneReport};
use serde::Serialize;

use crate::amount::{count, size};
use crate::context::{Context, find_cut};
use crate::exit::Failure;
use crate::output::Progress;
use crate::parse::parsed;

/// Drop the values written up to a cut that the state at the cut, and every later one, no longer
/// shows; and operations up to the last certified checkpoint within it that no later state needs.
///
/// Events, keys, states and their roots stay, here and elsewhere. Reading a value that has been
/// pruned prints nothing and exits 4, and so does reading a state before that checkpoint once
/// operations are gone, or exporting their events. Operations on counters and lists stay. What pruned
/// values held in blocks of their own goes with the next `gc`. `quipu merge --refill` brings all of it
/// back from a replica that still has it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu prune --before 2026-05-01T00:00:00Z --dry-run
  quipu prune --before 2026-05-01T00:00:00Z
  quipu prune --before bafyr4i… && quipu gc
  quipu prune --before checkpoint:12
  quipu pin add dqvzo4m2              the values of this event are kept")]
pub struct Args {
    /// Up to where: a checkpoint (checkpoint:N), a time, a clock, an event (see `quipu help`). What is
    /// written later stays.
    #[arg(long, value_name = "CUT", value_parser = parsed::<CutExpression>)]
    before: CutExpression,
    /// Only tell what would be dropped.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct PruneJson {
    dry_run: bool,
    values: u64,
    opening_bytes: u64,
    blocks: u64,
    block_bytes: u64,
    pinned: u64,
    bodies: u64,
    body_bytes: u64,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let cut = find_cut(&ledger.snapshot()?, Some(&args.before))?;
    let progress = Progress::new("pruning");
    let options = PruneOptions { dry_run: args.dry_run };
    let report = ledger.prune(&cut, options, &mut |done, total| progress.step(done, total))?;
    drop(progress);
    let out = &mut context.out;
    let PruneReport { values, opening_bytes, blocks, block_bytes, pinned, bodies, body_bytes } =
        report;
    if out.is_json() {
        let dry_run = args.dry_run;
        return Ok(out.json(&PruneJson {
            dry_run,
            values,
            opening_bytes,
            blocks,
            block_bytes,
            pinned,
            bodies,
            body_bytes,
        })?);
    }
    let dropped = if args.dry_run { "would be dropped" } else { "dropped" };
    let (values, openings) = (count(values, "value"), size(opening_bytes));
    out.line(format_args!("{values} {dropped}, with openings of {openings}"))?;
    if blocks > 0 {
        let verb = if args.dry_run { "would leave" } else { "leaves" };
        let (blocks, bytes) = (count(blocks, "block"), size(block_bytes));
        out.line(format_args!("that {verb} {blocks} of {bytes} as garbage: see `quipu gc`"))?;
    }
    if bodies > 0 {
        let (events, bytes) = (count(bodies, "event"), size(body_bytes));
        out.line(format_args!("operations of {events} {dropped}, with {bytes}"))?;
    }
    if pinned > 0 {
        out.line(format_args!("{} kept by pins", count(pinned, "value")))?;
    }
    Ok(())
}
