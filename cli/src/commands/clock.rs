//! `quipu clock`

use std::collections::BTreeMap;

use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::shown::{self, Names};

/// Print the vector clock of an event, or of everything that is held; it can be given as a CUT.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu clock
  quipu clock dqvzo4m2
  quipu keys --at \"$(quipu clock dqvzo4m2)\"")]
pub struct Args {
    /// The event's id, or a unique part of it.
    event: Option<String>,
}

#[derive(Serialize)]
struct ClockJson {
    event: Option<String>,
    clock: BTreeMap<String, u64>,
}

/// Letters of a key that two authors do not share by chance.
const LETTERS: usize = 16;

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    let event = args.event.as_deref().map(|part| snapshot.find_event(part)).transpose()?;
    let clock = match event {
        Some(event) => snapshot.clock(event)?,
        None => snapshot.version()?,
    };
    if context.out.is_json() {
        let event = event.map(|event| event.to_string());
        return Ok(context.out.json(&ClockJson { event, clock: shown::by_author(&clock) })?);
    }
    let names = Names::of(&snapshot)?;
    let entries: Vec<_> = clock
        .iter()
        .map(|(author, seq)| format!("{}:{seq}", names.show_long(*author, LETTERS)))
        .collect();
    Ok(context.out.line(entries.join(","))?)
}
