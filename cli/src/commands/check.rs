//! `quipu check`

use std::io::Read;
use std::path::{Path, PathBuf};

use quipu_merge::{
    CheckpointFacts, CheckpointId, EventId, Fact, KeyFacts, LeafKind, MAX_PROOF_FILE_LEN, Micros,
    Proof, Proven, Shown, Trust,
};

use quipu_net::rfc3339;

use crate::amount::count;
use crate::context::Context;
use crate::exit::Failure;
use crate::input;
use crate::output::{Look, Output};
use crate::parse::parsed;
use crate::shown;

/// Check a proof, with nothing but the ledger's id.
///
/// Needs no store and no network. The exit code is 21 where the proof does not show what it says.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu check colour.proof --genesis bafyr4i… --json
  quipu check colour.proof --trusted bafyr4i…        made with `quipu prove --since`
  curl … | quipu check - --genesis bafyr4i…")]
pub struct Args {
    /// The proof; `-` reads stdin.
    #[arg(value_name = "PROOF")]
    file: PathBuf,
    #[command(flatten)]
    trust: Trusted,
}

/// What is trusted.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Trusted {
    /// The id of the ledger, which is that of its first event.
    #[arg(long, value_name = "ID", value_parser = parsed::<EventId>)]
    genesis: Option<EventId>,
    /// The id of a checkpoint that is trusted: that it is certified, and what it says.
    #[arg(long, value_name = "CHECKPOINT-ID", value_parser = parsed::<CheckpointId>)]
    trusted: Option<CheckpointId>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let trust = match (args.trust.genesis, args.trust.trusted) {
        (Some(genesis), _) => Trust::Genesis(genesis),
        (_, Some(checkpoint)) => Trust::Checkpoint(checkpoint),
        (None, None) => {
            return Err(Failure::Usage("--genesis ID or --trusted CHECKPOINT-ID".to_owned()));
        }
    };
    let bytes = read(&args.file, context)?;
    let proven = Proof::decode(&bytes).and_then(|proof| proof.check(trust))?;
    if context.out.is_json() {
        return Ok(context.out.json(&proven)?);
    }
    print(&proven, &mut context.out)
}

/// Reads the proof, or of a longer file just enough to see that it is none.
fn read(file: &Path, context: &Context) -> Result<Vec<u8>, Failure> {
    let mut input: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(context.stdin())
    } else {
        Box::new(input::open(&context.path(file))?)
    };
    let mut bytes = Vec::new();
    let limit = MAX_PROOF_FILE_LEN as u64 + 1;
    input.by_ref().take(limit).read_to_end(&mut bytes).map_err(Failure::file(file))?;
    Ok(bytes)
}

fn print(proven: &Proven, out: &mut Output) -> Result<(), Failure> {
    match &proven.fact {
        Fact::Event { event, index, author, seq, time } => {
            out.line(format_args!("event       {}", out.paint(Look::Id, event)))?;
            out.line(format_args!("author      {}", out.paint(Look::Author, author)))?;
            out.line(format_args!("seq         {seq}"))?;
            out.line(format_args!("written     {}", rfc3339(*time)))?;
            out.line(format_args!("in the log  as number {index}"))?;
        }
        Fact::Key(facts) => key(facts, out)?,
        Fact::Extends(earlier) => {
            checkpoint("continues   ", earlier, out)?;
        }
    }
    checkpoint("checkpoint  ", &proven.at, out)?;
    Ok(out.line(format_args!("ledger      {}", proven.ledger))?)
}

fn checkpoint(what: &str, facts: &CheckpointFacts, out: &mut Output) -> Result<(), Failure> {
    let CheckpointFacts { checkpoint, height, size, time } = facts;
    let (id, events) = (out.paint(Look::Id, checkpoint), count(size, "event"));
    let time = rfc3339(Micros(time.0));
    Ok(out.line(format_args!("{what}{height} {id}, {events}, up to {time}"))?)
}

fn key(facts: &KeyFacts, out: &mut Output) -> Result<(), Failure> {
    // An author is named by its key, which is the name of no other thing.
    match facts.kinds.contains(&LeafKind::Member) {
        true => out.line(format_args!("author      {}", out.paint(Look::Author, &facts.key)))?,
        false => {
            let name = shown::quoted(&facts.key);
            out.line(format_args!("key         {}", out.paint(Look::Key, name)))?;
        }
    }
    let absent: Vec<_> = facts
        .kinds
        .iter()
        .filter(|kind| !facts.present.contains(kind))
        .map(ToString::to_string)
        .collect();
    for (number, write) in facts.writes.iter().enumerate() {
        let what = if number == 0 { "register    " } else { "or          " };
        out.line(format_args!("{what}{}, by event {}", value(&write.value), write.event))?;
    }
    if let Some(counter) = &facts.counter {
        out.line(format_args!("counter     {counter}"))?;
    }
    for member in facts.set.iter().flatten() {
        out.line(format_args!("member      {}", value(member)))?;
    }
    if let Some(list) = &facts.list {
        let (values, root) = (count(list.count, "value"), shown::hex(&list.root));
        out.line(format_args!("list        {values}, root {root}"))?;
    }
    if let Some(roles) = &facts.roles {
        out.line(format_args!("roles       {}", roles.join(" ")))?;
    }
    if !absent.is_empty() {
        out.line(format_args!("absent      {}", absent.join(", ")))?;
    }
    Ok(())
}

fn value(shown: &Shown) -> String {
    match shown {
        Shown::Bytes(bytes) => shown::quoted_bytes(bytes),
        Shown::Link(block) => format!("<a long value: {block}>"),
        Shown::Nothing => "<not shown>".to_owned(),
    }
}
