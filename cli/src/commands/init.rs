//! `quipu init`

use std::path::{Path, PathBuf};

use quipu_merge::{AuthorKey, ForkPolicy, Policy};
use quipu_store::{Ledger, NewLedger};
use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::parse::{parsed, signing_key};

/// Make a new ledger, with its key and its first event.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu init                               in ./.quipu
  quipu init shop --name \"my shop\"
  quipu init shop --policy open --no-validators")]
pub struct Args {
    /// Where to; unless given, where `--store` or QUIPU_STORE says, and `./.quipu` without them.
    dir: Option<PathBuf>,
    /// A name for people, up to 256 bytes.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Who may write: `members`, or everybody (`open`).
    #[arg(long, default_value = "members", value_name = "members|open",
          value_parser = parsed::<Policy>)]
    policy: Policy,
    /// What becomes of an author whose history forks: both branches count, or neither.
    #[arg(long, default_value = "keep", value_name = "keep|exclude",
          value_parser = parsed::<ForkPolicy>)]
    forks: ForkPolicy,
    /// A validator, by key; the new key alone unless given.
    #[arg(long = "validator", value_name = "KEY", num_args = 1.., conflicts_with = "no_validators",
          value_parser = signing_key)]
    validators: Option<Vec<AuthorKey>>,
    /// A ledger without validators, which never certifies.
    #[arg(long)]
    no_validators: bool,
    /// One more admin, by key.
    #[arg(long = "admin", value_name = "KEY", num_args = 1.., value_parser = signing_key)]
    admins: Vec<AuthorKey>,
    /// Ask for a passphrase to encrypt the new key with.
    #[arg(long)]
    encrypt: bool,
}

impl Args {
    /// Whether it says where the store goes.
    pub const fn names_dir(&self) -> bool {
        self.dir.is_some()
    }
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let dir = context.new_store(args.dir);
    let new = NewLedger {
        name: args.name,
        policy: args.policy,
        forks: args.forks,
        admins: args.admins,
        validators: if args.no_validators { Some(Vec::new()) } else { args.validators },
    };
    let ledger = context.new_options(args.encrypt)?.create(&dir, &new)?;
    print_new(&ledger, &dir, &mut context.out)?;
    output::note(format_args!("a new ledger in {}", dir.display()));
    Ok(())
}

#[derive(Serialize)]
struct NewStore {
    dir: String,
    ledger: String,
    name: String,
    key: String,
}

/// Prints what a new store is.
pub fn print_new(ledger: &Ledger, dir: &Path, out: &mut Output) -> Result<(), Failure> {
    let new = NewStore {
        dir: dir.display().to_string(),
        ledger: ledger.id().to_string(),
        name: ledger.genesis().name,
        key: ledger.author().to_string(),
    };
    if out.is_json() {
        out.json(&new)?;
    } else {
        out.line(format_args!("ledger {}", new.ledger))?;
        out.line(format_args!("key    {}", new.key))?;
    }
    Ok(())
}
