//! What can be said on the command line.

use std::path::PathBuf;

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use quipu_merge::CutExpression;
use quipu_store::KeyKind;

use crate::commands;
use crate::context::Context;
use crate::exit::Failure;
use crate::parse::parsed;
use crate::route::Route;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
A CUT is tried in this order:
  checkpoint:N            a checkpoint
  2026-05-01T12:00:00Z    a time (RFC 3339)
  alice:12,bob:7          a vector clock, by names or unique starts of keys
  bafyr4i…+bafyr4i…       heads: ids of events, or unique parts of them
Nothing means now.

Exit codes:
  0 done              4 value erased, pruned or not here   11 locked by another process
  1 failed            5 a condition does not hold          20 input refused
  2 wrong usage      10 no ledger or backups here          21 verification failed
  3 no such key, event, block, pin or backup

Data goes to stdout, messages to stderr. NO_COLOR turns colours off.";

/// A content-addressed ledger of signed events: keep it, copy it, merge it, read any past state.
#[derive(Parser)]
#[command(name = "quipu", version, styles = STYLES, after_help = AFTER_HELP, infer_subcommands = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line of this process. Where it makes no sense, the process ends.
    pub fn of_process() -> Self {
        let matches = Self::command().get_matches();
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        // The environment says where stores are in general, and the command line knows better.
        let on_command_line = |matches: &clap::ArgMatches| {
            matches.value_source("store") == Some(ValueSource::CommandLine)
        };
        let is_named = on_command_line(&matches)
            || matches.subcommand().is_some_and(|(_, m)| on_command_line(m));
        if is_named && cli.command.names_new_store() {
            let why = "--store and DIR both say where the new store goes: leave one of them out";
            Self::command().error(ErrorKind::ArgumentConflict, why).exit();
        }
        cli
    }
}

/// Options of every command.
#[derive(clap::Args)]
pub struct Global {
    /// The store, also one that `init` or `clone` is to make; without it, the one found from the current
    /// directory upwards.
    #[arg(
        long,
        global = true,
        env = "QUIPU_STORE",
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub store: Option<PathBuf>,
    /// Print JSON: one object, or one a line where there may be many.
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Read the key's passphrase from the first line of this file (else from QUIPU_PASSPHRASE, or
    /// a terminal). Only commands that write need it.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub passphrase_file: Option<PathBuf>,
}

/// Up to which cut to read.
#[derive(clap::Args)]
pub struct At {
    /// Read as of this cut instead of now: a checkpoint, a time, a clock, an event (see `quipu help`).
    #[arg(long, value_name = "CUT", value_parser = parsed::<CutExpression>)]
    pub at: Option<CutExpression>,
    /// Read what is certified: as of the last checkpoint.
    #[arg(id = "final", long = "final", conflicts_with = "at")]
    pub certified: bool,
}

/// The kinds of things that a key can hold.
#[derive(Clone, Copy, ValueEnum)]
pub enum Type {
    /// One value, or several that conflict.
    Register,
    /// A sum.
    Counter,
    /// Members.
    Set,
    /// Values in order.
    List,
}

impl From<Type> for KeyKind {
    fn from(kind: Type) -> Self {
        match kind {
            Type::Register => Self::Register,
            Type::Counter => Self::Counter,
            Type::Set => Self::Set,
            Type::List => Self::List,
        }
    }
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    Init(commands::init::Args),
    Clone(commands::clone::Args),
    Put(commands::put::Args),
    Get(commands::get::Args),
    Del(commands::del::Args),
    Inc(commands::inc::Args),
    Add(commands::add::Args),
    Rem(commands::rem::Args),
    Append(commands::append::Args),
    Keys(commands::keys::Args),
    Log(commands::log::Args),
    Conflicts(commands::conflicts::Args),
    Resolve(commands::resolve::Args),
    Show(commands::show::Args),
    Clock(commands::clock::Args),
    Diff(commands::diff::Args),
    Blame(commands::blame::Args),
    Merge(commands::merge::Args),
    Export(commands::export::Args),
    Import(commands::import::Args),
    Backup(commands::backup::Args),
    Restore(commands::restore::Args),
    Checkpoint(commands::checkpoint::Args),
    Validators(commands::validators::Args),
    Prove(commands::prove::Args),
    Check(commands::check::Args),
    Member(commands::member::Args),
    Redact(commands::redact::Args),
    Author(commands::author::Args),
    Status(commands::status::Args),
    Du(commands::du::Args),
    Dump(commands::dump::Args),
    Verify(commands::verify::Args),
    Gc(commands::gc::Args),
    Prune(commands::prune::Args),
    Pin(commands::pin::Args),
    Identity(commands::identity::Args),
    Upgrade(commands::upgrade::Args),
    Serve(commands::serve::Args),
    Peers(commands::peers::Args),
    Peer(commands::peer::Args),
    Watch(commands::watch::Args),
    Token(commands::token::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

impl Command {
    /// What it needs to have open.
    pub fn route(&self) -> Route<'_> {
        match self {
            Self::Init(_)
            | Self::Restore(_)
            | Self::Check(_)
            | Self::Serve(_)
            | Self::Completions(_)
            | Self::Man(_) => Route::Here,
            Self::Clone(args) => args.route(),
            Self::Backup(args) => args.route(),
            Self::Verify(args) => args.route(),
            Self::Upgrade(_) => Route::Alone,
            _ => Route::Store,
        }
    }

    /// Whether it says where a new store goes.
    const fn names_new_store(&self) -> bool {
        match self {
            Self::Init(args) => args.names_dir(),
            Self::Clone(args) => args.names_dir(),
            _ => false,
        }
    }

    /// Does it.
    pub fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Init(args) => commands::init::run(args, context),
            Self::Clone(args) => commands::clone::run(args, context),
            Self::Put(args) => commands::put::run(args, context),
            Self::Get(args) => commands::get::run(&args, context),
            Self::Del(args) => commands::del::run(&args, context),
            Self::Inc(args) => commands::inc::run(&args, context),
            Self::Add(args) => commands::add::run(&args, context),
            Self::Rem(args) => commands::rem::run(&args, context),
            Self::Append(args) => commands::append::run(args, context),
            Self::Keys(args) => commands::keys::run(&args, context),
            Self::Log(args) => commands::log::run(args, context),
            Self::Conflicts(args) => commands::conflicts::run(&args, context),
            Self::Resolve(args) => commands::resolve::run(args, context),
            Self::Show(args) => commands::show::run(&args, context),
            Self::Clock(args) => commands::clock::run(&args, context),
            Self::Diff(args) => commands::diff::run(&args, context),
            Self::Blame(args) => commands::blame::run(&args, context),
            Self::Merge(args) => commands::merge::run(&args, context),
            Self::Export(args) => commands::export::run(&args, context),
            Self::Import(args) => commands::import::run(&args, context),
            Self::Backup(args) => commands::backup::run(&args, context),
            Self::Restore(args) => commands::restore::run(&args, context),
            Self::Checkpoint(args) => commands::checkpoint::run(&args, context),
            Self::Validators(args) => commands::validators::run(&args, context),
            Self::Prove(args) => commands::prove::run(&args, context),
            Self::Check(args) => commands::check::run(&args, context),
            Self::Member(args) => commands::member::run(args, context),
            Self::Redact(args) => commands::redact::run(&args, context),
            Self::Author(args) => commands::author::run(args, context),
            Self::Status(args) => commands::status::run(&args, context),
            Self::Du(args) => commands::du::run(&args, context),
            Self::Dump(args) => commands::dump::run(&args, context),
            Self::Verify(args) => commands::verify::run(&args, context),
            Self::Gc(args) => commands::gc::run(&args, context),
            Self::Prune(args) => commands::prune::run(&args, context),
            Self::Pin(args) => commands::pin::run(&args, context),
            Self::Identity(args) => commands::identity::run(args, context),
            Self::Upgrade(args) => commands::upgrade::run(&args, context),
            Self::Serve(args) => commands::serve::run(&args, context),
            Self::Peers(args) => commands::peers::run(&args, context),
            Self::Peer(args) => commands::peer::run(args, context),
            Self::Watch(args) => commands::watch::run(&args, context),
            Self::Token(args) => commands::token::run(args, context),
            Self::Completions(args) => commands::completions::run(&args, context),
            Self::Man(args) => commands::man::run(&args, context),
        }
    }
}
