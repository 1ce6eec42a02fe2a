//! `quipu verify --repair`

use quipu_store::{
    IdentityError, OpenError, Options, RepairError, RepairOptions, RepairReport, Unplaced,
};
use serde::Serialize;

use super::{Args, VerifyJson};
use crate::amount::count;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Output, Progress};
use crate::shown::{AuthorJson, clean};

#[derive(Serialize)]
struct RepairJson {
    /// Whether the database was made anew.
    repaired: bool,
    /// What was wrong before.
    found: Vec<String>,
    kept: u64,
    fetched: u64,
    unreadable: u64,
    unplaced: Vec<UnplacedJson>,
    left_behind: u64,
    lost_events: u64,
    lost_values: u64,
    lost_pins: u64,
    lost_checkpoints: u64,
    missing_values: u64,
    loss: Option<String>,
    /// Where the damaged database is.
    damaged: Option<String>,
    /// What checking the store has found in the end.
    verified: VerifyJson,
}

#[derive(Serialize)]
struct UnplacedJson {
    author: AuthorJson,
    events: u64,
    first: u64,
    last: u64,
}

impl From<&Unplaced> for UnplacedJson {
    fn from(unplaced: &Unplaced) -> Self {
        let Unplaced { author, events, first, last } = *unplaced;
        Self { author: AuthorJson(author), events, first: first.0, last: last.0 }
    }
}

impl From<&RepairReport> for RepairJson {
    fn from(report: &RepairReport) -> Self {
        Self {
            repaired: report.repaired,
            found: report.found.iter().map(|finding| clean(&finding.what)).collect(),
            kept: report.kept,
            fetched: report.fetched,
            unreadable: report.unreadable,
            unplaced: report.unplaced.iter().map(UnplacedJson::from).collect(),
            left_behind: report.left_behind,
            lost_events: report.lost_events,
            lost_values: report.lost_values,
            lost_pins: report.lost_pins,
            lost_checkpoints: report.lost_checkpoints,
            missing_values: report.missing_values,
            loss: report.loss.as_ref().map(ToString::to_string),
            damaged: report.damaged.as_ref().map(|path| path.display().to_string()),
            verified: VerifyJson::from(&report.verified),
        }
    }
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let dir = context.find_store()?;
    let what = RepairOptions { from: args.from.clone(), force: args.force };
    let repair = |options: Options| {
        let progress = Progress::new("repairing");
        options.repair(&dir, &what, &mut |done, total| progress.report(done, total))
    };
    let report = match repair(context.new_options(false)?) {
        // Only the key tells any more who the replica is.
        Err(RepairError::Identity(error @ IdentityError::PassphraseNeeded)) => {
            repair(Options::new().passphrase(context.ask_for(&dir, error)?))
        }
        other => other,
    }
    .map_err(failure)?;
    let json = RepairJson::from(&report);
    let out = &mut context.out;
    if out.is_json() {
        out.json(&json)?
    } else {
        print(&json, out)?
    }
    if let Some(damaged) = &json.damaged {
        output::note(format_args!(
            "the damaged database is kept in {damaged}: remove it when you do not need it any more; \
             what has been erased may still be in it"
        ));
    }
    if report.is_whole() { Ok(()) } else { Err(Failure::Unrepaired(what_is_left(&json))) }
}

fn failure(error: RepairError) -> Failure {
    match error {
        RepairError::Open(OpenError::Storage(error)) => Failure::Storage(error),
        RepairError::Open(error) => Failure::Open(error),
        RepairError::Storage(error) => Failure::Storage(error),
        RepairError::Itself(_) => Failure::Usage(error.to_string()),
        other => Failure::Repair(other),
    }
}

fn print(report: &RepairJson, out: &mut Output) -> Result<(), Failure> {
    if !report.repaired {
        report.verified.print(out)?;
        return Ok(out.line("nothing is wrong, and nothing was changed")?);
    }
    for found in &report.found {
        out.line(format_args!("found: {found}"))?;
    }
    let RepairJson { kept, fetched, unreadable, missing_values, .. } = report;
    let (kept, missing) = (count(kept, "event"), count(missing_values, "value"));
    let unreadable = count(unreadable, "place");
    out.line(format_args!(
        "{kept} kept, {fetched} fetched; {unreadable} unreadable, {missing} missing"
    ))?;
    for UnplacedJson { author, events, first, last } in &report.unplaced {
        out.line(format_args!(
            "{} of {}, numbers {first} to {last}, waiting for events that are gone",
            count(events, "event"),
            author.0
        ))?;
    }
    if report.left_behind > 0 {
        let left = report.left_behind;
        out.line(format_args!("{left} of them are in the damaged database alone: too many wait"))?;
    }
    report.verified.print(out)
}

/// What the store has had and does not have.
fn what_is_left(report: &RepairJson) -> String {
    let unplaced: u64 = report.unplaced.iter().map(|unplaced| unplaced.events).sum();
    let parts = [
        (report.lost_events, "events are gone"),
        (unplaced, "events wait for others that are gone"),
        (report.lost_values, "values are gone"),
        (report.lost_pins, "pins are of what is gone"),
        (report.lost_checkpoints, "certified checkpoints are lost"),
        (u64::from(report.loss.is_some()), "loss of acknowledged writes stands"),
        (report.verified.faults(), "things are not as they should be"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
