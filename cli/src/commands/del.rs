//! `quipu del`

use quipu_store::KeyKind;

use crate::context::Context;
use crate::exit::Failure;
use crate::final_wait::Wait;

use super::print_written;

/// Delete registers, in one event.
///
/// What others write without having seen the delete stays.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu del sign/colour
  quipu del a b c")]
pub struct Args {
    /// The registers.
    #[arg(required = true)]
    key: Vec<String>,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open_to_write()?;
    args.wait.check(&ledger, context)?;
    let snapshot = ledger.snapshot()?;
    let mut transaction = ledger.transaction();
    for key in &args.key {
        transaction.del(key)?;
        if !snapshot.kinds(key)?.contains(&KeyKind::Register) {
            return Err(Failure::NotFound(format!("no register {key:?}")));
        }
    }
    let committed = transaction.commit()?;
    print_written(&ledger, &committed, args.wait, context)
}
