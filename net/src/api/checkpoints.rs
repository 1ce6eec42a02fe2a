//! Certified checkpoints, and who certifies them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use quipu_merge::{AuthorKey, Checkpoint, CheckpointId, Height};
use quipu_store::{CertifiedCheckpoint, MAX_EVIDENCE_AGAINST, Snapshot, StorageError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::input::{Params, Part, page};
use super::limits::MAX_PAGE;
use super::problem::{self, Answer, Problem};
use crate::node::{CertificationStatus, evidence};
use crate::shown::rfc3339;

/// A page of checkpoints.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CheckpointsQuery {
    /// Goes on after the checkpoint of this height.
    after: Option<u64>,
    /// How many; 100 unless given, up to 1000.
    limit: Option<usize>,
}

/// A certified checkpoint.
#[derive(Serialize, ToSchema)]
pub struct CheckpointOut {
    /// Its height, from 1.
    height: u64,
    /// Its id.
    id: String,
    /// The id of the one before; null at height 1.
    prev: Option<String>,
    /// How many events it holds, which is the length of the certified log.
    size: u64,
    /// The root of the certified log, in hex.
    root: String,
    /// The root of the state, in hex.
    state: String,
    /// The CID of the list of its heads.
    cut: String,
    /// The CID of the list of those who certify the next height.
    validators: String,
    /// The largest time in it, in RFC 3339.
    time: String,
}

impl CheckpointOut {
    fn new(checkpoint: &Checkpoint, id: CheckpointId) -> Self {
        Self {
            height: checkpoint.height.0,
            id: id.to_string(),
            prev: checkpoint.prev.map(|prev| prev.to_string()),
            size: checkpoint.size,
            root: HEXLOWER.encode(&checkpoint.root),
            state: HEXLOWER.encode(&checkpoint.state),
            cut: checkpoint.cut.to_string(),
            validators: checkpoint.validators.to_string(),
            time: rfc3339(checkpoint.time),
        }
    }
}

/// A page of checkpoints.
#[derive(Serialize, ToSchema)]
pub struct CheckpointsOut {
    /// The latest first.
    checkpoints: Vec<CheckpointOut>,
    /// What to give as `after` for the next page; null where this is the last.
    next: Option<u64>,
    /// The height that the store starts from, on the page that it is the last of: those before are not
    /// here. Null otherwise.
    start: Option<u64>,
}

/// Certified checkpoints, the latest first.
#[utoipa::path(get, path = "/v1/checkpoints", tag = "checkpoints", params(CheckpointsQuery), responses(
    (status = 200, description = "What was asked for.", body = CheckpointsOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn checkpoints(
    State(app): State<Arc<App>>,
    Params(query): Params<CheckpointsQuery>,
) -> Answer<Json<CheckpointsOut>> {
    let limit = page(query.limit)?;
    app.read(move |app| {
        let snapshot = app.ledger.snapshot()?;
        let last = snapshot.certified_height().map_or(0, |height| height.0);
        let to = query.after.map_or(last, |after| last.min(after.saturating_sub(1)));
        let from = to.saturating_sub(limit as u64) + 1;
        let first = snapshot.first_checkpoint().0;
        let from = if to >= first { from.max(first) } else { from };
        let mut page = Vec::new();
        if to > 0 {
            snapshot.checkpoints(Height(from), |checkpoint| {
                page.push(checkpoint.clone());
                checkpoint.height.0 < to
            })?;
        }
        let malformed = |why| {
            Problem::from(StorageError::Damaged {
                what: format!("a checkpoint that is kept: {why}"),
            })
        };
        let shown = page.iter().rev().map(|checkpoint| {
            let (id, _) = checkpoint.seal().map_err(malformed)?;
            Ok(CheckpointOut::new(checkpoint, id))
        });
        let checkpoints = shown.collect::<Answer<Vec<_>>>()?;
        let next = (from > first && to > 0).then_some(from);
        let start = (first > 1 && from == first).then_some(first);
        Ok(Json(CheckpointsOut { checkpoints, next, start }))
    })
    .await
}

/// A signature of a validator.
#[derive(Serialize, ToSchema)]
struct SignatureOut {
    /// Whose.
    validator: String,
    /// The signature, in base64 without padding.
    signature: String,
}

/// A certified checkpoint with what it names.
#[derive(Serialize, ToSchema)]
pub struct CheckpointDetailOut {
    #[serde(flatten)]
    checkpoint: CheckpointOut,
    /// The round in which it was certified.
    round: u32,
    /// The signatures of the certificate, ascending by validator.
    signatures: Vec<SignatureOut>,
    /// How many events of it no other of it follows.
    head_count: usize,
    /// Those events, up to a thousand.
    heads: Vec<String>,
    /// Who certifies the next height.
    next_validators: Vec<String>,
}

impl CheckpointDetailOut {
    fn new(certified: &CertifiedCheckpoint) -> Self {
        let certificate = &certified.certificate;
        let heads = certified.cut.heads();
        Self {
            checkpoint: CheckpointOut::new(&certified.checkpoint, certified.id()),
            round: certificate.round.0,
            signatures: certificate
                .signatures
                .iter()
                .map(|(validator, signature)| SignatureOut {
                    validator: validator.to_string(),
                    signature: BASE64_NOPAD.encode(signature),
                })
                .collect(),
            head_count: heads.len(),
            heads: heads.iter().take(MAX_PAGE).map(ToString::to_string).collect(),
            next_validators: certified.validators.keys().iter().map(ToString::to_string).collect(),
        }
    }
}

/// A certified checkpoint: that of a height, or `latest`.
#[utoipa::path(get, path = "/v1/checkpoints/{height}", tag = "checkpoints",
    params(("height" = String, Path)), responses(
    (status = 200, description = "What was asked for.", body = CheckpointDetailOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn checkpoint(
    State(app): State<Arc<App>>,
    Part(height): Part<String>,
) -> Answer<Json<CheckpointDetailOut>> {
    app.read(move |app| {
        let snapshot = app.ledger.snapshot()?;
        let height = height_of(&snapshot, &height)?;
        let missing = || Problem::new(problem::NOT_FOUND, "no such checkpoint");
        let certified = snapshot.checkpoint(height)?.ok_or_else(missing)?;
        Ok(Json(CheckpointDetailOut::new(&certified)))
    })
    .await
}

/// The height of a checkpoint in a path: a number, or that of the last one for `latest`.
pub fn height_of(snapshot: &Snapshot<'_>, text: &str) -> Answer<Height> {
    match text {
        "latest" => {
            let height = snapshot.certified_height();
            height.ok_or_else(|| Problem::uncertified(snapshot))
        }
        text => {
            let height =
                text.parse().map_err(|_| Problem::bad(format!("{text:?} is no height")))?;
            Ok(Height(height))
        }
    }
}

/// A validator.
#[derive(Serialize, ToSchema)]
struct ValidatorOut {
    /// The key.
    validator: String,
    /// The local name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Whether it is this node.
    own: bool,
    /// Whether it is missing: it is not connected, or has not voted in the round before this one.
    missing: bool,
    /// Whether it has signed the last checkpoint.
    signed: bool,
    /// Pieces of evidence against it that are kept here.
    evidence: usize,
    /// Whether no more of it is kept, so that there may be more.
    evidence_full: bool,
}

/// What somebody has signed and must not.
#[derive(Serialize, ToSchema)]
struct EvidenceOut {
    /// Who.
    validator: String,
    /// In which height.
    height: u64,
    /// In which round.
    round: u32,
    /// What was signed twice: `proposal`, `prevote` or `precommit`.
    kind: &'static str,
}

/// Who certifies the next checkpoint, and how that stands.
#[derive(Serialize, ToSchema)]
pub struct ValidatorsOut {
    /// Ascending by key.
    validators: Vec<ValidatorOut>,
    /// How many are needed.
    quorum: usize,
    /// Where certification stands at this node, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    certification: Option<CertificationOut>,
    /// Evidence against validators, those before included, up to a thousand pieces.
    evidence: Vec<EvidenceOut>,
}

/// Where certification stands at this node.
#[derive(Serialize, ToSchema)]
pub struct CertificationOut {
    /// `none`, `follows`, `idle`, `waits`, `asking`, `votes`, `keeps`, `lacks`, `no-quorum`, `abstains`, `stopped`
    /// or `broken`.
    state: &'static str,
    /// What somebody is to know or do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// The last checkpoint that counts.
    certified: Option<u64>,
    /// The height that is worked on.
    height: u64,
    /// The round in it, once it has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<u32>,
    /// What is done in the round: `propose`, `prevote`, `precommit` or `commit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    /// How many validators there are.
    validators: usize,
    /// How many of them are missing.
    missing: usize,
    /// Whether this node is one.
    is_validator: bool,
}

impl From<&CertificationStatus> for CertificationOut {
    fn from(status: &CertificationStatus) -> Self {
        Self {
            state: status.word(),
            advice: status.advice(),
            certified: status.certified.map(|height| height.0),
            height: status.height.0,
            round: status.round.map(|(round, _)| round),
            step: status.step(),
            validators: status.validators.len(),
            missing: status.missing.len(),
            is_validator: status.is_validator,
        }
    }
}

/// Who certifies the next checkpoint, and how that stands.
#[utoipa::path(get, path = "/v1/validators", tag = "checkpoints", responses(
    (status = 200, description = "What was asked for.", body = ValidatorsOut),
    (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn validators(State(app): State<Arc<App>>) -> Answer<Json<ValidatorsOut>> {
    app.read(|app| {
        let snapshot = app.ledger.snapshot()?;
        let status = app.node.as_ref().map(|view| view().certification);
        let signers = last_signers(&snapshot)?;
        let (names, me) = (snapshot.names()?, app.ledger.author());
        let kept = evidence(&app.ledger)?;
        let keys = snapshot.next_validators();
        let is_missing =
            |key: &AuthorKey| status.as_ref().is_some_and(|status| status.missing.contains(key));
        let against = |key: &AuthorKey| kept.iter().filter(|piece| piece.validator == *key).count();
        let validators = keys.iter().map(|key| ValidatorOut {
            validator: key.to_string(),
            name: names.get(key).cloned(),
            own: *key == me,
            missing: is_missing(key),
            signed: signers.contains(key),
            evidence: against(key),
            evidence_full: against(key) >= MAX_EVIDENCE_AGAINST,
        });
        Ok(Json(ValidatorsOut {
            validators: validators.collect(),
            quorum: if keys.is_empty() { 0 } else { quipu_merge::quorum(keys.len()) },
            certification: status.as_ref().map(Into::into),
            evidence: kept
                .iter()
                .take(MAX_PAGE)
                .map(|piece| EvidenceOut {
                    validator: piece.validator.to_string(),
                    height: piece.height.0,
                    round: piece.round,
                    kind: piece.kind,
                })
                .collect(),
        }))
    })
    .await
}

/// Who has signed the last checkpoint.
fn last_signers(snapshot: &Snapshot<'_>) -> Answer<Vec<AuthorKey>> {
    let Some(height) = snapshot.certified_height() else { return Ok(Vec::new()) };
    let certified = snapshot.checkpoint(height)?;
    let signatures = certified.map(|certified| certified.certificate.signatures);
    Ok(signatures.into_iter().flatten().map(|(validator, _)| validator).collect())
}
