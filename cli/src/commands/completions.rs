//! `quipu completions`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::context::Context;
use crate::exit::Failure;

/// Print completions for a shell.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu completions bash > ~/.local/share/bash-completion/completions/quipu")]
pub struct Args {
    /// Which shell.
    shell: Shell,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quipu", &mut script);
    Ok(context.out.bytes(&script)?)
}
