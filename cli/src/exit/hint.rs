//! What to do about a failure.

use std::io;

use quipu_merge::ProofError;
use quipu_net::{FetchError, JoinError, WatchError};
use quipu_store::{
    BackupError, CutError, IdentityError, MergeError, OpenError, PinError, ReadError, RepairError,
    StartError, StorageError, WriteError,
};

use super::{Absent, Failure, NOT_COSIGNED};

const GRANT: &str = "an admin gives this replica's key a role with `quipu member grant KEY writer`";
const NOT_ADMITTED: &str = "have an admin of the ledger run `quipu member grant KEY writer` with that key, or the node's operator `quipu peer add KEY` to let it read; then run the same command again";

const FEW_VALIDATORS: &str = "see `quipu status` for those that are missing, revoke keys that nobody has any more, or make another replica a validator first with `quipu member grant KEY validator`; `--force` rotates all the same";

const NO_KEY: &str = "put the key file back that belongs there; without it the store can be read, and `quipu clone` makes a replica of it with a key of its own";
const DAMAGED: &str = "`quipu verify --repair` derives everything anew from the events and keeps the damaged database; with `--from SOURCE`, another replica or a CAR file, it fetches what is lost";
const UNREPAIRED: &str = "`quipu verify --repair --force --from SOURCE` fetches what is lost from another replica or a CAR file, and so does `quipu merge SOURCE`";
const NO_GENESIS: &str =
    "`quipu verify --repair --from SOURCE` has it from another replica or a CAR file";

const FETCHED: &str = "run `quipu serve`, which fetches it from peers when it is read, or import an export of a replica that has it";
const NO_PEERS: &str = "no peer is connected that it could be fetched from: see `quipu peers`";
const NOBODY_HAS: &str = "no peer that is connected has it: connect one that does with `quipu peer add`, or import an export of it";

const OTHER_SOURCE: &str = "take another replica, which has all of it";

const PRUNED: &str = "`quipu merge --refill` from a replica that still has it brings it back";
const BELOW_START: &str = "what precedes it comes while `quipu serve` runs and reaches a peer that has it (`quipu peers`), or with `quipu merge` of a whole replica";
const COSIGNED_LATE: &str =
    "those of the last eight checkpoints come while `quipu serve` runs and is connected to others";
const FOLLOW: &str = "`quipu watch --from-checkpoint N` follows from that checkpoint on";

const NO_START: &str =
    "validators certify while `quipu serve` runs; a clone of everything needs no checkpoint";

const SHALLOW: &str = "a node that was started from a checkpoint does not have it before the history below has come: clone from another one";

const NO_ROOM: &str = "nothing was written, and reading goes on: make room, and try again";
const POISONED: &str = "look at the disk, and run the command again";

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoLedger(_) => {
                Some("`quipu init` makes one, `quipu clone` copies one, `--store` names one")
            }
            Self::Open(OpenError::Exists(_)) => Some("choose another directory"),
            Self::Open(OpenError::Locked(_)) => {
                Some("a store has one process at a time: wait for the other, or end it")
            }
            Self::NotAdmitted { .. } => Some(NOT_ADMITTED),
            Self::EndsCertification { .. } => Some(FEW_VALIDATORS),
            Self::Served(_) => Some("stop the daemon first: the store must be closed for this"),
            Self::Open(OpenError::Identity(error)) | Self::Identity(error) => identity_hint(error),
            Self::Open(OpenError::Grant(error)) => grant_hint(error),
            Self::Write(error) => write_hint(error),
            Self::Verification(_) => Some(DAMAGED),
            Self::Unrepaired(_) => Some(UNREPAIRED),
            Self::Repair(error) => repair_hint(error),
            Self::Storage(error)
            | Self::Open(OpenError::Storage(error))
            | Self::Read(ReadError::Storage(error))
            | Self::Merge(MergeError::Storage(error)) => storage_hint(error),
            Self::Backup(error) => backup_hint(error),
            Self::Pin(PinError::NotPinned(_)) => Some("`quipu pin list` tells what is pinned"),
            Self::Merge(MergeError::Source(error)) if error.is_pruned() => Some(OTHER_SOURCE),
            Self::Watch(WatchError::Read(error)) if error.is_pruned() => Some(FOLLOW),
            Self::Unavailable { why: "pruned", .. } | Self::Read(ReadError::Pruned(_)) => {
                Some(PRUNED)
            }
            Self::Unavailable { why: NOT_COSIGNED, .. } => Some(COSIGNED_LATE),
            Self::Read(ReadError::BelowStart(_) | ReadError::VoidUnknown { .. }) => {
                Some(BELOW_START)
            }
            Self::Join(error) if matches!(**error, JoinError::NoGenesis { .. }) => Some(SHALLOW),
            Self::NoStart(StartError::NothingCertified) => Some(NO_START),
            Self::NotFinal(why) => Some(why.hint()),
            Self::Proof(ProofError::NotFromGenesis) => Some(
                "`--trusted` takes the id of the checkpoint that it starts from, if you trust that",
            ),
            Self::NotHere(absent) => Some(absent_hint(absent)),
            Self::Read(ReadError::Cut(
                CutError::AmbiguousEvent { .. } | CutError::AmbiguousAuthor(_),
            )) => Some("give more of it"),
            _ => None,
        }
    }
}

fn absent_hint(absent: &Absent) -> &'static str {
    match &absent.fetched {
        None if absent.part.is_some() => FETCHED,
        None => "import an export of a replica that has it",
        Some(FetchError::NoPeers) => NO_PEERS,
        Some(FetchError::NobodyHas) => NOBODY_HAS,
        Some(_) => "it could not be fetched: see the log of the daemon",
    }
}

fn backup_hint(error: &BackupError) -> Option<&'static str> {
    match error {
        BackupError::NotFound(_) => Some("`quipu backup DIR` makes the first one there"),
        BackupError::NoSuchBackup { .. } => Some("`quipu backup --list DIR` tells which there are"),
        BackupError::NotBackups(_) | BackupError::InStore(_) | BackupError::OtherLedger { .. } => {
            Some("choose another directory")
        }
        BackupError::Damaged { .. } => Some(
            "`quipu backup --check DIR` tells which backups are whole, and `quipu restore --backup` takes one",
        ),
        BackupError::InUse(_) => Some("wait for the other process, or end it"),
        _ => None,
    }
}

fn write_hint(error: &WriteError) -> Option<&'static str> {
    match error {
        WriteError::Condition { .. } => Some("read the key again, then decide"),
        WriteError::Unauthorised(_) => Some(GRANT),
        WriteError::Refused(refusal) if refusal.reason == quipu_merge::Reason::Unauthorised => {
            Some(GRANT)
        }
        WriteError::Identity(error) => identity_hint(error),
        WriteError::Storage(error) => storage_hint(error),
        _ => None,
    }
}

fn repair_hint(error: &RepairError) -> Option<&'static str> {
    match error {
        RepairError::NoGenesis(_) => Some(NO_GENESIS),
        RepairError::NoRoom { .. } => Some("nothing was changed: make room, and try again"),
        RepairError::Identity(error) => identity_hint(error),
        _ => None,
    }
}

fn storage_hint(error: &StorageError) -> Option<&'static str> {
    match error {
        StorageError::NoRoom { .. } => Some(NO_ROOM),
        StorageError::Poisoned(_) => Some(POISONED),
        error if error.is_damage() => Some(DAMAGED),
        _ => None,
    }
}

fn grant_hint(error: &WriteError) -> Option<&'static str> {
    match error {
        WriteError::Identity(error) => identity_hint(error),
        _ => Some("clone without --grant; an admin then gives the new key its role"),
    }
}

fn identity_hint(error: &IdentityError) -> Option<&'static str> {
    match error {
        IdentityError::PassphraseNeeded => {
            Some("set QUIPU_PASSPHRASE, give --passphrase-file, or run the command on a terminal")
        }
        IdentityError::OtherKey { .. } | IdentityError::NotAKey(_) => Some(NO_KEY),
        IdentityError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Some(NO_KEY)
        }
        _ => None,
    }
}
