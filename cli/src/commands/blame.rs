//! `quipu blame`

use std::collections::BTreeSet;

use quipu_merge::{EventId, Operation};
use quipu_net::{OperationOut, rfc3339};
use quipu_store::{EventInfo, KeyKind, LogFilter, Snapshot};
use serde::Serialize;

use crate::args::{At, Type};
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;
use crate::output::{Look, Output};
use crate::shown::{self, AuthorJson, Names};

/// Show who wrote what of a key, newest first; what stands today is marked with `*`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu blame sign/colour
  quipu blame tags --type set --json")]
pub struct Args {
    /// The key.
    key: String,
    /// Only operations on the thing of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Type>,
    #[command(flatten)]
    at: At,
}

#[derive(Serialize)]
struct BlameJson {
    event: String,
    author: AuthorJson,
    seq: u64,
    time: String,
    current: bool,
    void: bool,
    #[serde(flatten)]
    operation: OperationOut,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = snapshot_at(&ledger, &args.at)?;
    let names = Names::of(&snapshot)?;
    let standing: BTreeSet<EventId> =
        snapshot.register(&args.key)?.iter().map(|write| write.event).collect();
    let blame = Blame { snapshot: &snapshot, names: &names, args, standing };
    let mut any = false;
    for event in snapshot.log(LogFilter { key: Some(args.key.clone()), ..LogFilter::default() })? {
        let event = event?;
        for index in (0..event.operations().len()).rev() {
            any |= blame.print(&event, index, &mut context.out)?;
        }
    }
    if any {
        Ok(())
    } else {
        Err(Failure::NotFound(format!("nothing has been written to the key {:?}", args.key)))
    }
}

struct Blame<'s, 'l> {
    snapshot: &'s Snapshot<'l>,
    names: &'s Names,
    args: &'s Args,
    standing: BTreeSet<EventId>,
}

impl Blame<'_, '_> {
    /// Prints an operation, if it is one on the key.
    fn print(&self, event: &EventInfo, index: usize, out: &mut Output) -> Result<bool, Failure> {
        let Some(operation) = event.operations().get(index) else { return Ok(false) };
        let wanted = self.args.kind.map(KeyKind::from);
        if operation.key().as_str() != self.args.key
            || wanted.is_some_and(|wanted| wanted != kind_of(operation))
        {
            return Ok(false);
        }
        let current = self.is_current(event, index, operation)?;
        if out.is_json() {
            if let Some(operation) = OperationOut::of(self.snapshot, event, index)? {
                out.json(&BlameJson {
                    event: event.id.to_string(),
                    author: AuthorJson(event.author),
                    seq: event.seq.0,
                    time: rfc3339(event.time),
                    current,
                    void: event.void,
                    operation,
                })?;
            }
            return Ok(true);
        }
        let line =
            shown::operation_line(self.snapshot, self.names, event, index)?.unwrap_or_default();
        let void =
            if event.void { format!("{} ", out.paint(Look::Warn, "void")) } else { String::new() };
        let line = format!(
            "{} {} {} {} {void}{line}",
            if current { '*' } else { ' ' },
            out.paint(Look::Id, shown::short_id(event.id)),
            out.paint(Look::Time, rfc3339(event.time)),
            out.paint(
                Look::Author,
                format_args!("{}:{}", self.names.show(event.author), event.seq)
            ),
        );
        out.line(line)?;
        Ok(true)
    }

    /// Whether the operation makes a part of what the key holds.
    fn is_current(
        &self,
        event: &EventInfo,
        index: usize,
        operation: &Operation,
    ) -> Result<bool, Failure> {
        let later = event.operations().get(index + 1..).unwrap_or_default();
        Ok(match operation {
            Operation::Put { key, .. } => {
                let again = |other: &Operation| {
                    matches!(other, Operation::Put { .. } | Operation::Del { .. })
                        && other.key() == key
                };
                self.standing.contains(&event.id) && !later.iter().any(again)
            }
            Operation::Add { key, member } => {
                let again = |other: &Operation| match other {
                    Operation::Add { key: k, member: m } | Operation::Rem { key: k, member: m } => {
                        k == key && m == member
                    }
                    _ => false,
                };
                let adds = self.snapshot.member_adds(key.as_str(), member.as_bytes())?;
                adds.contains(&event.id) && !later.iter().any(again)
            }
            Operation::Inc { .. } | Operation::Append { .. } => !event.void,
            Operation::Del { .. } | Operation::Rem { .. } => false,
        })
    }
}

const fn kind_of(operation: &Operation) -> KeyKind {
    match operation {
        Operation::Put { .. } | Operation::Del { .. } => KeyKind::Register,
        Operation::Inc { .. } => KeyKind::Counter,
        Operation::Add { .. } | Operation::Rem { .. } => KeyKind::Set,
        Operation::Append { .. } => KeyKind::List,
    }
}
