//! Why input is refused, in the words of the specification, for programs.

use quipu_net::{JoinError, SyncError};
use quipu_store::{
    BackupError, FillError, MergeError, OpenError, RepairError, StartError, WriteError,
};
use serde::Serialize;

use super::Failure;

/// What a program is told of it.
#[derive(Serialize)]
pub struct Refused {
    error: &'static str,
    reason: &'static str,
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

impl Failure {
    /// Why input was refused, where it was.
    pub(super) fn refused(&self) -> Option<Refused> {
        match self {
            Self::Merge(error) => merge_refused(error),
            Self::Open(OpenError::Merge(error)) => merge_refused(error),
            Self::Open(OpenError::Grant(error)) => write_refused(error),
            Self::Write(error) => write_refused(error),
            Self::Backup(error) => backup_refused(error),
            Self::Join(error) => join_refused(error),
            Self::Repair(RepairError::Source { source, .. }) => merge_refused(source),
            Self::Open(OpenError::Start(error)) => start_refused(error),
            Self::Fill(error) => fill_refused(error),
            Self::Line { line, .. } => {
                Some(Refused { error: "refused", reason: "body", event: None, line: Some(*line) })
            }
            _ => None,
        }
    }
}

/// Why a node's ledger is refused.
pub fn join_refused(error: &JoinError) -> Option<Refused> {
    let event = match error {
        JoinError::Sync(SyncError::OtherLedger { .. }) => None,
        JoinError::OtherLedger { found, .. } => Some(found.to_string()),
        _ => return None,
    };
    Some(Refused { error: "refused", reason: "genesis", event, line: None })
}

/// Why a backup, or a directory of backups, is refused.
pub fn backup_refused(error: &BackupError) -> Option<Refused> {
    let (reason, event) = match error {
        BackupError::OtherLedger { found, .. } => ("genesis", Some(found.to_string())),
        BackupError::Damaged { .. } => ("corrupt", None),
        _ => return None,
    };
    Some(Refused { error: "refused", reason, event, line: None })
}

/// Why an event of this replica is refused.
pub fn write_refused(error: &WriteError) -> Option<Refused> {
    let (reason, event) = match error {
        WriteError::Refused(refusal) => (refusal.reason.word(), Some(refusal.event.to_string())),
        WriteError::Unauthorised(_) => ("unauthorised", None),
        _ => return None,
    };
    Some(Refused { error: "refused", reason, event, line: None })
}

/// Why foreign events are refused: the rule, or what is wrong with the input as a whole.
pub fn merge_refused(error: &MergeError) -> Option<Refused> {
    let (reason, event) = match error {
        MergeError::Refused(refusal) => (refusal.reason.word(), Some(refusal.event)),
        MergeError::OtherLedger { found, .. } => ("genesis", Some(*found)),
        MergeError::NoGenesis => ("genesis", None),
        MergeError::Corrupt(_) => ("corrupt", None),
        MergeError::Certificate { .. } => ("certificate", None),
        MergeError::TooMany { .. } => ("limit", None),
        _ => return None,
    };
    Some(Refused { error: "refused", reason, event: event.map(|id| id.to_string()), line: None })
}

/// Why a file to start from is refused, where that is not about reading it.
pub fn start_refused(error: &StartError) -> Option<Refused> {
    let (reason, event) = match error {
        StartError::OtherLedger { found, .. } => ("genesis", Some(*found)),
        StartError::Event(refusal) => (refusal.reason.word(), Some(refusal.event)),
        StartError::NotInLog(event) => ("certificate", Some(*event)),
        StartError::Chain(_) | StartError::Log | StartError::State => ("certificate", None),
        StartError::NotOne | StartError::Corrupt(_) | StartError::Contradiction(_) => {
            ("corrupt", None)
        }
        StartError::TooMuch { .. } => ("limit", None),
        _ => return None,
    };
    Some(Refused { error: "refused", reason, event: event.map(|id| id.to_string()), line: None })
}

/// Why what a source has of the events below a checkpoint is refused.
pub fn fill_refused(error: &FillError) -> Option<Refused> {
    let (reason, event) = match error {
        FillError::Refused(refusal) => (refusal.reason.word(), Some(refusal.event)),
        FillError::OtherLedger { found, .. } => ("genesis", Some(*found)),
        error if error.is_false() => ("certificate", None),
        _ => return None,
    };
    Some(Refused { error: "refused", reason, event: event.map(|id| id.to_string()), line: None })
}
