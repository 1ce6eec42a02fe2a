//! `quipu resolve`

use std::io::{self, Read, Seek, Write};

use quipu_store::{Expected, Ledger, RegisterWrite, Snapshot, Value};

use crate::context::Context;
use crate::exit::Failure;
use crate::fetching::with_fetched;
use crate::final_wait::Wait;
use crate::input::{Source, ValueArgs};
use crate::long;
use crate::shown;

use super::print_written;

/// Settle a register that has more than one value.
///
/// It settles exactly the values that are there now: if another comes in meanwhile, nothing is
/// written and the exit code is 5.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu resolve sign/colour blue
  quipu resolve sign/colour --take bafyr4i…       one of its values, by its event")]
pub struct Args {
    /// The register.
    key: String,
    #[command(flatten)]
    value: ValueArgs,
    /// Take the value that this event wrote.
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["value", "file"])]
    take: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let (key, take, source) = (args.key, args.take, args.value.source());
    if take.is_none() && source.is_none() {
        return Err(Failure::Usage(
            "a VALUE or --take EVENT is needed; `quipu conflicts` lists them".to_owned(),
        ));
    }
    let ledger = context.open_to_write()?;
    args.wait.check(&ledger, context)?;
    let current = ledger.snapshot()?.register(&key)?;
    match current.as_slice() {
        [] => return Err(Failure::NotFound(format!("no register {key:?}"))),
        [_] => return Err(Failure::Condition(format!("the register {key:?} has no conflict"))),
        _ => {}
    }
    let input = match (take, source) {
        (Some(part), None) => with_fetched(&ledger, context, |_| {
            // What has been fetched is not in a snapshot from before.
            taken(&ledger.snapshot()?, &key, &current, &part)
        })?,
        (_, source) => source.unwrap_or(Source::Text(String::new())).open(context)?,
    };
    let committed = settle(&ledger, &key, &current, input)?;
    print_written(&ledger, &committed, args.wait, context)
}

fn settle(
    ledger: &Ledger,
    key: &str,
    current: &[RegisterWrite],
    input: Box<dyn Read>,
) -> Result<quipu_store::Committed, Failure> {
    let mut transaction = ledger.transaction();
    let seen = current.iter().map(|write| write.event).collect();
    transaction.require(key, Expected::Writes(seen))?.put_from(key, input)?;
    Ok(transaction.commit()?)
}

/// The value that an event wrote.
fn taken(
    snapshot: &Snapshot<'_>,
    key: &str,
    current: &[RegisterWrite],
    part: &str,
) -> Result<Box<dyn Read>, Failure> {
    let event = snapshot.find_event(part)?;
    let Some(write) = current.iter().find(|write| write.event == event) else {
        let message = format!("{} wrote none of the values of {key:?}", shown::short_id(event));
        return Err(Failure::NotFound(message));
    };
    match write.value.clone().unwrap_or(Value::Missing) {
        Value::Bytes(bytes) => Ok(Box::new(io::Cursor::new(bytes))),
        Value::Long(link) => {
            let no_room = || Failure::file(std::env::temp_dir());
            let mut spooled = tempfile::tempfile().map_err(no_room())?;
            long::read(snapshot, key, link, &long::WHOLE, |bytes| spooled.write_all(bytes))?;
            spooled.rewind().map_err(no_room())?;
            Ok(Box::new(spooled))
        }
        gone => {
            long::check(snapshot, key, &gone)?;
            Ok(Box::new(io::empty()))
        }
    }
}
