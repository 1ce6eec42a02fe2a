//! `quipu upgrade`

use quipu_store::Options;

use crate::context::Context;
use crate::exit::Failure;
use crate::output;

/// Convert the store to the format of this version.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu upgrade")]
pub struct Args {}

pub fn run(_: &Args, context: &mut Context) -> Result<(), Failure> {
    let dir = context.find_store()?;
    let format = Options::new().upgrade(&dir)?;
    output::note(format_args!("{} has format {format} now", dir.display()));
    Ok(())
}
