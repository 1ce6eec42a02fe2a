//! `quipu watch`

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quipu_merge::EventId;
use quipu_net::{Cursor, Watch};
use quipu_store::{EventInfo, Ledger, ReadError, Snapshot};
use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::output;
use crate::parse::{AtHeight, parsed};
use crate::shown::{EventJson, Names};

use super::log::Printer;

/// How often to look whether anybody still reads what is printed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Print events as they come in, whoever wrote them.
///
/// Needs `quipu serve`, for otherwise nothing comes in while this runs. Events come in the order in which
/// this replica admitted them. With --json each comes with a cursor: --after goes on from there, also
/// after a restart, and leaves nothing out.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu watch                             from now on
  quipu watch --key sign/colour --json
  quipu watch --after CURSOR              and what has come meanwhile
  quipu watch --from-start --once         all that is here, in the order in which it came
  quipu watch --from-checkpoint 7         what checkpoint 7 does not hold

What is not here cannot be followed: where operations have been pruned, --key does not begin
before the checkpoint up to which they are gone, and in a store that starts from a checkpoint
nothing begins before that. The exit code is 4 then.")]
pub struct Args {
    /// Only events that work on keys that begin so.
    #[arg(long, value_name = "PREFIX")]
    key: Option<String>,
    /// Begin after this cursor.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Begin with the first event.
    #[arg(long, conflicts_with = "after")]
    from_start: bool,
    /// Begin with what this certified checkpoint does not hold: a height, or checkpoint:N.
    #[arg(long, value_name = "N", conflicts_with_all = ["after", "from_start"],
          value_parser = parsed::<AtHeight>)]
    from_checkpoint: Option<AtHeight>,
    /// End when all that is here has been printed.
    #[arg(long)]
    once: bool,
}

#[derive(Serialize)]
struct SeenJson {
    cursor: String,
    #[serde(flatten)]
    event: EventJson,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    if context.served().is_none() && !args.once {
        let why = "without a daemon nothing comes in: run `quipu serve`, or add --once";
        return Err(Failure::Usage(why.to_owned()));
    }
    let mut watch = start(args, ledger.clone())?;
    if args.key.is_some() {
        watch.check_operations()?;
    }
    loop {
        context.console().check_gone()?;
        if context.served().is_some_and(|served| served.make_way.load(Ordering::Relaxed)) {
            let cursor = watch.cursor()?;
            output::note(format_args!(
                "the daemon is stopping, or opens its store anew: go on with `quipu watch --after {cursor}`"
            ));
            return Ok(());
        }
        match watch.next(if args.once { Duration::ZERO } else { LOOK_EVERY })? {
            Some(seen) => print(args, &ledger, &mut watch, seen.id, context)?,
            None if args.once => return Ok(()),
            None => {}
        }
    }
}

fn start(args: &Args, ledger: Arc<Ledger>) -> Result<Watch, Failure> {
    Ok(match (&args.after, args.from_checkpoint) {
        (Some(text), _) => {
            let cursor: Cursor = text.parse()?;
            Watch::after(ledger, &cursor)?
        }
        (_, Some(height)) => Watch::from_checkpoint(ledger, height.0)?,
        _ if args.from_start => Watch::from_start(ledger)?,
        _ => Watch::from_now(ledger)?,
    })
}

fn print(
    args: &Args,
    ledger: &Ledger,
    watch: &mut Watch,
    id: EventId,
    context: &mut Context,
) -> Result<(), Failure> {
    let snapshot = ledger.snapshot()?;
    let event = snapshot.event(id)?;
    if !concerns(&snapshot, &event, args.key.as_deref())? {
        return Ok(());
    }
    let out = &mut context.out;
    if out.is_json() {
        let event = EventJson::new(&snapshot, &event)?;
        out.json(&SeenJson { cursor: watch.cursor()?.to_string(), event })?;
    } else {
        let names = Names::of(&snapshot)?;
        Printer::new(&snapshot, &names, out).print(&event)?;
    }
    Ok(out.flush()?)
}

/// Whether an event works on a key that begins so.
fn concerns(
    snapshot: &Snapshot<'_>,
    event: &EventInfo,
    prefix: Option<&str>,
) -> Result<bool, ReadError> {
    let Some(prefix) = prefix else { return Ok(true) };
    // They were pruned while this ran.
    if event.body.is_none() {
        snapshot.check_history()?;
    }
    Ok(event.operations().iter().any(|operation| operation.key().as_str().starts_with(prefix)))
}
