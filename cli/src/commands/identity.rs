//! `quipu identity`

use std::path::PathBuf;

use quipu_merge::{Role, quorum};
use quipu_store::Ledger;
use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Look};
use crate::shown::Names;

/// Show, replace and protect this replica's key.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu identity show --json
  quipu identity rotate                   go on with a new key
  quipu identity passphrase               set or change the passphrase
  quipu identity passphrase --remove
  quipu identity keep                     this store was moved, and the other is gone
  quipu identity vouch                    and it was the only validator")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show the key and its roles.
    Show,
    /// Make a new key and grant it the roles of the old one, where that one may.
    ///
    /// A validator's new key certifies from the checkpoint on that holds the grant. Where the other
    /// validators are too few to certify that one, nothing would ever be certified again, and the key
    /// stays: make another replica a validator first.
    Rotate {
        /// Even if nothing can be certified any more.
        #[arg(long)]
        force: bool,
    },
    /// Set, change or remove the key's passphrase.
    Passphrase {
        /// Read the new passphrase from the first line of this file, instead of asking.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Keep the key without a passphrase.
        #[arg(long, conflicts_with = "new_passphrase_file")]
        remove: bool,
    },
    /// Keep the key: this store was moved or restored, and nobody writes to the other any more.
    Keep,
    /// Let a validator sign again that abstains: say that this key has signed nothing as a validator
    /// that this store does not know of.
    ///
    /// Needs `quipu serve`. Whoever is wrong in this makes a validator that signs twice. An abstaining
    /// validator goes on by itself when the others have certified two more heights: wait for that where
    /// it can be waited for.
    Vouch,
}

#[derive(Serialize)]
struct IdentityJson {
    key: String,
    name: Option<String>,
    roles: Vec<&'static str>,
    ledger: String,
    copied: bool,
}

#[derive(Serialize)]
struct RotationJson {
    old: String,
    new: String,
    granted: Vec<&'static str>,
    event: Option<String>,
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    match args.command {
        Command::Show => show(context),
        Command::Rotate { force } => rotate(force, context),
        Command::Passphrase { new_passphrase_file, remove } => {
            let ledger = context.open()?;
            context.unlock(&ledger)?;
            let passphrase = match (remove, new_passphrase_file) {
                (true, _) => None,
                (false, Some(file)) => Some(context.read_passphrase(&file)?),
                (false, None) => Some(context.ask_twice("New passphrase: ")?),
            };
            ledger.set_passphrase(passphrase.as_ref())?;
            output::note(if remove {
                "the key has no passphrase now"
            } else {
                "the passphrase is set"
            });
            Ok(())
        }
        Command::Keep => {
            let ledger = context.open()?;
            ledger.keep_place()?;
            output::note("this store keeps its key");
            Ok(())
        }
        Command::Vouch => {
            let Some(served) = context.served() else {
                let why = "validators sign while `quipu serve` runs: start it, and vouch then";
                return Err(Failure::Condition(why.to_owned()));
            };
            if !served.runtime.block_on(served.node.vouch())? {
                let why =
                    "this replica does not abstain from signing: there is nothing to vouch for";
                return Err(Failure::Condition(why.to_owned()));
            }
            output::note("this validator signs again");
            Ok(())
        }
    }
}

fn show(context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    let key = ledger.author();
    let roles = snapshot.roles()?.remove(&key).unwrap_or_default();
    let name = Names::of(&snapshot)?.name(key).map(str::to_owned);
    let out = &mut context.out;
    if out.is_json() {
        let (ledger_id, copied) = (ledger.id().to_string(), ledger.is_copied());
        out.json(&IdentityJson { key: key.to_string(), name, roles, ledger: ledger_id, copied })?;
    } else {
        let key = out.paint(Look::Author, key);
        let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(" ") };
        out.line(format_args!("{key} {roles}"))?;
    }
    Ok(())
}

fn rotate(force: bool, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let validates = ledger.snapshot()?.next_validators().contains(&ledger.author());
    if validates && let Some((others, needed)) = ends_certification(&ledger, context)? {
        if !force {
            return Err(Failure::EndsCertification { others, needed });
        }
        output::warning("nothing may be certified in this ledger any more");
    }
    context.unlock(&ledger)?;
    let passphrase = if ledger.has_passphrase()? {
        Some(context.passphrase_or_ask("Passphrase for the new key: ")?)
    } else {
        None
    };
    let rotation = ledger.rotate_identity(passphrase.as_ref())?;
    let out = &mut context.out;
    let granted: Vec<_> = rotation.granted.iter().copied().map(Role::word).collect();
    if out.is_json() {
        out.json(&RotationJson {
            old: rotation.old.to_string(),
            new: rotation.new.to_string(),
            granted,
            event: rotation.event.map(|committed| committed.event.to_string()),
        })?;
    } else {
        out.line(format_args!("old {}", rotation.old))?;
        out.line(format_args!("new {} {}", rotation.new, granted.join(" ")))?;
    }
    if rotation.granted.is_empty() {
        output::warning("the new key has no role; an admin gives it one with `quipu member grant`");
    }
    if validates {
        output::warning(format_args!(
            "the old key counts as a validator until it is revoked, and signs nothing any more: \
             `quipu member revoke {}`",
            rotation.old
        ));
    }
    Ok(())
}

/// Whether too few validators would be left without this one's key, the new one being granted or not: how
/// many there would be, and how many there must be. Whoever is known to be missing does not count.
fn ends_certification(
    ledger: &Ledger,
    context: &Context,
) -> Result<Option<(usize, usize)>, Failure> {
    let (validators, me) = (ledger.snapshot()?.next_validators(), ledger.author());
    let missing = context.served().map(|served| served.node.status().certification.missing);
    let missing = missing.unwrap_or_default();
    let others = validators.iter().filter(|key| **key != me && !missing.contains(key)).count();
    let before = (others, quorum(validators.len()));
    let after = (others + 1, quorum(validators.len() + 1));
    Ok([before, after].into_iter().find(|(there, needed)| there < needed))
}
