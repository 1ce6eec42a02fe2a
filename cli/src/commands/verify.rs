//! `quipu verify`

use std::path::PathBuf;

use quipu_store::{Ledger, OpenError, ReadError, VerifyReport};
use serde::Serialize;

use crate::amount::count;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Output, Progress};
use crate::route::Route;
use crate::shown::clean;

mod repair;

/// Check every hash, signature, link, index and derived value again, from the raw events up.
///
/// With --repair, a store in which something is wrong is made sound again: a new database is made of
/// the raw events that can still be read, and the damaged one is kept beside it, as `db.damaged-1`
/// and so on, until you remove it. That takes as much room again on the disk.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu verify
  quipu verify --json
  quipu verify --repair                                  derive everything anew from the events
  quipu verify --repair --from ../bob --from old.car     and fetch what is lost

The exit code is 21 where something is wrong, and with --repair where something is still lost.")]
pub struct Args {
    /// Make a store in which something is wrong sound again.
    #[arg(long)]
    repair: bool,
    /// Where to fetch what is lost: a store's directory or a CAR file. May be given several times.
    #[arg(long, value_name = "SOURCE", requires = "repair")]
    from: Vec<PathBuf>,
    /// Make the database anew even where nothing is wrong.
    #[arg(long, requires = "repair")]
    force: bool,
}

impl Args {
    /// A repair exchanges the database.
    pub const fn route(&self) -> Route<'_> {
        if self.repair { Route::Alone } else { Route::Store }
    }
}

#[derive(Serialize)]
struct VerifyJson {
    events: u64,
    openings: u64,
    blocks: u64,
    versions: u64,
    findings: Vec<String>,
    /// How many findings there are beyond those.
    unlisted: u64,
}

impl From<&VerifyReport> for VerifyJson {
    fn from(report: &VerifyReport) -> Self {
        let VerifyReport { events, openings, blocks, versions, unlisted, .. } = *report;
        let findings = report.findings.iter().map(|finding| clean(&finding.what)).collect();
        Self { events, openings, blocks, versions, findings, unlisted }
    }
}

impl VerifyJson {
    fn faults(&self) -> u64 {
        self.findings.len() as u64 + self.unlisted
    }

    fn print(&self, out: &mut Output) -> Result<(), Failure> {
        for finding in &self.findings {
            out.line(finding)?;
        }
        let (events, openings) = (count(self.events, "event"), count(self.openings, "opening"));
        let (versions, blocks) = (count(self.versions, "version"), count(self.blocks, "block"));
        let faults = count(self.faults(), "fault");
        Ok(out.line(format_args!(
            "{events}, {openings}, {versions} and {blocks} checked: {faults}"
        ))?)
    }
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    if args.repair {
        return repair::run(args, context);
    }
    let ledger = context.open().map_err(damage)?;
    let report = VerifyJson::from(&check(&ledger).map_err(damage)?);
    let out = &mut context.out;
    if out.is_json() {
        out.json(&report)?
    } else {
        report.print(out)?
    }
    match report.faults() {
        0 => Ok(()),
        1 => Err(Failure::Verification("one thing is not as it should be".to_owned())),
        count => Err(Failure::Verification(format!("{count} things are not as they should be"))),
    }
}

fn check(ledger: &Ledger) -> Result<VerifyReport, Failure> {
    let progress = Progress::new("verifying");
    Ok(ledger.verify(&mut |done, total| progress.step(done, total))?)
}

/// A store that is too damaged to be read has failed verification as well.
fn damage(failure: Failure) -> Failure {
    let storage = match &failure {
        Failure::Open(OpenError::Storage(error))
        | Failure::Read(ReadError::Storage(error))
        | Failure::Storage(error) => error,
        _ => return failure,
    };
    if storage.is_damage() { Failure::Verification(storage.to_string()) } else { failure }
}
