//! `quipu serve`

use std::io;

use clap::ValueEnum;
use serde::Serialize;
use tracing_subscriber::filter::LevelFilter;

use crate::context::Context;
use crate::daemon::{self, Daemon, Forward, Socket};
use crate::exit::Failure;

/// Keep the store open, and run on it the commands that others are asked for.
///
/// Every command finds the daemon by the store, and works as it does without. SIGTERM or SIGINT ends
/// it when the commands that run are done, or after ten seconds.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu serve
  quipu --store shop serve --log debug --log-format json

It prints `ready` when commands are answered, and logs on stderr. systemd is told as well, where the
unit has Type=notify.")]
pub struct Args {
    /// What to log: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
    /// How to log.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let dir = context.find_store()?;
    if Forward::to(&dir).is_some() {
        return Err(Failure::Served(dir));
    }
    // Others name it from where they are.
    context.use_store(std::path::absolute(&dir).map_err(Failure::file(&dir))?);
    start_log(args)?;
    let ledger = context.open_to_write()?;
    let socket = Socket::bind(&dir).map_err(Failure::file(&dir))?;
    let out = &mut context.out;
    daemon::serve(Daemon { ledger, socket }, || {
        if out.is_json() {
            out.json(&Ready { ready: true })?
        } else {
            out.line("ready")?
        }
        out.flush()
    })
}

fn start_log(args: &Args) -> Result<(), Failure> {
    let log = tracing_subscriber::fmt().with_max_level(args.log).with_writer(io::stderr);
    let started = match args.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| Failure::Daemon(format!("the log cannot be started: {error}")))
}
