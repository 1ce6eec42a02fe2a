//! How far certification has come, in `quipu status`.

use quipu_merge::AuthorKey;
use quipu_net::CertificationStatus;
use quipu_store::{Divergence, Status};
use serde::Serialize;

use crate::amount::count;
use crate::exit::Failure;
use crate::output::{Look, Output};
use crate::shown::AuthorJson;

/// How far certification has come, in JSON.
#[derive(Serialize)]
pub struct CertificationJson {
    /// The last checkpoint that counts.
    height: Option<u64>,
    /// How many events are certified.
    events: u64,
    /// Who certifies the next height; nobody in a ledger without validators.
    validators: Vec<AuthorJson>,
    /// How many certified checkpoints wait for events, and the last of them.
    pending: u64,
    pending_height: Option<u64>,
    diverged: Vec<DivergedJson>,
    /// How the daemon's node takes part; nothing without a daemon.
    node: Option<NodeJson>,
}

/// How a node takes part, in JSON.
#[derive(Serialize)]
struct NodeJson {
    state: &'static str,
    height: u64,
    round: Option<u32>,
    step: Option<&'static str>,
    validator: bool,
    /// Validators that are missing, and how many have to be there.
    missing: Vec<AuthorJson>,
    quorum: usize,
    /// Pieces of evidence against validators.
    evidence: usize,
    advice: Option<String>,
}

impl From<&CertificationStatus> for NodeJson {
    fn from(node: &CertificationStatus) -> Self {
        Self {
            state: node.word(),
            height: node.height.0,
            round: node.round.map(|(round, _)| round),
            step: node.step(),
            validator: node.is_validator,
            missing: node.missing.iter().copied().map(AuthorJson).collect(),
            quorum: node.quorum,
            evidence: node.evidence,
            advice: node.advice(),
        }
    }
}

/// What contradicts this replica, in JSON.
#[derive(Serialize)]
struct DivergedJson {
    height: u64,
    /// `certificates`: two are certified; `derived`: this replica comes to something else.
    what: &'static str,
    /// What this replica holds instead.
    kept: Option<String>,
    /// What is certified.
    certified: String,
}

impl From<&Divergence> for DivergedJson {
    fn from(divergence: &Divergence) -> Self {
        let height = divergence.height().0;
        match divergence {
            Divergence::Certificates { kept, other } => Self {
                height,
                what: "certificates",
                kept: Some(kept.to_string()),
                certified: other.id().to_string(),
            },
            Divergence::Derived { certified, derived } => Self {
                height,
                what: "derived",
                kept: derived.as_ref().and_then(|derived| Some(derived.seal().ok()?.0.to_string())),
                certified: certified.id().to_string(),
            },
        }
    }
}

impl CertificationJson {
    pub fn new(
        validators: &[AuthorKey],
        node: Option<&CertificationStatus>,
        status: &Status,
    ) -> Self {
        let certification = &status.certification;
        Self {
            height: certification.height.map(|height| height.0),
            events: certification.events,
            validators: validators.iter().copied().map(AuthorJson).collect(),
            pending: certification.pending,
            pending_height: certification.pending_height.map(|height| height.0),
            diverged: certification.diverged.iter().map(DivergedJson::from).collect(),
            node: node.map(NodeJson::from),
        }
    }
}

/// Prints it for people.
pub fn print(
    validators: &[AuthorKey],
    node: Option<&CertificationStatus>,
    status: &Status,
    out: &mut Output,
) -> Result<(), Failure> {
    let certification = &status.certification;
    let certified = match certification.height {
        _ if validators.is_empty() => "never: the ledger has no validators".to_owned(),
        None => "nothing yet".to_owned(),
        Some(height) => {
            let (events, all) = (certification.events, status.events);
            format!("{events} of {}, checkpoint {height}", count(all, "event"))
        }
    };
    out.line(format_args!("certified  {certified}"))?;
    if let Some(last) = certification.pending_height {
        let pending = count(certification.pending, "checkpoint");
        out.line(format_args!("pending    {pending} up to {last}, for events that are not here"))?;
    }
    for divergence in &certification.diverged {
        let height = divergence.height();
        let DivergedJson { certified, kept, .. } = divergence.into();
        let kept = kept.unwrap_or_else(|| "no checkpoint at all".to_owned());
        let text = match divergence {
            Divergence::Certificates { .. } => {
                format!(
                    "diverged: two checkpoints of height {height} are certified, {kept} and {certified}"
                )
            }
            Divergence::Derived { .. } => format!(
                "diverged: checkpoint {height} is certified as {certified}, and its events come to {kept}"
            ),
        };
        let warning = out.paint(Look::Warn, text);
        out.line(warning)?;
    }
    match node {
        Some(node) if !validators.is_empty() => print_node(node, out),
        _ => Ok(()),
    }
}

/// How the node takes part, and what keeps it from certifying.
fn print_node(node: &CertificationStatus, out: &mut Output) -> Result<(), Failure> {
    let what = match node.word() {
        "follows" => "follows what the validators certify",
        "idle" => "has nothing new to certify",
        "waits" => "waits until what is new is due, and with enough validators",
        "asking" => "asks the other validators what they hold",
        "votes" => "votes",
        "keeps" => "keeps what was certified",
        "lacks" => "fetches events that are proposed",
        "no-quorum" => "no quorum",
        "abstains" => "abstains",
        "stopped" => "has stopped",
        "broken" => "is broken",
        other => other,
    };
    let round = node.round.map(|(round, _)| format!(", round {round}")).unwrap_or_default();
    out.line(format_args!("certifies  {what} (height {}{round})", node.height))?;
    if let Some(advice) = node.advice() {
        let advice = out.paint(Look::Warn, advice);
        out.line(format_args!("    {advice}"))?;
        for missing in &node.missing {
            let missing = out.paint(Look::Author, missing);
            out.line(format_args!("    missing {missing}"))?;
        }
    }
    if node.evidence > 0 {
        let evidence = count(node.evidence, "piece");
        let text = format!("{evidence} of evidence against validators: see `quipu validators`");
        let warning = out.paint(Look::Warn, text);
        out.line(warning)?;
    }
    Ok(())
}
