//! `quipu status`

mod certification;

use std::collections::BTreeMap;
use std::path::PathBuf;

use quipu_merge::AuthorKey;
use quipu_net::{CertificationStatus, FillingStatus, NodeStatus, PeerState};
use quipu_store::Status;
use serde::Serialize;

use crate::amount::{count, size};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Look, Output};
use crate::report::{WaitingJson, waiting_line};
use crate::shown::{self, clean};

use certification::CertificationJson;

/// Show an overview of the store.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu status
  quipu status --json")]
pub struct Args {}

#[derive(Serialize)]
struct StatusJson {
    dir: String,
    /// Whether a daemon has the store open.
    daemon: bool,
    ledger: String,
    name: String,
    policy: &'static str,
    fork_policy: &'static str,
    key: String,
    roles: Vec<&'static str>,
    events: u64,
    /// The height of the checkpoint that the store starts from; null where it has all events.
    shallow: Option<u64>,
    /// How far the events below it have come; null where none are to come, or no daemon gets them.
    filling: Option<FillingJson>,
    authors: u64,
    heads: Vec<String>,
    forks: BTreeMap<String, u64>,
    void: u64,
    conflicts: u64,
    waiting: Vec<WaitingJson>,
    waiting_bytes: u64,
    missing_values: u64,
    /// How many of them the daemon's node does not fetch by itself.
    left_out_values: Option<u64>,
    pruned_values: u64,
    /// The height of the checkpoint up to which operations may have been pruned; null where none have.
    pruned_to: Option<u64>,
    certification: CertificationJson,
    copied: bool,
    disk_bytes: u64,
    format: u32,
}

#[derive(Serialize)]
struct FillingJson {
    events: u64,
    total: u64,
}

/// Where the store is, and who has it open.
struct Place {
    dir: PathBuf,
    daemon: bool,
    /// How many missing values its node does not fetch by itself.
    left_out: Option<u64>,
    /// How far the events below the checkpoint of the start have come.
    filling: Option<FillingStatus>,
    /// Whether no peer is connected.
    is_alone: bool,
    /// Who certifies the next height.
    validators: Vec<AuthorKey>,
    /// How the daemon's node takes part.
    certification: Option<CertificationStatus>,
}

pub fn run(_: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let status = ledger.status()?;
    let node = context.served().map(|served| served.node.status());
    let left_out = node.as_ref().map(|node| node.left_out);
    let place = Place {
        dir: context.find_store()?,
        daemon: context.console().is_served(),
        // It was counted a moment ago.
        left_out: left_out.map(|left_out| left_out.min(status.missing_values)),
        filling: node.as_ref().and_then(|node| node.filling),
        is_alone: node.as_ref().is_some_and(is_alone),
        validators: ledger.snapshot()?.next_validators(),
        certification: node.map(|node| node.certification),
    };
    if context.out.is_json() {
        return Ok(context.out.json(&json(&place, &status))?);
    }
    print(&place, &status, &mut context.out)
}

fn is_alone(node: &NodeStatus) -> bool {
    !node.peers.iter().any(|peer| matches!(peer.state, PeerState::Connected { .. }))
}

fn json(place: &Place, status: &Status) -> StatusJson {
    StatusJson {
        dir: place.dir.display().to_string(),
        daemon: place.daemon,
        ledger: status.ledger.to_string(),
        name: status.name.clone(),
        policy: status.policy.word(),
        fork_policy: status.forks_policy.word(),
        key: status.author.to_string(),
        roles: status.roles.clone(),
        events: status.events,
        shallow: status.shallow.as_ref().map(|shallow| shallow.height.0),
        filling: place
            .filling
            .map(|FillingStatus { events, total, .. }| FillingJson { events, total }),
        authors: status.authors,
        heads: status.heads.iter().map(ToString::to_string).collect(),
        forks: shown::by_author(&status.forks),
        void: status.void,
        conflicts: status.conflicts,
        waiting: status.waiting.iter().map(WaitingJson::from).collect(),
        waiting_bytes: status.waiting_bytes,
        missing_values: status.missing_values,
        left_out_values: place.left_out,
        pruned_values: status.pruned_values,
        pruned_to: status.pruned_to.map(|height| height.0),
        certification: CertificationJson::new(
            &place.validators,
            place.certification.as_ref(),
            status,
        ),
        copied: status.copied,
        disk_bytes: status.disk_bytes,
        format: status.format,
    }
}

fn print(place: &Place, status: &Status, out: &mut Output) -> Result<(), Failure> {
    let name =
        if status.name.is_empty() { "without a name".to_owned() } else { clean(&status.name) };
    let id = out.paint(Look::Id, status.ledger);
    out.line(format_args!("ledger     {id} {name}"))?;
    out.line(format_args!("in         {} (format {})", place.dir.display(), status.format))?;
    if place.daemon {
        out.line("served     by a daemon")?;
    }
    out.line(format_args!(
        "policy     {}, forks: {}",
        status.policy.word(),
        status.forks_policy.word()
    ))?;
    let key = out.paint(Look::Author, status.author);
    let roles = if status.roles.is_empty() { "no role".to_owned() } else { status.roles.join(" ") };
    out.line(format_args!("key        {key} {roles}"))?;
    let authors = count(status.authors, "author");
    out.line(format_args!("events     {} by {authors}", status.events))?;
    if let Some(shallow) = &status.shallow {
        let start = format_args!("starts     from checkpoint {}; ", shallow.height);
        match place.filling {
            Some(FillingStatus { events, total, .. }) => {
                let alone = if place.is_alone { ", and no peer is connected" } else { "" };
                out.line(format_args!("{start}{events} of {total} events below have come{alone}"))?;
            }
            None => out.line(format_args!("{start}what lies below is not here yet"))?,
        }
    }
    for head in &status.heads {
        out.line(format_args!("head       {}", out.paint(Look::Id, head)))?;
    }
    certification::print(&place.validators, place.certification.as_ref(), status, out)?;
    out.line(format_args!("conflicts  {}", status.conflicts))?;
    out.line(format_args!("void       {}", status.void))?;
    out.line(format_args!("on disk    {}", size(status.disk_bytes)))?;
    for (author, seq) in &status.forks {
        let warning = out.paint(Look::Warn, format_args!("author {author} forks at {seq}"));
        out.line(warning)?;
    }
    if status.missing_values > 0 {
        let left_out = place.left_out.filter(|left_out| *left_out > 0);
        let left_out = left_out.map(|left_out| format!(", {left_out} of them left out (--only)"));
        let missing = count(status.missing_values, "value");
        out.line(format_args!("missing    {missing}{}", left_out.unwrap_or_default()))?;
    }
    let values = count(status.pruned_values, "value");
    match status.pruned_to {
        Some(height) => {
            out.line(format_args!("pruned     {values}, operations up to checkpoint {height}"))?;
        }
        None if status.pruned_values > 0 => out.line(format_args!("pruned     {values}"))?,
        None => {}
    }
    if !status.waiting.is_empty() {
        out.line(format_args!(
            "waiting    {}, {}",
            count(status.waiting.len(), "event"),
            size(status.waiting_bytes)
        ))?;
    }
    for waiting in &status.waiting {
        out.line(format_args!("    {}", waiting_line(waiting)))?;
    }
    if status.copied {
        let text = "looks like a copy of another store: see `quipu identity rotate` and `quipu identity keep`";
        let warning = out.paint(Look::Warn, text);
        out.line(warning)?;
    }
    Ok(())
}
