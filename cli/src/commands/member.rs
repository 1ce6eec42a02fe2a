//! `quipu member`

use quipu_merge::Role;
use serde::Serialize;

use crate::args::At;
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;
use crate::final_wait::Wait;
use crate::output::Look;
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
    Grant {
        author: String,
        role: Role,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take every role away from an author.
    Revoke {
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
