//! `quipu log`

use quipu_merge::{CutExpression, EventId};
use quipu_net::rfc3339;
use quipu_store::{EventInfo, LogFilter, ReadError, Snapshot};
use renderdag::{Ancestor, GraphRowRenderer, Renderer};

use crate::args::At;
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;
use crate::output::{Look, Output};
use crate::parse::{number, parsed};
use crate::shown::{self, EventJson, Names};

/// Show the history, newest first.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu log -n 10
  quipu log --key sign/colour --json
  quipu log --author alice --since 2026-05-01T00:00:00Z
  quipu log --graph")]
pub struct Args {
    /// Only events that work on this key.
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// Only events of this author: a name, a key, or its unique start.
    #[arg(long, value_name = "A")]
    author: Option<String>,
    #[command(flatten)]
    at: At,
    /// Leave out the events of this cut.
    #[arg(long, value_name = "CUT", value_parser = parsed::<CutExpression>)]
    since: Option<CutExpression>,
    /// At most this many events.
    #[arg(short = 'n', long = "limit", value_name = "N", value_parser = number::<usize>)]
    limit: Option<usize>,
    /// Draw how events follow each other.
    #[arg(long, conflicts_with_all = ["json", "key", "author"])]
    graph: bool,
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = snapshot_at(&ledger, &args.at)?;
    let since = args
        .since
        .as_ref()
        .map(|since| crate::context::snapshot(&ledger, Some(since)))
        .transpose()?;
    let is_old = |id: EventId| match &since {
        Some(since) => since.contains(id),
        None => Ok(false),
    };
    let author = args.author.as_deref().map(|author| snapshot.find_author(author)).transpose()?;
    let filter = LogFilter { key: args.key.clone(), author, ..LogFilter::default() };
    let names = Names::of(&snapshot)?;
    let mut printer = Printer::new(&snapshot, &names, &mut context.out);
    let mut graph = args.graph.then(Graph::new);
    let (mut left, mut any) = (args.limit.unwrap_or(usize::MAX), false);
    for event in snapshot.log(filter)? {
        if left == 0 {
            break;
        }
        let event = match event {
            // What cannot be told here is not asked for.
            Err(ReadError::BelowStart(height) | ReadError::Pruned(height))
                if let Some(since) = &since
                    && since.holds_checkpoint(height)? =>
            {
                any = true;
                break;
            }
            event => event?,
        };
        any = true;
        if is_old(event.id)? {
            continue;
        }
        match &mut graph {
            Some(graph) => printer.draw(graph, &event, is_old)?,
            None => printer.print(&event)?,
        }
        left -= 1;
    }
    match args.key {
        Some(key) if !any && author.is_none() && args.limit != Some(0) => {
            Err(Failure::NotFound(format!("no event works on the key {key:?}")))
        }
        _ => Ok(()),
    }
}

/// Prints events.
pub struct Printer<'s, 'l> {
    snapshot: &'s Snapshot<'l>,
    names: &'s Names,
    out: &'s mut Output,
}

impl<'s, 'l> Printer<'s, 'l> {
    pub const fn new(snapshot: &'s Snapshot<'l>, names: &'s Names, out: &'s mut Output) -> Self {
        Self { snapshot, names, out }
    }

    /// Prints one, as JSON or on a line.
    pub fn print(&mut self, event: &EventInfo) -> Result<(), Failure> {
        if self.out.is_json() {
            return Ok(self.out.json(&EventJson::new(self.snapshot, event)?)?);
        }
        let line = self.line(event)?;
        Ok(self.out.line(line)?)
    }

    fn draw(
        &mut self,
        graph: &mut Graph,
        event: &EventInfo,
        is_old: impl Fn(EventId) -> Result<bool, ReadError>,
    ) -> Result<(), Failure> {
        let mut parents = Vec::new();
        for &parent in event.prev.iter().chain(&event.parents) {
            parents.push(if is_old(parent)? {
                Ancestor::Anonymous
            } else {
                Ancestor::Parent(parent)
            });
        }
        let glyph = if event.void { "x" } else { "o" };
        let row = graph.0.next_row(event.id, parents, glyph.to_owned(), self.line(event)?);
        Ok(self.out.bytes(row.as_bytes())?)
    }

    fn line(&self, event: &EventInfo) -> Result<String, Failure> {
        let out = &self.out;
        let void =
            if event.void { format!("{} ", out.paint(Look::Warn, "void")) } else { String::new() };
        Ok(format!(
            "{} {} {} {void}{}",
            out.paint(Look::Id, shown::short_id(event.id)),
            out.paint(Look::Time, rfc3339(event.time)),
            out.paint(
                Look::Author,
                format_args!("{}:{}", self.names.show(event.author), event.seq)
            ),
            shown::summary(self.snapshot, self.names, event)?,
        ))
    }
}

/// Draws a history as lines of text.
struct Graph(Box<dyn Renderer<EventId, Output = String>>);

impl Graph {
    fn new() -> Self {
        Self(Box::new(GraphRowRenderer::new().output().with_min_row_height(1).build_box_drawing()))
    }
}
