//! `quipu checkpoint`

use quipu_merge::{AuthorKey, Checkpoint, CheckpointId, Height};
use quipu_net::rfc3339;
use quipu_store::{CertifiedCheckpoint, CutError, ReadError, Snapshot, StorageError};
use serde::Serialize;

use crate::amount::count;
use crate::context::Context;
use crate::exit::{Failure, NotFinal};
use crate::output::{Look, Output};
use crate::shown::{self, AuthorJson, Names};

/// How many checkpoints are read at once.
const PORTION: u64 = 256;

/// Show and check the certified checkpoints.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu checkpoint list -n 10
  quipu checkpoint show 7 --json
  quipu checkpoint verify            all of them, from the events up

`--at checkpoint:N` reads the ledger as of one, `--final` as of the last.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List them, the last one first.
    List {
        /// At most this many.
        #[arg(short = 'n', long = "limit", value_name = "N")]
        limit: Option<u64>,
    },
    /// Show one: what it certifies, and who has signed it.
    Show {
        /// Its height.
        #[arg(value_name = "N")]
        height: u64,
    },
    /// Check them again, up to one or all: the chain, its certificates, the logs and states.
    ///
    /// Every checkpoint is derived from the events again, from the first one on. The exit code is 21 where
    /// something is wrong.
    Verify {
        /// The height of the last one to check.
        #[arg(value_name = "N")]
        height: Option<u64>,
    },
}

#[derive(Serialize)]
struct CheckpointJson {
    height: u64,
    checkpoint: String,
    prev: Option<String>,
    size: u64,
    time: String,
    micros: u64,
    root: String,
    state: String,
    cut: String,
    validators: String,
}

impl CheckpointJson {
    fn new(id: CheckpointId, checkpoint: &Checkpoint) -> Self {
        Self {
            height: checkpoint.height.0,
            checkpoint: id.to_string(),
            prev: checkpoint.prev.map(|prev| prev.to_string()),
            size: checkpoint.size,
            time: rfc3339(checkpoint.time),
            micros: checkpoint.time.0,
            root: shown::hex(&checkpoint.root),
            state: shown::hex(&checkpoint.state),
            cut: checkpoint.cut.to_string(),
            validators: checkpoint.validators.to_string(),
        }
    }
}

#[derive(Serialize)]
struct ShownJson {
    #[serde(flatten)]
    checkpoint: CheckpointJson,
    heads: Vec<String>,
    round: u32,
    /// Those of its validators that have signed it, and those whose signatures it lacks.
    signed: Vec<AuthorJson>,
    unsigned: Vec<AuthorJson>,
    next_validators: Vec<AuthorJson>,
}

#[derive(Serialize)]
struct VerifiedJson {
    height: u64,
    checkpoint: String,
    events: u64,
    findings: Vec<String>,
    unlisted: u64,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    match args.command {
        Command::List { limit } => list(&snapshot, limit, &mut context.out),
        Command::Show { height } => show(&snapshot, Height(height), &mut context.out),
        Command::Verify { height } => {
            let last = snapshot.certified_height();
            let height = height.map(Height).or(last);
            let height = height.ok_or_else(|| NotFinal::nothing(&snapshot))?;
            let id = find(&snapshot, height)?.id();
            drop(snapshot);
            let report = ledger.verify_checkpoints(height)?;
            let findings: Vec<_> =
                report.findings.iter().map(|finding| shown::clean(&finding.what)).collect();
            let faults = findings.len() as u64 + report.unlisted;
            let (events, unlisted) = (report.events, report.unlisted);
            let out = &mut context.out;
            if out.is_json() {
                let checkpoint = id.to_string();
                let height = height.0;
                out.json(&VerifiedJson { height, checkpoint, events, findings, unlisted })?;
            } else {
                findings.iter().try_for_each(|finding| out.line(finding))?;
                let (checkpoints, events) = (count(height, "checkpoint"), count(events, "event"));
                out.line(format_args!("{checkpoints} with {events}: {}", count(faults, "fault")))?;
            }
            if faults > 0 {
                return Err(Failure::Verification(count(faults, "fault")));
            }
            Ok(())
        }
    }
}

/// The checkpoint of a height that counts.
fn find(snapshot: &Snapshot<'_>, height: Height) -> Result<CertifiedCheckpoint, Failure> {
    let found = snapshot.checkpoint(height)?;
    Ok(found.ok_or(ReadError::Cut(CutError::NoCheckpoint(height.0)))?)
}

fn list(snapshot: &Snapshot<'_>, limit: Option<u64>, out: &mut Output) -> Result<(), Failure> {
    let last = snapshot.certified_height().map_or(0, |height| height.0);
    let mut left = limit.unwrap_or(u64::MAX).min(last);
    let mut end = last;
    let start = snapshot.first_checkpoint().0;
    while left > 0 {
        // Where the store starts from a checkpoint, what comes before is not here.
        let here = if end >= start { end + 1 - start } else { end };
        let portion = left.min(PORTION).min(here);
        let first = end + 1 - portion;
        let mut headers = Vec::new();
        snapshot.checkpoints(Height(first), |checkpoint| {
            headers.push(checkpoint.clone());
            checkpoint.height.0 < end
        })?;
        for checkpoint in headers.iter().rev() {
            print(checkpoint, out)?;
        }
        (left, end) = (left - portion, first - 1);
    }
    Ok(())
}

fn print(checkpoint: &Checkpoint, out: &mut Output) -> Result<(), Failure> {
    let id = id_of(checkpoint)?;
    if out.is_json() {
        return Ok(out.json(&CheckpointJson::new(id, checkpoint))?);
    }
    let events = count(checkpoint.size, "event");
    let height = format!("{:>6}", checkpoint.height);
    let (id, time) = (out.paint(Look::Id, id), out.paint(Look::Time, rfc3339(checkpoint.time)));
    Ok(out.line(format_args!("{height} {id} {time} {events}"))?)
}

fn id_of(checkpoint: &Checkpoint) -> Result<CheckpointId, StorageError> {
    let sealed = checkpoint.seal();
    let damaged = |_| StorageError::Damaged { what: format!("checkpoint {}", checkpoint.height) };
    sealed.map(|(id, _)| id).map_err(damaged)
}

fn show(snapshot: &Snapshot<'_>, height: Height, out: &mut Output) -> Result<(), Failure> {
    let certified = find(snapshot, height)?;
    let CertifiedCheckpoint { checkpoint, certificate, cut, validators } = &certified;
    let signed: Vec<_> = certificate.signatures.iter().map(|(key, _)| *key).collect();
    let mut unsigned = snapshot.validators_of(height)?.unwrap_or_default();
    unsigned.retain(|key| !signed.contains(key));
    let round = certificate.round.0;
    if out.is_json() {
        let authors = |keys: &[AuthorKey]| keys.iter().copied().map(AuthorJson).collect();
        return Ok(out.json(&ShownJson {
            checkpoint: CheckpointJson::new(certified.id(), checkpoint),
            heads: cut.heads().iter().map(ToString::to_string).collect(),
            round,
            signed: authors(&signed),
            unsigned: authors(&unsigned),
            next_validators: authors(validators.keys()),
        })?);
    }
    let id = out.paint(Look::Id, certified.id());
    out.line(format_args!("checkpoint  {height} {id}"))?;
    if let Some(prev) = checkpoint.prev {
        out.line(format_args!("prev        {prev}"))?;
    }
    out.line(format_args!("time        {}", rfc3339(checkpoint.time)))?;
    out.line(format_args!("events      {}", checkpoint.size))?;
    for head in cut.heads() {
        out.line(format_args!("head        {head}"))?;
    }
    out.line(format_args!("log root    {}", shown::hex(&checkpoint.root)))?;
    out.line(format_args!("state root  {}", shown::hex(&checkpoint.state)))?;
    out.line(format_args!("round       {round}"))?;
    let names = Names::of(snapshot)?;
    for (what, keys) in [
        ("signed by ", &signed),
        ("unsigned  ", &unsigned),
        ("next      ", &validators.keys().to_vec()),
    ] {
        for key in keys {
            let name = names.name(*key).map(|name| format!(" {}", shown::clean(name)));
            let key = out.paint(Look::Author, key);
            out.line(format_args!("{what}  {key}{}", name.unwrap_or_default()))?;
        }
    }
    Ok(())
}
