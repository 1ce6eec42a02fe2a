//! `quipu member`

use quipu_merge::Role;
use quipu_store::Ledger;
use serde::Serialize;

use crate::amount::count;
use crate::args::At;
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::output::{self, Look};
use crate::parse::parsed;
use crate::shown::{AuthorJson, Names, clean};

use super::print_written;

/// Give, take and list roles.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu member list
  quipu member grant bob writer
  quipu member revoke bob

An author is a local name (`quipu author name`), a key of 64 hexadecimal digits, or its unique start.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Give an author a role: writer, admin or validator.
    ///
    /// A validator certifies from the checkpoint on that follows the one with its grant. More than two
    /// thirds of the validators have to take part in each, so one that never runs `quipu serve` makes
    /// the others fewer that may be away.
    Grant {
        /// Who: a local name, a key, or its unique start.
        author: String,
        /// `writer` may write, `admin` also grant, revoke and redact, `validator` certify.
        #[arg(value_name = "writer|admin|validator", value_parser = parsed::<Role>)]
        role: Role,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take every role away from an author.
    Revoke {
        /// Who: a local name, a key, or its unique start.
        author: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// List the authors that have roles, or had them.
    List(At),
}

#[derive(Serialize)]
struct MemberJson<'n> {
    author: AuthorJson,
    name: Option<&'n str>,
    roles: Vec<&'static str>,
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    match args.command {
        Command::Grant { author, role, wait } => {
            let ledger = context.open_to_write()?;
            wait.check(&ledger, context)?;
            let author = ledger.snapshot()?.find_author(&author)?;
            let committed = ledger.grant(author, role)?;
            if role == Role::Validator {
                tell_quorum(&ledger)?;
            }
            print_written(&ledger, &committed, wait, context)
        }
        Command::Revoke { author, wait } => {
            let ledger = context.open_to_write()?;
            wait.check(&ledger, context)?;
            let author = ledger.snapshot()?.find_author(&author)?;
            let committed = ledger.revoke(author)?;
            print_written(&ledger, &committed, wait, context)
        }
        Command::List(at) => list(&at, context),
    }
}

/// Tells how many validators there are to be, and how many of them have to take part.
fn tell_quorum(ledger: &Ledger) -> Result<(), Failure> {
    let snapshot = ledger.snapshot()?;
    if snapshot.next_validators().is_empty() {
        output::warning("the ledger was made without validators: nothing in it is ever certified");
        return Ok(());
    }
    let roles = snapshot.roles()?;
    let all = roles.values().filter(|roles| roles.contains(&Role::Validator.word())).count();
    let needed = all * 2 / 3 + 1;
    output::note(format_args!(
        "{} once a checkpoint holds this grant: {needed} of them have to take part in each one after it",
        count(all, "validator")
    ));
    Ok(())
}

fn list(at: &At, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = snapshot_at(&ledger, at)?;
    let names = Names::of(&snapshot)?;
    let out = &mut context.out;
    for (author, roles) in snapshot.roles()? {
        let name = names.name(author);
        if out.is_json() {
            out.json(&MemberJson { author: AuthorJson(author), name, roles })?;
            continue;
        }
        let own = if author == ledger.author() { " (this replica)" } else { "" };
        let name = name.map(|name| format!(" {}", clean(name))).unwrap_or_default();
        let key = out.paint(Look::Author, author);
        out.line(format_args!("{key}{name} {}{own}", roles.join(" ")))?;
    }
    Ok(())
}
