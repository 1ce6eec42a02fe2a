//! How far certification has come, in `quipu status`.

use quipu_merge::AuthorKey;
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
    pub fn new(validators: &[AuthorKey], status: &Status) -> Self {
        let certification = &status.certification;
        Self {
            height: certification.height.map(|height| height.0),
            events: certification.events,
            validators: validators.iter().copied().map(AuthorJson).collect(),
            pending: certification.pending,
            pending_height: certification.pending_height.map(|height| height.0),
            diverged: certification.diverged.iter().map(DivergedJson::from).collect(),
        }
    }
}

/// Prints it for people.
pub fn print(validators: &[AuthorKey], status: &Status, out: &mut Output) -> Result<(), Failure> {
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
    Ok(())
}
