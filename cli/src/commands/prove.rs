//! `quipu prove`

use std::path::PathBuf;

use quipu_merge::{Key, Proof, ProvedKey};
use quipu_store::{CutError, ProveError, ProveFrom, ReadError, Snapshot};
use serde::Serialize;

use crate::amount::size;
use crate::context::Context;
use crate::exit::{Failure, NotFinal};
use crate::output;
use crate::parse::{AtHeight, parsed};
use crate::whole_file::write_whole;

/// Make a proof that anybody can check who knows the ledger's id, with `quipu check`.
///
/// A proof is a small file: certified checkpoints from genesis on, as far as they are needed, and the way
/// from the last of them to what is proved. It goes to stdout, unless that is a terminal.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu prove event dqvzo4m2 > event.proof          that it is in the certified log
  quipu prove key sign/colour -o colour.proof       what it holds, or that there is no such key
  quipu prove key stock/apples --at checkpoint:7 -o apples.proof
  quipu prove member alice -o alice.proof           which roles she has
  quipu prove extends 3 7 -o grows.proof            that the log of 7 continues that of 3
  quipu prove key sign/colour --since 5 -o colour.proof     for whom trusts checkpoint 5")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Where to; stdout, unless given.
    #[arg(short = 'o', long = "output", value_name = "FILE", global = true)]
    output: Option<PathBuf>,
    /// Start from this checkpoint, which the reader trusts, instead of from genesis: a height, or
    /// checkpoint:N.
    #[arg(long, value_name = "N", global = true, value_parser = parsed::<AtHeight>)]
    since: Option<AtHeight>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// That an event is certified. It holds also when its values are erased.
    Event {
        /// Its id, or a unique part of it.
        event: String,
    },
    /// What a key holds in the certified state, of all types, or that it holds nothing.
    Key {
        /// The key.
        key: String,
        /// In the state of this checkpoint instead of the last: a height, or checkpoint:N. The state of
        /// an earlier one is folded again.
        #[arg(long, value_name = "N", value_parser = parsed::<AtHeight>)]
        at: Option<AtHeight>,
    },
    /// Which roles an author has in the certified state, or that it has none.
    Member {
        /// A name, a key, or its unique start.
        author: String,
        /// In the state of this checkpoint instead of the last: a height, or checkpoint:N.
        #[arg(long, value_name = "N", value_parser = parsed::<AtHeight>)]
        at: Option<AtHeight>,
    },
    /// That the certified log of one checkpoint continues that of an earlier one.
    Extends {
        /// The earlier one: a height, or checkpoint:N.
        #[arg(value_name = "N", value_parser = parsed::<AtHeight>)]
        older: AtHeight,
        /// The later one: a height, or checkpoint:N.
        #[arg(value_name = "M", value_parser = parsed::<AtHeight>)]
        newer: AtHeight,
    },
}

#[derive(Serialize)]
struct ProofJson {
    file: String,
    bytes: u64,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    if args.output.is_none() && context.out.is_json() {
        return Err(Failure::Usage("--json and a proof on stdout do not go together".to_owned()));
    }
    if args.output.is_none() && context.out.is_terminal() {
        let why = "a proof is not for a terminal: redirect stdout, or give -o FILE";
        return Err(Failure::Usage(why.to_owned()));
    }
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    let proof = prove(args, &snapshot)?.encode();
    let proof = proof.map_err(|why| Failure::Condition(format!("no such proof can be: {why}")))?;
    let Some(file) = &args.output else { return Ok(context.out.bytes(&proof)?) };
    write_whole(file, context, |out| out.write_all(&proof).map_err(Failure::file(file)))?;
    let bytes = proof.len() as u64;
    if context.out.is_json() {
        context.out.json(&ProofJson { file: file.display().to_string(), bytes })?;
    } else {
        output::note(format_args!("a proof of {}", size(bytes)));
    }
    Ok(())
}

fn prove(args: &Args, snapshot: &Snapshot<'_>) -> Result<Proof, Failure> {
    let from = args.since.map_or(ProveFrom::Genesis, |since| ProveFrom::Checkpoint(since.0));
    let height = |at: &Option<AtHeight>| at.map(|at| at.0);
    let proof = match &args.command {
        Command::Event { event } => snapshot.prove_event(snapshot.find_event(event)?, from),
        Command::Key { key, at } => {
            let key = Key::new(key).map_err(|error| Failure::Usage(error.to_string()))?;
            snapshot.prove_key(ProvedKey::Key(key), height(at), from)
        }
        Command::Member { author, at } => {
            let author = snapshot.find_author(author)?;
            snapshot.prove_key(ProvedKey::Author(author), height(at), from)
        }
        Command::Extends { older, newer } => snapshot.prove_extends(older.0, newer.0, from),
    };
    proof.map_err(|error| match error {
        ProveError::NothingCertified => NotFinal::nothing(snapshot).into(),
        ProveError::NotCertified(_) if snapshot.next_validators().is_empty() => {
            NotFinal::NoValidators.into()
        }
        ProveError::NotCertified(event) => NotFinal::Event(event).into(),
        ProveError::NoCheckpoint(height) => ReadError::Cut(CutError::NoCheckpoint(height.0)).into(),
        ProveError::Read(error) => error.into(),
        other => Failure::Usage(other.to_string()),
    })
}
