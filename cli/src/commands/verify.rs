//! `quipu verify`

use quipu_store::{Ledger, OpenError, ReadError, VerifyReport};
use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Progress;
use crate::shown::clean;

/// Check every hash, signature, link, index and derived value again, from the raw events up.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu verify
  quipu verify --json

The exit code is 21 where something is wrong.")]
pub struct Args {}

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

pub fn run(_: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open().map_err(damage)?;
    let report = check(&ledger).map_err(damage)?;
    let findings: Vec<_> = report.findings.iter().map(|finding| clean(&finding.what)).collect();
    let count = findings.len() as u64 + report.unlisted;
    let out = &mut context.out;
    let VerifyReport { events, openings, blocks, versions, unlisted, .. } = report;
    if out.is_json() {
        out.json(&VerifyJson { events, openings, blocks, versions, findings, unlisted })?;
    } else {
        for finding in &findings {
            out.line(finding)?;
        }
        out.line(format_args!(
            "{events} events, {openings} openings, {versions} versions and {blocks} blocks checked: {count} faults"
        ))?;
    }
    match count {
        0 => Ok(()),
        1 => Err(Failure::Verification("one thing is not as it should be".to_owned())),
        _ => Err(Failure::Verification(format!("{count} things are not as they should be"))),
    }
}

fn check(ledger: &Ledger) -> Result<VerifyReport, Failure> {
    let progress = Progress::new("verifying");
    Ok(ledger.verify(&mut |done, total| progress.report(done, total))?)
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
