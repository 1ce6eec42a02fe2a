//! The command `quipu`: parses, calls, prints.

mod amount;
mod args;
mod bar;
mod commands;
mod config;
mod console;
mod context;
mod daemon;
mod exit;
mod fetching;
mod final_wait;
mod input;
mod long;
mod output;
mod parse;
mod paths;
mod period;
mod remote;
mod report;
mod route;
mod shown;
mod source;
mod tree;
mod whole_file;

use std::process::ExitCode;
use std::sync::Arc;

use crate::args::Cli;
use crate::console::{Console, Entered};
use crate::context::Context;

fn main() -> ExitCode {
    let cli = Cli::of_process();
    let Ok(console) = Console::own().map(Arc::new) else { return ExitCode::FAILURE };
    let _entered = Entered::new(console.clone());
    let mut context = Context::new(cli.global, console, None);
    let result = route::run(cli.command, &mut context);
    ExitCode::from(exit::finish(result, &mut context))
}
