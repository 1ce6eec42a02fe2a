//! What a merge, an import or a clone has brought.

use quipu_merge::{EventId, MAX_AHEAD, Micros};
use quipu_net::rfc3339;
use quipu_store::{MergeReport, WaitingInfo, WaitingReason};
use serde::Serialize;

use crate::amount::count;
use crate::exit::Failure;
use crate::output::{self, Look, Output};
use crate::shown::{AuthorJson, clean, short_id};

/// How many of a long list are told to people.
const FIRST: usize = 20;

/// An event that waits, in JSON.
#[derive(Serialize)]
pub struct WaitingJson {
    event: String,
    author: AuthorJson,
    time: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
}

impl From<&WaitingInfo> for WaitingJson {
    fn from(waiting: &WaitingInfo) -> Self {
        let (reason, missing) = match &waiting.reason {
            WaitingReason::Missing(missing) => ("missing", missing.as_slice()),
            WaitingReason::BodyMissing => ("body", [].as_slice()),
            WaitingReason::Due(_) => ("time", [].as_slice()),
            WaitingReason::History => ("history", [].as_slice()),
        };
        Self {
            event: waiting.event.to_string(),
            author: AuthorJson(waiting.author),
            time: rfc3339(waiting.time),
            reason,
            missing: missing.iter().map(EventId::to_string).collect(),
        }
    }
}

/// Why an event waits, for people.
pub fn waiting_line(waiting: &WaitingInfo) -> String {
    let why = match &waiting.reason {
        WaitingReason::Missing(missing) => match missing.as_slice() {
            [one] => format!("for event {}", short_id(*one)),
            several => format!("for {}", count(several.len(), "event")),
        },
        WaitingReason::BodyMissing => "for its body".to_owned(),
        WaitingReason::History => "for the events below a checkpoint".to_owned(),
        WaitingReason::Due(at) => {
            format!("until {}", rfc3339(Micros(at.0.saturating_sub(MAX_AHEAD))))
        }
    };
    format!("{} waits {why}", short_id(waiting.event))
}

/// What has become of the events below the checkpoint that a store starts from.
#[derive(Debug)]
pub enum History {
    /// Whoever opens the store next finds all of them.
    Filled,
    /// They have not come, or not all of them, and why.
    Left(String),
}

#[derive(Serialize)]
struct HistoryJson<'h> {
    filled: bool,
    why: Option<&'h str>,
}

impl<'h> From<&'h History> for HistoryJson<'h> {
    fn from(history: &'h History) -> Self {
        match history {
            History::Filled => Self { filled: true, why: None },
            History::Left(why) => Self { filled: false, why: Some(why) },
        }
    }
}

/// A report in JSON.
#[derive(Serialize)]
pub struct MergeJson {
    new_events: u64,
    known_events: u64,
    new_values: u64,
    refilled_bodies: u64,
    adopted: u64,
    refused: u64,
    dropped: u64,
    new_void: u64,
    new_conflicts: Vec<String>,
    new_forks: Vec<AuthorJson>,
    waiting: Vec<WaitingJson>,
    new_checkpoints: u64,
    pending_checkpoints: u64,
    passed_over_checkpoints: u64,
    diverged: bool,
}

impl From<&MergeReport> for MergeJson {
    fn from(report: &MergeReport) -> Self {
        Self {
            new_events: report.new_events,
            known_events: report.known_events,
            new_values: report.new_values,
            refilled_bodies: report.refilled_bodies,
            adopted: report.adopted,
            refused: report.refused,
            dropped: report.dropped,
            new_void: report.new_void,
            new_conflicts: report.new_conflicts.clone(),
            new_forks: report.new_forks.iter().copied().map(AuthorJson).collect(),
            waiting: report.waiting.iter().map(WaitingJson::from).collect(),
            new_checkpoints: report.new_checkpoints,
            pending_checkpoints: report.pending_checkpoints,
            passed_over_checkpoints: report.passed_over_checkpoints,
            diverged: report.diverged,
        }
    }
}

#[derive(Serialize)]
struct Merged<'r> {
    dry_run: bool,
    #[serde(flatten)]
    report: &'r MergeJson,
    /// Null where the store has all events, or nothing was taken in.
    history: Option<HistoryJson<'r>>,
}

/// Prints what came, or would come, and what has become of the history below a store that starts from a
/// checkpoint.
pub fn print(
    report: &MergeReport,
    dry_run: bool,
    history: Option<&History>,
    out: &mut Output,
) -> Result<(), Failure> {
    if out.is_json() {
        let (report, history) = (&MergeJson::from(report), history.map(HistoryJson::from));
        return Ok(out.json(&Merged { dry_run, report, history })?);
    }
    print_events(report, dry_run, out)?;
    match history {
        Some(History::Filled) => {
            out.line("all that precedes the checkpoint of the start has come")?
        }
        Some(History::Left(why)) => {
            out.flush()?;
            output::note(format_args!(
                "what precedes the checkpoint of the start has not come: {why}"
            ));
        }
        None => {}
    }
    Ok(())
}

fn print_events(report: &MergeReport, dry_run: bool, out: &mut Output) -> Result<(), Failure> {
    let would = if dry_run { " would come" } else { "" };
    let new = count(report.new_events, "new event");
    out.line(format_args!("{new}{would}, {} known", report.known_events))?;
    if report.new_values > 0 {
        out.line(count(report.new_values, "new value"))?;
    }
    if report.refilled_bodies > 0 {
        let events = count(report.refilled_bodies, "event");
        out.line(format_args!("{events} with their operations again"))?;
    }
    if report.new_checkpoints > 0 {
        let checkpoints = count(report.new_checkpoints, "new checkpoint");
        out.line(format_args!("{checkpoints}{would}"))?;
    }
    if report.pending_checkpoints > 0 {
        let waiting = count(report.pending_checkpoints, "checkpoint");
        out.line(format_args!("{waiting} waiting for events"))?;
    }
    if report.passed_over_checkpoints > 0 {
        let passed = count(report.passed_over_checkpoints, "checkpoint");
        out.line(format_args!(
            "{passed} passed over: those before are neither here nor in the file"
        ))?;
    }
    if report.adopted > 0 {
        let events = count(report.adopted, "event");
        out.line(format_args!("{events} of this replica's own key taken back"))?;
    }
    if report.refused > 0 {
        out.line(format_args!("{} refused after waiting", count(report.refused, "event")))?;
    }
    if report.dropped > 0 {
        let events = count(report.dropped, "event");
        out.line(format_args!("{events} forgotten: too many wait. Merge again later"))?;
    }
    if report.new_void > 0 {
        out.line(format_args!("{} without effect (void)", count(report.new_void, "event")))?;
    }
    for key in report.new_conflicts.iter().take(FIRST) {
        let conflict = out.paint(Look::Warn, "conflict");
        out.line(format_args!("{conflict} {}", clean(key)))?;
    }
    more(report.new_conflicts.len(), "conflicts", out)?;
    for waiting in report.waiting.iter().take(FIRST) {
        out.line(waiting_line(waiting))?;
    }
    more(report.waiting.len(), "waiting events", out)?;
    if report.diverged {
        output::warning("something certified contradicts this replica: see `quipu status`");
    }
    for author in &report.new_forks {
        output::warning(format_args!("the history of author {author} forks"));
    }
    Ok(())
}

fn more(count: usize, what: &str, out: &mut Output) -> Result<(), Failure> {
    if count > FIRST {
        out.line(format_args!("and {} more {what}", count - FIRST))?;
    }
    Ok(())
}
