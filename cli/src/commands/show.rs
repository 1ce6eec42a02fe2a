//! `quipu show`

use quipu_net::rfc3339;
use quipu_store::EventInfo;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Look;
use crate::shown::{self, EventJson, Names};

/// Show one event.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu show dqvzo4m2
  quipu show bafyr4i… --json")]
pub struct Args {
    /// Its id, or a unique part of it.
    event: String,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    let event = snapshot.event(snapshot.find_event(&args.event)?)?;
    let out = &mut context.out;
    if out.is_json() {
        return Ok(out.json(&EventJson::new(&snapshot, &event)?)?);
    }
    let names = Names::of(&snapshot)?;
    let id = out.paint(Look::Id, event.id);
    let void = if event.void { out.paint(Look::Warn, " void") } else { String::new() };
    out.line(format_args!("event   {id}{void}"))?;
    let author = out.paint(Look::Author, event.author);
    let name = names
        .name(event.author)
        .map(|name| format!(" ({})", shown::clean(name)))
        .unwrap_or_default();
    out.line(format_args!("author  {author}{name}"))?;
    out.line(format_args!("seq     {}", event.seq))?;
    out.line(format_args!("time    {}", rfc3339(event.time)))?;
    for (what, id) in follows(&event) {
        out.line(format_args!("{what}  {id}"))?;
    }
    match event.certified {
        Some(height) => out.line(format_args!("final   since checkpoint {height}"))?,
        None if snapshot.next_validators().is_empty() => {}
        None => out.line("final   not yet")?,
    }
    let mut index = 0;
    while let Some(line) = shown::operation_line(&snapshot, &names, &event, index)? {
        out.line(format_args!("    {line}"))?;
        index += 1;
    }
    Ok(())
}

fn follows(event: &EventInfo) -> impl Iterator<Item = (&'static str, String)> {
    let prev = event.prev.iter().map(|id| ("prev  ", id.to_string()));
    prev.chain(event.parents.iter().map(|id| ("parent", id.to_string())))
}
