//! `quipu backup`

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use quipu_net::rfc3339;
use quipu_store::{BackupInfo, BackupList, backups, check_backups, purge_backups};
use serde::Serialize;

use crate::amount::{count, size};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Output, Progress};
use crate::parse::from_one;
use crate::route::Route;
use crate::shown::clean;

/// Add a backup of the store to a directory, which may hold earlier ones.
///
/// Only what has changed since the last one is copied. The private key is not: `quipu restore`
/// makes a new one.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu backup /mnt/backups
  quipu backup /mnt/backups --keep 7       and remove all but the last 7
  quipu backup --list /mnt/backups
  quipu backup --check /mnt/backups        read every file of every backup")]
pub struct Args {
    /// Where the backups are kept: a new or empty directory, or one with backups of this ledger.
    dir: PathBuf,
    /// Then remove all but the last N backups.
    #[arg(long, value_name = "N", conflicts_with_all = ["list", "check"],
          value_parser = from_one::<NonZeroUsize>)]
    keep: Option<NonZeroUsize>,
    /// Make none, but list those that there are.
    #[arg(long)]
    list: bool,
    /// Make none, but compare every file of those that there are with its checksum.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// What is done with the backups alone needs no store.
    pub const fn route(&self) -> Route<'_> {
        if self.list || self.check { Route::Here } else { Route::Store }
    }
}

/// A backup, as JSON.
#[derive(Serialize)]
struct BackupJson {
    backup: u32,
    time: String,
    ledger: String,
    key: String,
    events: u64,
    files: u64,
    bytes: u64,
}

impl BackupJson {
    fn new(info: &BackupInfo) -> Self {
        Self {
            backup: info.id.0,
            time: rfc3339(info.started),
            ledger: info.ledger.to_string(),
            key: info.author.to_string(),
            events: info.events,
            files: info.files,
            bytes: info.bytes,
        }
    }
}

#[derive(Serialize)]
struct MadeJson {
    #[serde(flatten)]
    backup: BackupJson,
    added_bytes: u64,
    removed: Vec<u32>,
}

#[derive(Serialize)]
struct DamagedJson {
    backup: u32,
    damaged: String,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    if args.check {
        let progress = Progress::new("checking");
        let list = check_backups(&args.dir, &mut |done, total| progress.report(done, total))?;
        drop(progress);
        return print_list(&list, &mut context.out);
    }
    if args.list {
        return print_list(&backups(&args.dir)?, &mut context.out);
    }
    make(&args.dir, args.keep, context)
}

fn make(dir: &Path, keep: Option<NonZeroUsize>, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let progress = Progress::new("backing up");
    let path = context.path(dir);
    let made = ledger.backup(&path, &mut |done, total| progress.report(done, total))?;
    drop(progress);
    let removed = keep.map_or(Ok(Vec::new()), |keep| purge_backups(&path, keep))?;
    let (backup, added_bytes) = (BackupJson::new(&made.backup), made.added_bytes);
    let out = &mut context.out;
    if out.is_json() {
        let removed = removed.iter().map(|id| id.0).collect();
        out.json(&MadeJson { backup, added_bytes, removed })?;
    } else {
        out.line(line(&backup))?;
        output::note(format_args!(
            "{} added to {}, and {} removed",
            size(added_bytes),
            dir.display(),
            count(removed.len(), "backup")
        ));
    }
    Ok(())
}

/// Prints what there is. Damaged backups are listed as well, and fail the command.
fn print_list(list: &BackupList, out: &mut Output) -> Result<(), Failure> {
    for info in &list.whole {
        let backup = BackupJson::new(info);
        if out.is_json() { out.json(&backup)? } else { out.line(line(&backup))? }
    }
    for (id, damage) in &list.damaged {
        let damaged = clean(&damage.to_string());
        if out.is_json() {
            out.json(&DamagedJson { backup: id.0, damaged })?;
        } else {
            out.line(format_args!("backup {id}  {damaged}"))?;
        }
    }
    match list.damaged.len() {
        0 => Ok(()),
        1 => Err(Failure::Verification("one backup is damaged".to_owned())),
        count => Err(Failure::Verification(format!("{count} backups are damaged"))),
    }
}

fn line(backup: &BackupJson) -> String {
    let BackupJson { backup, time, events, files, bytes, .. } = backup;
    let (events, files) = (count(events, "event"), count(files, "file"));
    format!("backup {backup}  {time}  {events}  {files}  {}", size(*bytes))
}
