//! `quipu rem`

use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;

use super::print_written;

/// Take members out of a set, in one event.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu rem tags fruit")]
pub struct Args {
    /// The set.
    key: String,
    /// The members, as text.
    #[arg(required = true)]
    member: Vec<String>,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open_to_write()?;
    args.wait.check(&ledger, context)?;
    let snapshot = ledger.snapshot()?;
    let mut transaction = ledger.transaction();
    for member in &args.member {
        transaction.rem(&args.key, member.as_bytes())?;
        if !snapshot.has_member(&args.key, member.as_bytes())? {
            return Err(Failure::NotFound(format!(
                "no member {member:?} in the set {:?}",
                args.key
            )));
        }
    }
    let committed = transaction.commit()?;
    print_written(&ledger, &committed, args.wait, context)
}
