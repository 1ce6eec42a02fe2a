//! How commands fail: the one place where errors become exit codes, messages and hints.

mod absent;
mod hint;
mod not_final;
mod refused;

use std::io;
use std::path::PathBuf;

use quipu_merge::{AuthorKey, ProofError};
use quipu_net::{
    ApiError, BookError, JoinError, NodeError, PeerAddress, StartError, TokenError, WatchError,
};
use quipu_store::{
    BackupError, CutError, ExportError, FillError, IdentityError, LongError, MergeError, OpenError,
    PinError, ReadError, RepairError, RotationError, StorageError, WriteError,
};
use serde::Serialize;

pub use absent::{Absent, NOT_COSIGNED, NOT_HERE};
pub use not_final::NotFinal;

use self::refused::{backup_refused, fill_refused, join_refused, merge_refused, start_refused};
use crate::context::Context;
use crate::output;

/// Why a command has failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A key, a member or an event is not there.
    #[error("{0}")]
    NotFound(String),
    /// A value cannot be had.
    #[error("{what}: {why}")]
    Unavailable { what: String, why: &'static str },
    /// A value has not come to this replica.
    #[error("{}: {NOT_HERE}", .0.what)]
    NotHere(Box<Absent>),
    /// The state is not what the command requires; nothing was written.
    #[error("{0}")]
    Condition(String),
    /// Something is not certified.
    #[error(transparent)]
    NotFinal(#[from] NotFinal),
    /// A proof shows nothing.
    #[error("the proof is refused: {0}")]
    Proof(#[from] ProofError),
    /// No store was found.
    #[error("no ledger here: neither {0} nor a directory above it is one, or holds `.quipu`")]
    NoLedger(PathBuf),
    /// A line of a batch cannot be taken.
    #[error("line {line}: {detail}")]
    Line { line: u64, detail: String },
    /// Verification has found this many faults.
    #[error("verification failed: {0}")]
    Verification(String),
    /// The store has been repaired, and lacks something that it had.
    #[error("the store is repaired, but not everything is back: {0}")]
    Unrepaired(String),
    /// A file of the user cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    /// A key that cannot be a path in a directory.
    #[error("{key:?} cannot be restored as a file: {why}; nothing was written")]
    UnsafePath { key: String, why: &'static str },
    /// A passphrase is needed and cannot be asked for.
    #[error("{0}")]
    Passphrase(String),
    /// The store is open in a daemon, and the command cannot be run there.
    #[error("{}: a daemon serves this store", .0.display())]
    Served(PathBuf),
    /// A daemon does not do what it is asked for.
    #[error("{0}")]
    Daemon(String),
    /// A daemon was killed, or had to stop.
    #[error("the daemon has ended before the command was done")]
    DaemonEnded,
    /// The configuration of a daemon cannot be read.
    #[error("{path}: {why}", path = path.display())]
    Config { path: PathBuf, why: String },
    /// A node does not let this replica in.
    #[error("{peer} does not admit this replica's key, {key}")]
    NotAdmitted { peer: PeerAddress, key: AuthorKey },
    /// A validator's old key is needed until its new one is certified.
    #[error(
        "with another key here, {others} of the {needed} validators that must sign can be reached, and \
         nothing could be certified any more"
    )]
    EndsCertification { others: usize, needed: usize },
    /// Nobody wants the command to be done any more.
    #[error("the client has gone")]
    Gone,
    /// Stdout does not take more.
    #[error("stdout: {0}")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Join(Box<JoinError>),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Book(#[from] BookError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Long(#[from] LongError),
    #[error(transparent)]
    Export(ExportError),
    #[error(transparent)]
    Rotation(RotationError),
    #[error(transparent)]
    Pin(PinError),
    #[error(transparent)]
    Backup(BackupError),
    #[error(transparent)]
    Repair(RepairError),
    /// No replica can be started from the source's checkpoint.
    #[error(transparent)]
    NoStart(quipu_store::StartError),
    /// The events below a checkpoint cannot be had from a source.
    #[error(transparent)]
    Fill(FillError),
}

/// The exit code of a command that has done what it was to do.
pub const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const UNAVAILABLE: u8 = 4;
const CONDITION: u8 = 5;
const NO_LEDGER: u8 = 10;
const LOCKED: u8 = 11;
const REFUSED: u8 = 20;
const VERIFICATION: u8 = 21;

impl Failure {
    /// An error of a file of the user.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::NotFound(_) => NOT_FOUND,
            Self::Unavailable { .. } | Self::NotHere(_) | Self::Long(LongError::Malformed(_)) => {
                UNAVAILABLE
            }
            Self::Condition(_) | Self::NotFinal(_) | Self::EndsCertification { .. } => CONDITION,
            Self::NoLedger(_) => NO_LEDGER,
            Self::Verification(_) | Self::Unrepaired(_) | Self::Proof(_) => VERIFICATION,
            Self::Open(error) => open_code(error),
            Self::Read(error) | Self::Watch(WatchError::Read(error)) => read_code(error),
            Self::Write(error) => write_code(error),
            Self::Merge(error) => merge_code(error),
            Self::Pin(PinError::Erased(_)) => UNAVAILABLE,
            Self::Pin(_) => NOT_FOUND,
            Self::Backup(error) => backup_code(error),
            Self::Repair(error) => repair_code(error),
            Self::NoStart(error) => start_code(error),
            Self::Fill(error) => fill_code(error),
            Self::Line { .. } => REFUSED,
            Self::Served(_) => LOCKED,
            Self::Watch(WatchError::Cursor) | Self::Token(TokenError::Name) => USAGE,
            Self::Join(error) => join_code(error),
            Self::File { .. }
            | Self::UnsafePath { .. }
            | Self::Passphrase(_)
            | Self::Daemon(_)
            | Self::DaemonEnded
            | Self::Gone
            | Self::Config { .. }
            | Self::NotAdmitted { .. }
            | Self::Start(_)
            | Self::Node(_)
            | Self::Book(_)
            | Self::Api(_)
            | Self::Token(_)
            | Self::Watch(_)
            | Self::Output(_)
            | Self::Identity(_)
            | Self::Storage(_)
            | Self::Export(_)
            | Self::Rotation(_)
            | Self::Long(_) => FAILED,
        }
    }

    fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Output(error) | Self::Long(LongError::Output(error)) => {
                error.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Read(error) => Self::Read(error),
            other => Self::Export(other),
        }
    }
}

impl From<RotationError> for Failure {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Write(error) => Self::Write(error),
            RotationError::Identity(error) => Self::Identity(error),
            other => Self::Rotation(other),
        }
    }
}

impl From<quipu_store::StartError> for Failure {
    fn from(error: quipu_store::StartError) -> Self {
        match error {
            quipu_store::StartError::Storage(error) => Self::Storage(error),
            other => Self::NoStart(other),
        }
    }
}

impl From<FillError> for Failure {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Open(error) => Self::Open(*error),
            FillError::Storage(error) => Self::Storage(error),
            FillError::Source(error) => Self::Read(*error),
            other => Self::Fill(other),
        }
    }
}

impl From<PinError> for Failure {
    fn from(error: PinError) -> Self {
        match error {
            PinError::Storage(error) => Self::Storage(error),
            other => Self::Pin(other),
        }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Open(error) => Self::Open(error),
            BackupError::Storage(error) => Self::Storage(error),
            other => Self::Backup(other),
        }
    }
}

/// What a program needs to have this replica let in.
#[derive(Serialize)]
struct NotAdmitted {
    error: &'static str,
    key: String,
}

fn join_code(error: &JoinError) -> u8 {
    match error {
        JoinError::Open(error) => open_code(error),
        error if join_refused(error).is_some() => REFUSED,
        _ => FAILED,
    }
}

fn open_code(error: &OpenError) -> u8 {
    match error {
        OpenError::NotFound(_) => NO_LEDGER,
        OpenError::Locked(_) => LOCKED,
        OpenError::Genesis(_) | OpenError::Key(_) => USAGE,
        OpenError::Merge(error) => merge_code(error),
        OpenError::Grant(error) => write_code(error),
        OpenError::Start(error) if start_refused(error).is_some() => REFUSED,
        _ => FAILED,
    }
}

fn read_code(error: &ReadError) -> u8 {
    match error {
        ReadError::Cut(
            CutError::AmbiguousEvent { .. } | CutError::AmbiguousAuthor(_) | CutError::Empty,
        ) => USAGE,
        ReadError::Cut(_) | ReadError::NoSuchEvent(_) => NOT_FOUND,
        error if error.is_pruned() => UNAVAILABLE,
        _ => FAILED,
    }
}

fn write_code(error: &WriteError) -> u8 {
    match error {
        WriteError::Condition { .. } => CONDITION,
        WriteError::Limit(_) | WriteError::Key(_) => USAGE,
        WriteError::NoSuchEvent(_) => NOT_FOUND,
        WriteError::Unauthorised(_) | WriteError::Refused(_) => REFUSED,
        _ => FAILED,
    }
}

fn merge_code(error: &MergeError) -> u8 {
    match error {
        MergeError::Source(error) => read_code(error),
        error if merge_refused(error).is_some() => REFUSED,
        _ => FAILED,
    }
}

fn backup_code(error: &BackupError) -> u8 {
    match error {
        BackupError::NotFound(_) => NO_LEDGER,
        BackupError::NoSuchBackup { .. } => NOT_FOUND,
        BackupError::InUse(_) => LOCKED,
        error if backup_refused(error).is_some() => REFUSED,
        _ => FAILED,
    }
}

/// Nothing that is certified yet is a state of the source; what precedes its own start it does not have.
const fn start_code(error: &quipu_store::StartError) -> u8 {
    match error {
        quipu_store::StartError::NothingCertified => CONDITION,
        quipu_store::StartError::Shallow(_) => UNAVAILABLE,
        _ => FAILED,
    }
}

fn fill_code(error: &FillError) -> u8 {
    match error {
        FillError::NoCheckpoint(_) | FillError::NotWhole { .. } => UNAVAILABLE,
        error if fill_refused(error).is_some() => REFUSED,
        _ => FAILED,
    }
}

fn repair_code(error: &RepairError) -> u8 {
    match error {
        RepairError::Open(error) => open_code(error),
        RepairError::Unopened { source, .. } => open_code(source),
        RepairError::Source { source, .. } => merge_code(source),
        RepairError::NoGenesis(_) => VERIFICATION,
        _ => FAILED,
    }
}

/// Reports how a command has ended, and gives its exit code.
pub fn finish(result: Result<u8, Failure>, context: &mut Context) -> u8 {
    let out = &mut context.out;
    let failure = match result.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    // Whoever reads has seen enough.
    if failure.is_broken_pipe() {
        return DONE;
    }
    if out.is_json() {
        if let Some(refused) = failure.refused() {
            let _ = out.json(&refused);
        }
        if let Failure::NotAdmitted { key, .. } = &failure {
            let _ = out.json(&NotAdmitted { error: "not_admitted", key: key.to_string() });
        }
    }
    let _ = out.flush();
    output::error(&failure);
    if let Some(hint) = failure.hint() {
        output::hint(hint);
    }
    failure.code()
}
