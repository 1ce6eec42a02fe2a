//! `quipu restore`

use std::path::PathBuf;

use quipu_merge::Policy;
use quipu_net::rfc3339;
use quipu_store::{BackupId, Ledger, Options, Restore};
use serde::Serialize;

use crate::amount::count;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Progress};
use crate::parse::number;

/// Make a new store from a backup, with a key of its own.
///
/// The key is new because the store that was backed up may still be written to, there or in
/// another copy: two stores that write with one key fork its history for good.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu restore /mnt/backups shop
  quipu restore /mnt/backups shop --backup 3
  quipu restore /mnt/backups shop --key saved/identity.pem    the original is gone for good")]
pub struct Args {
    /// Where the backups are.
    dir: PathBuf,
    /// Where to; a new or empty directory.
    #[arg(value_name = "NEWDIR")]
    to: PathBuf,
    /// Which backup; the latest unless given.
    #[arg(long, value_name = "ID", value_parser = number::<u32>)]
    backup: Option<u32>,
    /// Go on with the key in this file, saved from the store that was backed up, which must be
    /// gone for good. First merge from every replica that may hold later events of that key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Ask for a passphrase to encrypt the key with.
    #[arg(long)]
    encrypt: bool,
}

#[derive(Serialize)]
struct RestoredJson {
    dir: String,
    ledger: String,
    name: String,
    key: String,
    backup: u32,
    time: String,
    events: u64,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let options: Options = context.new_options(args.encrypt)?;
    let what = Restore { backup: args.backup.map(BackupId), key: args.key.clone() };
    let progress = Progress::new("restoring");
    let mut report = |done, total| progress.report(done, total);
    let (ledger, backup) = options.restore(&args.dir, &what, &args.to, &mut report)?;
    drop(progress);
    let restored = RestoredJson {
        dir: args.to.display().to_string(),
        ledger: backup.ledger.to_string(),
        name: ledger.genesis().name,
        key: ledger.author().to_string(),
        backup: backup.id.0,
        time: rfc3339(backup.started),
        events: ledger.snapshot()?.len()?,
    };
    let out = &mut context.out;
    if out.is_json() {
        out.json(&restored)?;
    } else {
        out.line(format_args!("ledger {}", restored.ledger))?;
        out.line(format_args!("key    {}", restored.key))?;
    }
    output::note(format_args!(
        "a new store in {} with {}, from backup {} of {}",
        restored.dir,
        count(restored.events, "event"),
        restored.backup,
        restored.time
    ));
    explain_key(&ledger, args.key.is_some());
    Ok(())
}

fn explain_key(ledger: &Ledger, is_old: bool) {
    if is_old {
        output::warning(
            "it has the key of the store that was backed up, and counts as a copy of it. Before \
             its first write, merge from every replica that may hold later events of this key, \
             then say `quipu identity keep`; what is signed a second time forks for good",
        );
        return;
    }
    output::note(
        "it has a new key: the store that was backed up may still be written to, and two stores \
         that write with one key fork its history for good",
    );
    if ledger.genesis().policy == Policy::Members {
        output::hint(format_args!(
            "an admin lets it write: `quipu member grant {} writer`. Where the old key is the only \
             admin's and its file was saved, `--key` restores with it",
            ledger.author()
        ));
    }
}
