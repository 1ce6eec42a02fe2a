//! `quipu add`

use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;

use super::print_written;

/// Put members into a set, in one event.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu add tags fruit
  quipu add tags fruit fresh")]
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
    let mut transaction = ledger.transaction();
    for member in &args.member {
        transaction.add(&args.key, member.as_bytes())?;
    }
    let committed = transaction.commit()?;
    print_written(&ledger, &committed, args.wait, context)
}
