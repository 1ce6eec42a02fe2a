//! `quipu man`

use std::path::PathBuf;

use clap::CommandFactory;

use crate::args::Cli;
use crate::context::Context;
use crate::exit::Failure;
use crate::output;

/// Print the man page, or write all of them into a directory.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu man | man -l -
  quipu man ~/.local/share/man/man1")]
pub struct Args {
    /// Where to write a page for each command.
    dir: Option<PathBuf>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let command = Cli::command();
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(context.out.bytes(&page)?);
    };
    std::fs::create_dir_all(dir).map_err(Failure::file(dir))?;
    clap_mangen::generate_to(command, dir).map_err(Failure::file(dir))?;
    output::note(format_args!("man pages are in {}", dir.display()));
    Ok(())
}
