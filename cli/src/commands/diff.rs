//! `quipu diff`

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{CutExpression, EventId};
use quipu_net::{BytesOut, ValueOut, WriteOut};
use quipu_store::{KeyKind, RegisterWrite, Snapshot, Value};
use serde::Serialize;

use crate::context::{Context, snapshot};
use crate::exit::Failure;
use crate::output::{Look, Output};
use crate::parse::parsed;
use crate::shown;

/// Show what has changed from one cut to another, or to now.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu diff 2026-05-01T00:00:00Z
  quipu diff dqvzo4m2 alice:12,bob:7

First what is new or changed, by key; then what is gone, by key.")]
pub struct Args {
    /// From here.
    #[arg(value_name = "CUT", value_parser = parsed::<CutExpression>)]
    from: CutExpression,
    /// To here; now, unless given.
    #[arg(value_name = "CUT", value_parser = parsed::<CutExpression>)]
    to: Option<CutExpression>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let before = snapshot(&ledger, Some(&args.from))?;
    let after = snapshot(&ledger, args.to.as_ref())?;
    let out = &mut context.out;
    let mut result = Ok(());
    after.keys("", |key, kinds| {
        result = kinds.iter().try_for_each(|kind| compare(&before, &after, key, *kind, out));
        result.is_ok()
    })?;
    result?;
    let mut result = Ok(());
    before.keys("", |key, kinds| {
        result = gone(&before, &after, key, kinds, out);
        result.is_ok()
    })?;
    result
}

fn gone(
    before: &Snapshot<'_>,
    after: &Snapshot<'_>,
    key: &str,
    kinds: &[KeyKind],
    out: &mut Output,
) -> Result<(), Failure> {
    let left = after.kinds(key)?;
    let mut gone = kinds.iter().filter(|kind| !left.contains(kind));
    gone.try_for_each(|kind| compare(before, after, key, *kind, out))
}

/// A change of one thing.
#[derive(Serialize)]
struct Change<'k> {
    key: &'k str,
    r#type: &'static str,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What {
    Register { before: Vec<WriteOut>, after: Vec<WriteOut> },
    Counter { before: Option<String>, after: Option<String> },
    Set { added: Vec<BytesOut>, removed: Vec<BytesOut> },
    List { added: Vec<ValueOut>, removed: Vec<ValueOut> },
}

/// Lines that tell a change to people: what was, and what is.
#[derive(Default)]
struct Lines {
    minus: Vec<String>,
    plus: Vec<String>,
}

fn compare(
    before: &Snapshot<'_>,
    after: &Snapshot<'_>,
    key: &str,
    kind: KeyKind,
    out: &mut Output,
) -> Result<(), Failure> {
    let change = match kind {
        KeyKind::Register => registers(&before.register(key)?, &after.register(key)?),
        KeyKind::Counter => counters(before.counter(key)?, after.counter(key)?),
        KeyKind::Set => sets(&members(before, key)?, &members(after, key)?),
        KeyKind::List => lists(&elements(before, key)?, &elements(after, key)?),
    };
    let Some((what, lines)) = change else { return Ok(()) };
    if out.is_json() {
        return Ok(out.json(&Change { key, r#type: kind.word(), what })?);
    }
    let title = out.paint(Look::Key, shown::clean(key));
    out.line(format_args!("{title} ({})", kind.word()))?;
    for line in lines.minus {
        out.line(format_args!("  - {line}"))?;
    }
    for line in lines.plus {
        out.line(format_args!("  + {line}"))?;
    }
    Ok(())
}

type Changed = Option<(What, Lines)>;

fn registers(before: &[RegisterWrite], after: &[RegisterWrite]) -> Changed {
    let events =
        |writes: &[RegisterWrite]| writes.iter().map(|write| write.event).collect::<Vec<_>>();
    if events(before) == events(after) {
        return None;
    }
    let json = |writes: &[RegisterWrite]| writes.iter().map(WriteOut::from).collect();
    let lines = |writes: &[RegisterWrite]| {
        writes.iter().filter_map(|write| write.value.as_ref()).map(shown::value).collect()
    };
    let what = What::Register { before: json(before), after: json(after) };
    Some((what, Lines { minus: lines(before), plus: lines(after) }))
}

fn counters(before: Option<i128>, after: Option<i128>) -> Changed {
    if before == after {
        return None;
    }
    let text = |sum: Option<i128>| sum.map(|sum| sum.to_string());
    let what = What::Counter { before: text(before), after: text(after) };
    let lines = |sum| text(sum).into_iter().collect();
    Some((what, Lines { minus: lines(before), plus: lines(after) }))
}

fn members(snapshot: &Snapshot<'_>, key: &str) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let mut members = BTreeSet::new();
    snapshot.set(key, |member| {
        members.insert(member.to_vec());
        true
    })?;
    Ok(members)
}

fn sets(before: &BTreeSet<Vec<u8>>, after: &BTreeSet<Vec<u8>>) -> Changed {
    if before == after {
        return None;
    }
    let only = |these: &BTreeSet<Vec<u8>>, others: &BTreeSet<Vec<u8>>| -> Vec<Vec<u8>> {
        these.difference(others).cloned().collect()
    };
    let (added, removed) = (only(after, before), only(before, after));
    let lines = |members: &[Vec<u8>]| members.iter().map(|member| shown::bytes(member)).collect();
    let lines = Lines { minus: lines(&removed), plus: lines(&added) };
    let json = |members: Vec<Vec<u8>>| members.into_iter().map(BytesOut).collect();
    Some((What::Set { added: json(added), removed: json(removed) }, lines))
}

/// A value of a list, with the event and the place in it that make it another than its equals.
type ListEntry = ((EventId, usize), Value);

/// The values of a list, each with its event and its place among those of the event.
fn elements(snapshot: &Snapshot<'_>, key: &str) -> Result<Vec<ListEntry>, Failure> {
    let mut elements = Vec::new();
    let mut seen = BTreeMap::new();
    snapshot.list(key, |element| {
        let place = seen.entry(element.event).or_insert(0_usize);
        elements.push(((element.event, *place), element.value));
        *place += 1;
        true
    })?;
    Ok(elements)
}

fn lists(before: &[ListEntry], after: &[ListEntry]) -> Changed {
    let places = |list: &[ListEntry]| list.iter().map(|(place, _)| *place).collect::<BTreeSet<_>>();
    let (old, new) = (places(before), places(after));
    if old == new {
        return None;
    }
    let added: Vec<_> =
        after.iter().filter(|(place, _)| !old.contains(place)).map(|(_, value)| value).collect();
    let removed: Vec<_> =
        before.iter().filter(|(place, _)| !new.contains(place)).map(|(_, value)| value).collect();
    let lines = |values: &[&Value]| values.iter().map(|value| shown::value(value)).collect();
    let lines = Lines { minus: lines(&removed), plus: lines(&added) };
    let json = |values: Vec<&Value>| values.into_iter().map(ValueOut::from).collect();
    Some((What::List { added: json(added), removed: json(removed) }, lines))
}
