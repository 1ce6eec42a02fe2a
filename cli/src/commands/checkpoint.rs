//! `quipu checkpoint`

mod note;

use quipu_merge::{AuthorKey, Checkpoint, CheckpointId, Height};
use quipu_net::rfc3339;
use quipu_store::{
    CertifiedCheckpoint, CheckpointsReport, CutError, Divergence, Ledger, ReadError, Snapshot,
    StorageError,
};
use serde::Serialize;

use crate::amount::count;
use crate::context::Context;
use crate::exit::{Failure, NotFinal};
use crate::output::{self, Look, Output};
use crate::parse::{AtHeight, number, parsed};
use crate::shown::{self, AuthorJson, Names};

/// How many checkpoints are read at once.
const PORTION: u64 = 256;

/// Show and check the certified checkpoints.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu checkpoint list -n 10
  quipu checkpoint show 7 --json
  quipu checkpoint show 7 --note     for clients of transparency logs
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
        /// At most this many; all unless given.
        #[arg(short = 'n', long = "limit", value_name = "N", value_parser = number::<u64>)]
        limit: Option<u64>,
    },
    /// Show one: what it certifies, and who has signed it.
    Show {
        /// Its height: N, or checkpoint:N.
        #[arg(value_name = "N", value_parser = parsed::<AtHeight>)]
        height: AtHeight,
        /// Print it as a C2SP signed note, with the lines of the validators that have come.
        ///
        /// The exit code is 4 where none have.
        #[arg(long)]
        note: bool,
    },
    /// Check them again, up to one or all: the chain, its certificates, the logs and states.
    ///
    /// Every checkpoint is derived from the events again: from the first one on; in a store that starts
    /// from a checkpoint, from that one on. Where operations have been pruned, states are derived from the
    /// checkpoint on up to which they are gone. The exit code is 21 where something is wrong.
    Verify {
        /// The height of the last one to check: N, or checkpoint:N.
        #[arg(value_name = "N", value_parser = parsed::<AtHeight>)]
        height: Option<AtHeight>,
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
    /// Whether the store starts from it, and has not those before.
    start: bool,
}

impl CheckpointJson {
    fn new(snapshot: &Snapshot<'_>, id: CheckpointId, checkpoint: &Checkpoint) -> Self {
        Self {
            start: starts_late(snapshot) == Some(checkpoint.height),
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
    /// Another that is certified at this height, which must not be.
    other: Option<OtherJson>,
}

#[derive(Serialize)]
struct OtherJson {
    checkpoint: String,
    round: u32,
    signed: Vec<AuthorJson>,
}

#[derive(Serialize)]
struct VerifiedJson {
    height: u64,
    checkpoint: String,
    /// The first one that was derived from its events, and the first of which the state was.
    first: u64,
    first_state: u64,
    /// How many were derived, and how many events those certify.
    checkpoints: u64,
    events: u64,
    findings: Vec<String>,
    unlisted: u64,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    match args.command {
        Command::List { limit } => list(&snapshot, limit, &mut context.out),
        Command::Show { height, note: true } => note::show(&snapshot, height.0, context),
        Command::Show { height, note: false } => {
            show(&ledger, &snapshot, height.0, &mut context.out)
        }
        Command::Verify { height } => {
            let last = snapshot.certified_height();
            let height = height.map(|height| height.0).or(last);
            let height = height.ok_or_else(|| NotFinal::nothing(&snapshot))?;
            let id = find(&snapshot, height)?.id();
            let start = starts_late(&snapshot);
            drop(snapshot);
            let report = ledger.verify_checkpoints(height)?;
            verified(height, id, start, &report, &mut context.out)
        }
    }
}

/// Prints what checking has come to, and what was not checked.
fn verified(
    height: Height,
    id: CheckpointId,
    start: Option<Height>,
    report: &CheckpointsReport,
    out: &mut Output,
) -> Result<(), Failure> {
    let findings: Vec<_> =
        report.findings.iter().map(|finding| shown::clean(&finding.what)).collect();
    let faults = findings.len() as u64 + report.unlisted;
    let CheckpointsReport { first, first_state, checkpoints, events, unlisted, .. } = *report;
    if out.is_json() {
        out.json(&VerifiedJson {
            height: height.0,
            checkpoint: id.to_string(),
            first: first.0,
            first_state: first_state.0,
            checkpoints,
            events,
            findings,
            unlisted,
        })?;
    } else {
        findings.iter().try_for_each(|finding| out.line(finding))?;
        let all = (height.0 + 1).saturating_sub(first.0);
        let (events, faults) = (count(events, "event"), count(faults, "fault"));
        match checkpoints {
            done if done < all => out.line(format_args!(
                "{done} of {} with {events}: {faults}",
                count(all, "checkpoint")
            ))?,
            done => {
                out.line(format_args!("{} with {events}: {faults}", count(done, "checkpoint")))?
            }
        }
        if let Some(start) = start {
            out.line(format_args!(
                "those up to {start}, from which this store starts, were not derived"
            ))?;
        }
        // What the store starts with is checked against the state root of its checkpoint.
        if first_state > start.unwrap_or(Height::FIRST) {
            let which =
                if first_state > height { "no state was" } else { "earlier states were not" };
            out.line(format_args!(
                "{which} derived: operations up to checkpoint {first_state} are pruned here"
            ))?;
        }
    }
    if faults > 0 {
        return Err(Failure::Verification(count(faults, "fault")));
    }
    Ok(())
}

/// The checkpoint that the store starts from, where those before it are not here.
fn starts_late(snapshot: &Snapshot<'_>) -> Option<Height> {
    Some(snapshot.first_checkpoint()).filter(|first| *first > Height::FIRST)
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
    while left > 0 && end >= start {
        let portion = left.min(PORTION).min(end + 1 - start);
        let first = end + 1 - portion;
        let mut headers = Vec::new();
        snapshot.checkpoints(Height(first), |checkpoint| {
            headers.push(checkpoint.clone());
            checkpoint.height.0 < end
        })?;
        for checkpoint in headers.iter().rev() {
            print(snapshot, checkpoint, out)?;
        }
        (left, end) = (left - portion, first - 1);
    }
    if let Some(start) = starts_late(snapshot).filter(|start| end < start.0) {
        out.flush()?;
        output::note(format_args!(
            "this store starts from checkpoint {start}: those before are not here"
        ));
    }
    Ok(())
}

fn print(
    snapshot: &Snapshot<'_>,
    checkpoint: &Checkpoint,
    out: &mut Output,
) -> Result<(), Failure> {
    let id = id_of(checkpoint)?;
    if out.is_json() {
        return Ok(out.json(&CheckpointJson::new(snapshot, id, checkpoint))?);
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

/// Another checkpoint of a height with a certificate of its own, where there is one.
fn contradicting(ledger: &Ledger, height: Height) -> Option<CertifiedCheckpoint> {
    ledger.certification().diverged.into_iter().find_map(|diverged| match diverged {
        Divergence::Certificates { other, .. } if other.height() == height => Some(*other),
        _ => None,
    })
}

fn show(
    ledger: &Ledger,
    snapshot: &Snapshot<'_>,
    height: Height,
    out: &mut Output,
) -> Result<(), Failure> {
    let certified = find(snapshot, height)?;
    let CertifiedCheckpoint { checkpoint, certificate, cut, validators } = &certified;
    let signed: Vec<_> = certificate.signatures.iter().map(|(key, _)| *key).collect();
    let mut unsigned = snapshot.validators_of(height)?.unwrap_or_default();
    unsigned.retain(|key| !signed.contains(key));
    let round = certificate.round.0;
    let other = contradicting(ledger, height);
    let signed_other = |other: &CertifiedCheckpoint| -> Vec<_> {
        other.certificate.signatures.iter().map(|(key, _)| *key).collect()
    };
    if out.is_json() {
        let authors = |keys: &[AuthorKey]| keys.iter().copied().map(AuthorJson).collect();
        return Ok(out.json(&ShownJson {
            checkpoint: CheckpointJson::new(snapshot, certified.id(), checkpoint),
            heads: cut.heads().iter().map(ToString::to_string).collect(),
            round,
            signed: authors(&signed),
            unsigned: authors(&unsigned),
            next_validators: authors(validators.keys()),
            other: other.as_ref().map(|other| OtherJson {
                checkpoint: other.id().to_string(),
                round: other.certificate.round.0,
                signed: authors(&signed_other(other)),
            }),
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
    let others = other.as_ref().map(signed_other).unwrap_or_default();
    if let Some(other) = &other {
        let (id, round) = (other.id(), other.certificate.round);
        out.line(format_args!("also        {height} {id}, certified in round {}", round.0))?;
    }
    for (what, keys) in [
        ("signed by ", &signed),
        ("unsigned  ", &unsigned),
        ("also by   ", &others),
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
