//! `quipu token`

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use quipu_net::{Role, TokenInfo, Tokens};
use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Look};
use crate::parse::{from_one, not_empty};
use crate::shown::clean;

const DAY: u64 = 24 * 60 * 60;

/// Make, list and end tokens for the HTTP API.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu token add backup --role read --days 90
  quipu token list
  quipu token revoke 4f1c2a9be07d3355

Only a hash of a token is kept: it is printed once, when it is made. Tokens are for the API over TLS;
whoever can open the store's `api.socket` needs none.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a token and print it.
    Add {
        /// What it is for.
        #[arg(value_parser = not_empty)]
        name: String,
        /// What it allows: each role allows what those before it do.
        #[arg(long)]
        role: RoleArg,
        /// End it after so many days; never unless given.
        #[arg(long, value_name = "N", value_parser = from_one::<NonZeroU32>)]
        days: Option<NonZeroU32>,
    },
    /// List the tokens, also those that have ended.
    List,
    /// End a token, by its id.
    Revoke {
        /// As `quipu token list` prints it.
        id: String,
    },
}

/// What a token allows.
#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Reading.
    Read,
    /// Writing keys.
    Write,
    /// Everything else.
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Read => Self::Read,
            RoleArg::Write => Self::Write,
            RoleArg::Admin => Self::Admin,
        }
    }
}

#[derive(Serialize)]
struct NewJson {
    token: String,
    #[serde(flatten)]
    info: TokenInfo,
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    // The daemon notices what changes, and so does whoever starts later.
    let tokens = match context.served() {
        Some(served) => served.tokens.clone(),
        None => Arc::new(Tokens::open(&context.store_path()?)?),
    };
    match args.command {
        Command::Add { name, role, days } => {
            let lifetime = days.map(|days| Duration::from_secs(u64::from(days.get()) * DAY));
            let new = tokens.add(&name, role.into(), lifetime)?;
            if context.out.is_json() {
                return Ok(context.out.json(&NewJson { token: new.text, info: new.info })?);
            }
            context.out.line(&new.text)?;
            output::note(format_args!("token {}: it is not printed again", new.info.id));
        }
        Command::List => list(&tokens, context)?,
        Command::Revoke { id } => {
            if !tokens.revoke(&id)? {
                return Err(Failure::NotFound(format!("no token {id:?}")));
            }
            output::note(format_args!("token {id} has ended"));
        }
    }
    Ok(())
}

fn list(tokens: &Tokens, context: &mut Context) -> Result<(), Failure> {
    let out = &mut context.out;
    for token in tokens.list()? {
        if out.is_json() {
            out.json(&token)?;
            continue;
        }
        let id = out.paint(Look::Id, &token.id);
        let role = match token.role {
            Role::Read => "read",
            Role::Write => "write",
            Role::Admin => "admin",
        };
        let until = token.expires.map_or_else(String::new, |end| format!(" until {end:.0}"));
        out.line(format_args!(
            "{id} {role:5} {} since {:.0}{until}",
            clean(&token.name),
            token.created
        ))?;
    }
    Ok(())
}
