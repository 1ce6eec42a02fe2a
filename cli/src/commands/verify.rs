//! `quipu verify`

use serde::Serialize;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Progress;

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
    findings: Vec<String>,
}

pub fn run(_: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let report = {
        let progress = Progress::new("verifying");
        ledger.verify(&mut |done, total| progress.report(done, total))?
    };
    let findings: Vec<_> = report.findings.iter().map(|finding| finding.what.clone()).collect();
    let count = findings.len();
    let out = &mut context.out;
    if out.is_json() {
        out.json(&VerifyJson {
            events: report.events,
            openings: report.openings,
            blocks: report.blocks,
            findings,
        })?;
    } else {
        for finding in &findings {
            out.line(finding)?;
        }
        out.line(format_args!(
            "{} events, {} openings and {} blocks checked: {count} faults",
            report.events, report.openings, report.blocks
        ))?;
    }
    match count {
        0 => Ok(()),
        1 => Err(Failure::Verification("one thing is not as it should be".to_owned())),
        _ => Err(Failure::Verification(format!("{count} things are not as they should be"))),
    }
}
