//! `quipu get`

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use quipu_net::{BytesOut, ValueOut, WriteOut, rfc3339};
use quipu_store::{Element, KeyKind, Ledger, RegisterWrite, Snapshot, Value};
use serde::Serialize;

use crate::args::{At, Type};
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;
use crate::fetching::with_fetched;
use crate::long;
use crate::output::{Look, Output};
use crate::shown::{self, AuthorJson, Names};

use super::get_dir;

/// Print what a key holds: the raw value; for sets and lists an element a line. Or restore a tree
/// of files.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu get sign/colour
  quipu get logo > logo.png
  quipu get logo --range 0..8             the first eight bytes
  quipu get log --range 1000000..         what follows the first million
  quipu get sign/colour --at 2026-05-01T12:00:00Z
  quipu get sign/colour --all             conflicting values, and who wrote them
  quipu get --dir www/ out                what `put --dir` has stored, into the new directory `out`
  quipu get --dir www/ old --at 2026-05-01T12:00:00Z")]
pub struct Args {
    /// The key.
    #[arg(required_unless_present = "dir")]
    key: Option<String>,
    /// Which of the things that the key holds; needed only where it holds several.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Type>,
    #[command(flatten)]
    at: At,
    /// All values of a register that conflict, and who wrote them.
    #[arg(long)]
    all: bool,
    /// Only these bytes of a register's value: from START (or the first) to before END (or the
    /// last one), counting from 0. Of a range beyond the end, what there is.
    #[arg(long, value_name = "START..END", value_parser = byte_range, conflicts_with = "all")]
    range: Option<Range<u64>>,
    /// Restore the registers below PREFIX as files in DIR, which is empty or made.
    #[arg(long, num_args = 2, value_names = ["PREFIX", "DIR"],
          conflicts_with_all = ["key", "kind", "all", "range"])]
    dir: Option<Vec<OsString>>,
}

/// Reads a range of bytes as it is written: START..END, of which either may be left out.
fn byte_range(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| match text {
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u64>().ok(),
        _ => None,
    };
    let (start, end) = text.split_once("..").ok_or("not START..END")?;
    let start = if start.is_empty() { Some(long::WHOLE.start) } else { number(start) };
    let end = if end.is_empty() { Some(long::WHOLE.end) } else { number(end) };
    match (start, end) {
        (Some(start), Some(end)) if start <= end => Ok(start..end),
        (Some(_), Some(_)) => Err("it ends before it begins".to_owned()),
        _ => Err("START and END are whole numbers of bytes".to_owned()),
    }
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    if let Some([prefix, dir]) = args.dir.as_deref() {
        return get_dir::run(prefix, Path::new(dir), &args.at, context);
    }
    let key = args.key.as_deref().unwrap_or_default();
    if args.range.is_some() && context.out.is_json() {
        return Err(Failure::Usage("--range prints bytes, not JSON".to_owned()));
    }
    let ledger = context.open()?;
    with_fetched(&ledger, context, |context| print(args, key, &ledger, &mut context.out))
}

fn print(args: &Args, key: &str, ledger: &Ledger, out: &mut Output) -> Result<(), Failure> {
    let snapshot = snapshot_at(ledger, &args.at)?;
    match choose(&snapshot, key, args.kind)? {
        KeyKind::Register if args.all => all_writes(&snapshot, key, out),
        KeyKind::Register => {
            register(&snapshot, key, args.range.as_ref().unwrap_or(&long::WHOLE), out)
        }
        _ if args.range.is_some() => Err(Failure::Usage("--range is for registers".to_owned())),
        _ if args.all => Err(Failure::Usage("--all is for registers".to_owned())),
        KeyKind::Counter => counter(&snapshot, key, out),
        KeyKind::Set => set(&snapshot, key, out),
        KeyKind::List => list(&snapshot, key, out),
    }
}

/// The one thing that is meant.
fn choose(snapshot: &Snapshot<'_>, key: &str, wanted: Option<Type>) -> Result<KeyKind, Failure> {
    let kinds = snapshot.kinds(key)?;
    if let Some(wanted) = wanted.map(KeyKind::from) {
        if kinds.contains(&wanted) {
            return Ok(wanted);
        }
        return Err(Failure::NotFound(format!("no {} {:?}", wanted.word(), key)));
    }
    match kinds.as_slice() {
        [] => Err(Failure::NotFound(format!("no key {key:?}"))),
        [kind] => Ok(*kind),
        several => {
            let words: Vec<_> = several.iter().copied().map(KeyKind::word).collect();
            let words = words.join(" and a ");
            let message = format!("{key:?} is a {words}: say which, with --type");
            Err(Failure::Usage(message))
        }
    }
}

#[derive(Serialize)]
struct RegisterJson<'k> {
    key: &'k str,
    r#type: &'static str,
    #[serde(flatten)]
    write: WriteOut,
    /// How many values conflict with this one.
    conflicts: usize,
}

fn register(
    snapshot: &Snapshot<'_>,
    key: &str,
    range: &Range<u64>,
    out: &mut Output,
) -> Result<(), Failure> {
    if !out.is_json() {
        let value = snapshot.get(key)?.unwrap_or(Value::Missing);
        long::print(snapshot, key, &value, range, out)?;
        if out.is_terminal() {
            out.line("")?;
        }
        return Ok(());
    }
    let writes = snapshot.register(key)?;
    let Some(first) = writes.first() else {
        return Err(Failure::NotFound(format!("no register {key:?}")));
    };
    long::check(snapshot, key, first.value.as_ref().unwrap_or(&Value::Missing))?;
    let write = WriteOut::from(first);
    Ok(out.json(&RegisterJson { key, r#type: "register", write, conflicts: writes.len() - 1 })?)
}

fn all_writes(snapshot: &Snapshot<'_>, key: &str, out: &mut Output) -> Result<(), Failure> {
    let writes = snapshot.register(key)?;
    let gone = |write: &RegisterWrite| write.value.as_ref().and_then(Value::unavailable);
    if let Some(why) =
        writes.iter().map(gone).collect::<Option<Vec<_>>>().and_then(|all| all.first().copied())
    {
        return Err(Failure::Unavailable { what: key.to_owned(), why });
    }
    let names = Names::of(snapshot)?;
    for write in &writes {
        if out.is_json() {
            out.json(&WriteOut::from(write))?;
        } else {
            out.line(write_line(write, &names, out))?;
        }
    }
    Ok(())
}

/// A write of a register on one line.
pub fn write_line(write: &RegisterWrite, names: &Names, out: &Output) -> String {
    format!(
        "{} {} {} {}",
        out.paint(Look::Id, shown::short_id(write.event)),
        out.paint(Look::Time, rfc3339(write.time)),
        out.paint(Look::Author, names.show(write.author)),
        write.value.as_ref().map_or_else(|| "<deleted>".to_owned(), shown::value),
    )
}

#[derive(Serialize)]
struct CounterJson<'k> {
    key: &'k str,
    r#type: &'static str,
    value: String,
}

fn counter(snapshot: &Snapshot<'_>, key: &str, out: &mut Output) -> Result<(), Failure> {
    let sum = snapshot.counter(key)?.unwrap_or_default();
    if out.is_json() {
        out.json(&CounterJson { key, r#type: "counter", value: sum.to_string() })?;
    } else {
        out.line(sum)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct MemberJson {
    member: BytesOut,
}

fn set(snapshot: &Snapshot<'_>, key: &str, out: &mut Output) -> Result<(), Failure> {
    let mut printed = Ok(());
    snapshot.set(key, |member| {
        printed = if out.is_json() {
            out.json(&MemberJson { member: BytesOut(member.to_vec()) })
        } else {
            out.bytes(member).and_then(|()| out.line(""))
        };
        printed.is_ok()
    })?;
    Ok(printed?)
}

#[derive(Serialize)]
struct ElementJson {
    event: String,
    author: AuthorJson,
    time: String,
    #[serde(flatten)]
    value: ValueOut,
}

impl From<&Element> for ElementJson {
    fn from(element: &Element) -> Self {
        Self {
            event: element.event.to_string(),
            author: AuthorJson(element.author),
            time: rfc3339(element.time),
            value: ValueOut::from(&element.value),
        }
    }
}

fn list(snapshot: &Snapshot<'_>, key: &str, out: &mut Output) -> Result<(), Failure> {
    // All of it, or nothing.
    each(snapshot, key, |element| long::check(snapshot, key, &element.value))?;
    each(snapshot, key, |element| {
        if out.is_json() {
            return Ok(out.json(&ElementJson::from(element))?);
        }
        long::print(snapshot, key, &element.value, &long::WHOLE, out)?;
        Ok(out.line("")?)
    })
}

fn each(
    snapshot: &Snapshot<'_>,
    key: &str,
    mut visit: impl FnMut(&Element) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut result = Ok(());
    snapshot.list(key, |element| {
        result = visit(&element);
        result.is_ok()
    })?;
    result
}
