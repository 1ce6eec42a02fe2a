//! The command `quipu`: parses, calls, prints.

mod amount;
mod args;
mod commands;
mod context;
mod exit;
mod input;
mod long;
mod output;
mod report;
mod shown;
mod tree;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::context::Context;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut context = Context::new(cli.global);
    let result = cli.command.run(&mut context).and_then(|()| Ok(context.out.flush()?));
    exit::finish(result, &mut context.out)
}
