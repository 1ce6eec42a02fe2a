//! `quipu keys`

use quipu_store::KeyKind;
use serde::Serialize;

use crate::args::{At, Type};
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;
use crate::shown;

/// List the keys that hold something, in order.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu keys
  quipu keys stock/
  quipu keys --type set --json
  quipu keys --at alice:12,bob:7")]
pub struct Args {
    /// Only keys that begin with this.
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only keys that hold a thing of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Type>,
    #[command(flatten)]
    at: At,
}

#[derive(Serialize)]
struct KeyJson<'k> {
    key: &'k str,
    types: Vec<&'static str>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = snapshot_at(&ledger, &args.at)?;
    let (wanted, out) = (args.kind.map(KeyKind::from), &mut context.out);
    let mut printed = Ok(());
    snapshot.keys(&args.prefix, |key, kinds| {
        if wanted.is_none_or(|wanted| kinds.contains(&wanted)) {
            printed = if out.is_json() {
                out.json(&KeyJson {
                    key,
                    types: kinds.iter().copied().map(KeyKind::word).collect(),
                })
            } else {
                out.line(shown::clean(key))
            };
        }
        printed.is_ok()
    })?;
    Ok(printed?)
}
