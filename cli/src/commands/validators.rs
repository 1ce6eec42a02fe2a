//! `quipu validators`

use std::collections::BTreeSet;

use quipu_merge::{AuthorKey, NoteKey};
use quipu_net::{EvidenceInfo, evidence};
use quipu_store::MAX_EVIDENCE_AGAINST;
use serde::Serialize;

use crate::args::At;
use crate::context::{Context, snapshot_at};
use crate::exit::Failure;
use crate::output::Look;
use crate::shown::{AuthorJson, Names, clean};

/// List who certifies, and who holds the role `validator`.
///
/// Those who hold the role over a checkpoint's cut certify the checkpoint after it: a grant or a revoke
/// takes effect when a checkpoint holds it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu validators
  quipu validators --json --at checkpoint:7
  quipu member grant KEY validator           makes one; `revoke` takes every role away")]
pub struct Args {
    #[command(flatten)]
    at: At,
}

#[derive(Serialize)]
struct ValidatorJson<'n> {
    author: AuthorJson,
    name: Option<&'n str>,
    /// Whether it holds the role.
    holds: bool,
    /// Whether it certifies the height that comes next.
    certifies: bool,
    /// Whether it is this replica's key.
    own: bool,
    /// Under which keys its lines in the notes of checkpoints are checked: as the log, and as a
    /// cosigner.
    vkey: String,
    cosigner_vkey: String,
    /// What it has signed twice, as far as this replica has proof of it.
    evidence: Vec<EvidenceJson>,
    /// Whether no more of that is kept, so that there may be more.
    evidence_full: bool,
}

#[derive(Serialize)]
struct EvidenceJson {
    height: u64,
    round: u32,
    /// `proposal`, `prevote` or `precommit`.
    kind: &'static str,
}

impl From<&EvidenceInfo> for EvidenceJson {
    fn from(evidence: &EvidenceInfo) -> Self {
        Self { height: evidence.height.0, round: evidence.round, kind: evidence.kind }
    }
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = snapshot_at(&ledger, &args.at)?;
    let names = Names::of(&snapshot)?;
    let holds = |roles: &[&str]| roles.contains(&"validator");
    let holding: BTreeSet<AuthorKey> = snapshot
        .roles()?
        .into_iter()
        .filter(|(_, roles)| holds(roles))
        .map(|(key, _)| key)
        .collect();
    let certifying: BTreeSet<_> = snapshot.validators_within()?.into_iter().collect();
    let evidence = evidence(&ledger)?;
    let against = |key: AuthorKey| evidence.iter().filter(move |piece| piece.validator == key);
    let accused: BTreeSet<_> = evidence.iter().map(|piece| piece.validator).collect();
    let listed: BTreeSet<_> = holding.union(&certifying).chain(&accused).copied().collect();
    let out = &mut context.out;
    for key in listed {
        let (name, own) = (names.name(key), key == ledger.author());
        let (holds, certifies) = (holding.contains(&key), certifying.contains(&key));
        let evidence_full = against(key).count() >= MAX_EVIDENCE_AGAINST;
        if out.is_json() {
            let author = AuthorJson(key);
            let vkey = NoteKey::log(ledger.id(), key).to_string();
            let cosigner_vkey = NoteKey::cosigner(key).to_string();
            let evidence = against(key).map(EvidenceJson::from).collect();
            out.json(&ValidatorJson {
                author,
                name,
                holds,
                certifies,
                own,
                vkey,
                cosigner_vkey,
                evidence,
                evidence_full,
            })?;
            continue;
        }
        let what = match (certifies, holds) {
            (true, true) => "certifies",
            (true, false) => {
                "certifies, and no longer when a checkpoint holds that it lost the role"
            }
            (false, false) => "certifies no longer",
            (false, true) => "will certify when a checkpoint holds that it has the role",
        };
        let name = name.map(|name| format!(" {}", clean(name))).unwrap_or_default();
        let own = if own { " (this replica)" } else { "" };
        let shown = out.paint(Look::Author, key);
        out.line(format_args!("{shown}{name} {what}{own}"))?;
        for piece in against(key) {
            let EvidenceInfo { height, round, kind, .. } = piece;
            let text = format!("has signed two {kind}s in round {round} of height {height}");
            let warning = out.paint(Look::Warn, text);
            out.line(format_args!("    {warning}"))?;
        }
        if evidence_full {
            let text = "and maybe more: no more is kept of one validator";
            let warning = out.paint(Look::Warn, text);
            out.line(format_args!("    {warning}"))?;
        }
    }
    Ok(())
}
