//! `quipu pin`

use quipu_merge::{BlockId, EventId};
use quipu_store::{Pin, ReadError, Snapshot};
use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Look, Output};

/// Keep blocks that nothing refers to, and the values of events that no state shows.
///
/// `gc` keeps a pinned block and all that it lists, and `prune` the values that hold it; of a
/// pinned event, `prune` keeps the values. Pins are known here only. They do not keep what is
/// erased by `redact`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu pin add dqvzo4m2                    an event, by a unique part of its id
  quipu pin add bafkr4ieh…                  a block, as `quipu get --json` names it
  quipu pin list
  quipu pin rm dqvzo4m2")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Pin blocks and events: all of them, or none where one is not here.
    Add {
        /// Ids of blocks; ids of events, or unique parts of them.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Remove pins: all of them, or none where one is not there.
    Rm {
        /// Ids of blocks; ids of events, or unique parts of them.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// List what is pinned.
    List,
}

#[derive(Serialize)]
struct PinJson {
    kind: &'static str,
    id: String,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let pins = match &args.command {
        Command::Add { ids } => {
            let pins = find(&ledger.snapshot()?, ids)?;
            ledger.pin(&pins)?;
            pins
        }
        Command::Rm { ids } => {
            let pins = find(&ledger.snapshot()?, ids)?;
            ledger.unpin(&pins)?;
            pins
        }
        Command::List => ledger.pins()?,
    };
    pins.iter().try_for_each(|pin| print(pin, &mut context.out))
}

/// What is named: a whole id may be a block's.
fn find(snapshot: &Snapshot<'_>, ids: &[String]) -> Result<Vec<Pin>, ReadError> {
    let pins = ids.iter().map(|text| {
        let Ok(id) = text.parse::<BlockId>() else {
            return snapshot.find_event(text).map(Pin::Event);
        };
        Ok(match EventId::from_block(id) {
            Some(event) if snapshot.contains(event)? => Pin::Event(event),
            _ => Pin::Block(id),
        })
    });
    pins.collect()
}

fn print(pin: &Pin, out: &mut Output) -> Result<(), Failure> {
    let (kind, id) = match pin {
        Pin::Block(id) => ("block", id.to_string()),
        Pin::Event(id) => ("event", id.to_string()),
    };
    if out.is_json() {
        return Ok(out.json(&PinJson { kind, id })?);
    }
    let id = out.paint(Look::Id, id);
    Ok(out.line(format_args!("{kind} {id}"))?)
}
