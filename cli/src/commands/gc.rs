//! `quipu gc`

use quipu_store::{GcOptions, GcReport};
use serde::Serialize;

use crate::amount::{count, size};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Progress;
use crate::period::Period;

/// Delete the blocks of long values that nothing refers to any more, and the bytes of erased
/// values, and give their room back to the disk.
///
/// Others may read and write meanwhile. What an interrupted `put` or `merge` has left is deleted
/// when its grace period is over; what has been erased has none.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu gc --dry-run
  quipu gc
  quipu gc --grace 0s            nothing else is writing, and nothing is to be resumed")]
pub struct Args {
    /// Only tell what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// How long blocks stay after the last reference to them has gone: 90s, 15m, 12h, 7d.
    #[arg(long, value_name = "D", default_value = "24h")]
    grace: Period,
}

#[derive(Serialize)]
struct GcJson {
    dry_run: bool,
    blocks: u64,
    bytes: u64,
    young: u64,
    in_use: u64,
    unpinned: u64,
    purged: u64,
    disk_before: u64,
    disk_after: u64,
    collecting_ms: u128,
    reclaiming_ms: u128,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let progress = Progress::new("collecting");
    let options = GcOptions { grace: args.grace.0, dry_run: args.dry_run };
    let report = ledger.gc(options, &mut |done, total| progress.step(done, total))?;
    drop(progress);
    let out = &mut context.out;
    let GcReport {
        blocks, bytes, young, in_use, unpinned, purged, disk_before, disk_after, ..
    } = report;
    let GcReport { collecting, reclaiming, .. } = report;
    if out.is_json() {
        let dry_run = args.dry_run;
        return Ok(out.json(&GcJson {
            dry_run,
            blocks,
            bytes,
            young,
            in_use,
            unpinned,
            purged,
            disk_before,
            disk_after,
            collecting_ms: collecting.as_millis(),
            reclaiming_ms: reclaiming.as_millis(),
        })?);
    }
    let verb = if args.dry_run { "would be deleted" } else { "deleted" };
    out.line(format_args!("{} of {} {verb}", count(blocks, "block"), size(bytes)))?;
    if unpinned > 0 {
        let verb = if args.dry_run { "would go" } else { "went" };
        out.line(format_args!("{unpinned} of them {verb} although pinned: they are erased"))?;
    }
    if purged > 0 {
        let verb = if args.dry_run { "would be removed" } else { "removed" };
        let events = count(purged, "event");
        out.line(format_args!("the erased values of {events} {verb} from all files"))?;
    }
    if young > 0 {
        out.line(format_args!("{} kept until the grace period is over", count(young, "block")))?;
    }
    if in_use > 0 {
        let blocks = count(in_use, "block");
        out.line(format_args!("{blocks} kept because somebody is about to refer to them"))?;
    }
    if !args.dry_run {
        let freed = size(disk_before.saturating_sub(disk_after));
        let left = size(disk_after);
        out.line(format_args!("{freed} given back to the disk, {left} left in tables"))?;
        out.line(format_args!(
            "{collecting:.1?} for finding and deleting, {reclaiming:.1?} for rewriting files"
        ))?;
    }
    Ok(())
}
