//! `quipu append`

use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::input::ValueArgs;

use super::print_written;

/// Add a value to the end of a list.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu append notes \"opened today\"
  quipu append photos --file shop.jpg
  date | quipu append notes -")]
pub struct Args {
    /// The list.
    key: String,
    #[command(flatten)]
    value: ValueArgs,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let Some(source) = args.value.source() else {
        return Err(Failure::Usage("a VALUE, --file F or `-` (stdin) is needed".to_owned()));
    };
    let input = source.open(context)?;
    let ledger = context.open_to_write()?;
    args.wait.check(&ledger, context)?;
    let mut transaction = ledger.transaction();
    transaction.append_from(&args.key, input)?;
    let committed = transaction.commit()?;
    print_written(&ledger, &committed, args.wait, context)
}
