//! `quipu du`

use std::collections::HashSet;

use quipu_merge::{BlockId, Link};
use quipu_store::{KeyKind, Snapshot, Value};
use serde::Serialize;

use crate::amount::{count, size};
use crate::args::At;
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;

/// Tell how much room values take up, and what is saved by storing equal blocks once.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu du
  quipu du www/ logs/
  quipu du --at 2026-05-01T12:00:00Z --json")]
pub struct Args {
    /// Only keys that begin with this; several are measured one by one.
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefixes: Vec<String>,
    #[command(flatten)]
    at: At,
}

/// What the values below a prefix take up, in bytes.
#[derive(Default, Serialize)]
struct Usage {
    prefix: String,
    values: u64,
    /// All values, as they are read.
    logical: u64,
    /// Short values and the blocks of long ones, each block once.
    stored: u64,
    /// What the blocks would take up beside that if each were stored as often as it occurs.
    saved: u64,
    /// How many different blocks there are.
    blocks: u64,
    /// How many values are not here, or not as a whole.
    unavailable: u64,
    /// How many of these have been pruned.
    pruned: u64,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = snapshot_at(&ledger, &args.at)?;
    for prefix in &args.prefixes {
        let usage = Meter::measure(&snapshot, prefix)?;
        if context.out.is_json() {
            context.out.json(&usage)?;
            continue;
        }
        let Usage { values, logical, stored, saved, blocks, unavailable, pruned, .. } = usage;
        let of = if prefix.is_empty() { String::new() } else { format!("{prefix:?}: ") };
        let gone = match unavailable {
            0 => String::new(),
            gone if pruned > 0 => format!("; {} not here ({pruned} pruned)", count(gone, "value")),
            gone => format!("; {} not here", count(gone, "value")),
        };
        let (values, blocks) = (count(values, "value"), count(blocks, "block"));
        let [logical, stored, saved] = [logical, stored, saved].map(size);
        context.out.line(format_args!(
            "{of}{logical} in {values}, {stored} stored ({blocks}), {saved} saved{gone}"
        ))?;
    }
    Ok(())
}

struct Meter<'s, 'l> {
    snapshot: &'s Snapshot<'l>,
    usage: Usage,
    seen: HashSet<BlockId>,
    /// The first blocks of long values that are not here as a whole.
    broken: HashSet<BlockId>,
}

impl<'s, 'l> Meter<'s, 'l> {
    fn measure(snapshot: &'s Snapshot<'l>, prefix: &str) -> Result<Usage, Failure> {
        let usage = Usage { prefix: prefix.to_owned(), ..Usage::default() };
        let mut meter = Meter { snapshot, usage, seen: HashSet::new(), broken: HashSet::new() };
        let mut result = Ok(());
        snapshot.keys(prefix, |key, kinds| {
            result = meter.key(key, kinds);
            result.is_ok()
        })?;
        result.map(|()| meter.usage)
    }

    fn key(&mut self, key: &str, kinds: &[KeyKind]) -> Result<(), Failure> {
        if kinds.contains(&KeyKind::Register) {
            for value in self.snapshot.register(key)?.into_iter().filter_map(|write| write.value) {
                self.value(&value)?;
            }
        }
        if kinds.contains(&KeyKind::List) {
            let mut result = Ok(());
            self.snapshot.list(key, |element| {
                result = self.value(&element.value);
                result.is_ok()
            })?;
            result?;
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), Failure> {
        self.usage.values += 1;
        match value {
            Value::Bytes(bytes) => {
                self.usage.logical += bytes.len() as u64;
                self.usage.stored += bytes.len() as u64;
            }
            Value::Long(link) => {
                self.usage.logical = self.usage.logical.saturating_add(link.size);
                self.long(*link)?;
            }
            Value::Pruned => {
                self.usage.unavailable += 1;
                self.usage.pruned += 1;
            }
            Value::Erased | Value::Missing | Value::Unreadable => self.usage.unavailable += 1,
        }
        Ok(())
    }

    fn long(&mut self, link: Link) -> Result<(), Failure> {
        let Self { snapshot, usage, seen, broken } = self;
        let whole = snapshot.long_blocks(link, |link, len| {
            let is_new = seen.insert(link.block);
            if is_new {
                usage.stored = usage.stored.saturating_add(len);
                usage.blocks += 1;
            } else {
                // All that it lists has been counted.
                usage.saved = usage.saved.saturating_add(link.size);
            }
            is_new
        })?;
        if !whole {
            broken.insert(link.block);
        }
        usage.unavailable += u64::from(broken.contains(&link.block));
        Ok(())
    }
}
