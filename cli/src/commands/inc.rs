//! `quipu inc`

use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::parse::signed;

use super::print_written;

/// Add to a counter.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu inc stock/apples          by 1
  quipu inc stock/apples 12
  quipu inc stock/apples -3")]
pub struct Args {
    /// The counter.
    key: String,
    /// How much; may be negative, not 0.
    #[arg(default_value_t = 1, allow_negative_numbers = true, value_parser = signed)]
    by: i64,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open_to_write()?;
    args.wait.check(&ledger, context)?;
    let mut transaction = ledger.transaction();
    transaction.inc(&args.key, args.by)?;
    let committed = transaction.commit()?;
    print_written(&ledger, &committed, args.wait, context)
}
