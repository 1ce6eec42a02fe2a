//! `quipu author`

use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Look;
use crate::shown::{AuthorJson, Names, clean};

/// Give authors names, which are known here only.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu author name 3f9a bob
  quipu author name bob --remove
  quipu author list")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Name an author: by its key, its unique start, or its name so far.
    Name {
        /// A key, its unique start, or its name so far.
        author: String,
        /// The name, of 1 to 64 bytes, without spaces, `:`, `,` and `+`.
        #[arg(required_unless_present = "remove")]
        name: Option<String>,
        /// Forget its name.
        #[arg(long, conflicts_with = "name")]
        remove: bool,
    },
    /// List the names.
    List,
}

#[derive(Serialize)]
struct NameJson<'n> {
    author: AuthorJson,
    name: Option<&'n str>,
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    let out = &mut context.out;
    match args.command {
        Command::Name { author, name, .. } => {
            let author = snapshot.find_author(&author)?;
            if let Some(name) = &name {
                check(name)?;
                if snapshot.names()?.iter().any(|(other, known)| known == name && *other != author)
                {
                    return Err(Failure::Usage(format!("another author is called {name:?}")));
                }
            }
            ledger.set_name(author, name.as_deref())?;
            if out.is_json() {
                out.json(&NameJson { author: AuthorJson(author), name: name.as_deref() })?;
            }
        }
        Command::List => {
            for (author, name) in Names::of(&snapshot)?.all() {
                if out.is_json() {
                    out.json(&NameJson { author: AuthorJson(*author), name: Some(name) })?;
                } else {
                    let key = out.paint(Look::Author, author);
                    out.line(format_args!("{key} {}", clean(name)))?;
                }
            }
        }
    }
    Ok(())
}

/// Names stand in clocks, `alice:12,bob:7`, and must not look like anything else.
fn check(name: &str) -> Result<(), Failure> {
    let bad = |letter: char| {
        letter.is_control() || letter.is_whitespace() || matches!(letter, ':' | ',' | '+')
    };
    if name.is_empty() || name.len() > 64 || name == "checkpoint" || name.contains(bad) {
        let why = "a name has 1 to 64 bytes, no spaces, `:`, `,` or `+`, and is not `checkpoint`";
        return Err(Failure::Usage(why.to_owned()));
    }
    Ok(())
}
