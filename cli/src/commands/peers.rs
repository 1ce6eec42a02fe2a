//! `quipu peers`

use std::time::Duration;

use quipu_merge::AuthorKey;
use quipu_net::{PeerBook, PeerState, PeerStatus, Place};
use serde::Serialize;

use crate::amount::{count, size};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Look, Output};
use crate::shown::{AuthorJson, Names};

/// List the peers of this replica, and how it stands with them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu peers
  quipu peers --json

Without a daemon, it lists the address book.")]
pub struct Args {}

#[derive(Serialize)]
struct PeerJson<'p> {
    key: AuthorJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'p str>,
    /// Whether somebody added it, or told the daemon to join it.
    kept: bool,
    places: Vec<&'p str>,
    /// `connected`, `dialling`, `waiting`, `away`; `unserved` where there is no daemon.
    state: &'static str,
    #[serde(flatten)]
    connection: Option<ConnectionJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'p str>,
    received_bytes: u64,
    sent_bytes: u64,
    events_in: u64,
    events_out: u64,
}

#[derive(Serialize)]
struct ConnectionJson {
    address: String,
    inbound: bool,
    since_seconds: f64,
    /// How long ago all that it had was known to be here.
    lag_seconds: f64,
    round_trip_seconds: f64,
    /// How far its clock is ahead.
    clock_ahead_seconds: f64,
}

pub fn run(_: &Args, context: &mut Context) -> Result<(), Failure> {
    let ledger = context.open()?;
    let snapshot = ledger.snapshot()?;
    let names = Names::of(&snapshot)?;
    let (peers, is_served) = match context.served() {
        Some(served) => (served.node.status().peers, true),
        None => (from_book(&PeerBook::open(&context.store_path()?)?), false),
    };
    let out = &mut context.out;
    for peer in &peers {
        if out.is_json() {
            out.json(&json(peer, &names, is_served))?;
        } else {
            print(peer, &names, is_served, out)?;
        }
    }
    Ok(())
}

fn from_book(book: &PeerBook) -> Vec<PeerStatus> {
    let unserved = |(key, known): (AuthorKey, &quipu_net::KnownPeer)| PeerStatus {
        key,
        kept: known.kept,
        places: known.places.clone(),
        state: PeerState::Away,
        received_bytes: 0,
        sent_bytes: 0,
        events_in: 0,
        events_out: 0,
    };
    book.peers().map(unserved).collect()
}

fn word(state: &PeerState, is_served: bool) -> &'static str {
    match state {
        _ if !is_served => "unserved",
        PeerState::Connected { .. } => "connected",
        PeerState::Dialling => "dialling",
        PeerState::Waiting { .. } => "waiting",
        PeerState::Away => "away",
    }
}

fn json<'p>(peer: &'p PeerStatus, names: &'p Names, is_served: bool) -> PeerJson<'p> {
    let (mut connection, mut retry_seconds, mut why) = (None, None, None);
    match &peer.state {
        PeerState::Connected { since, address, inbound, lag, round_trip, clock_ahead } => {
            connection = Some(ConnectionJson {
                address: address.to_string(),
                inbound: *inbound,
                since_seconds: since.as_secs_f64(),
                lag_seconds: lag.as_secs_f64(),
                round_trip_seconds: round_trip.as_secs_f64(),
                clock_ahead_seconds: seconds(*clock_ahead),
            });
        }
        PeerState::Waiting { retry_in, why: words } => {
            retry_seconds = Some(retry_in.as_secs_f64());
            why = Some(words.as_str());
        }
        PeerState::Dialling | PeerState::Away => {}
    }
    PeerJson {
        key: AuthorJson(peer.key),
        name: names.name(peer.key),
        kept: peer.kept,
        places: peer.places.iter().map(Place::as_str).collect(),
        state: word(&peer.state, is_served),
        connection,
        retry_seconds,
        why,
        received_bytes: peer.received_bytes,
        sent_bytes: peer.sent_bytes,
        events_in: peer.events_in,
        events_out: peer.events_out,
    }
}

fn print(
    peer: &PeerStatus,
    names: &Names,
    is_served: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let name = out.paint(Look::Author, names.show(peer.key));
    let place = peer.places.first().map_or("nobody knows where", Place::as_str);
    let state = word(&peer.state, is_served);
    out.line(format_args!("{name} {state} {place}{}", if peer.kept { "" } else { " (heard of)" }))?;
    match &peer.state {
        PeerState::Connected { since, lag, round_trip, clock_ahead, .. } => {
            let (received, sent) = (size(peer.received_bytes), size(peer.sent_bytes));
            out.line(format_args!(
                "    for {}, lag {}, round trip {}, clock {:+.3} s",
                rounded(*since),
                rounded(*lag),
                rounded(*round_trip),
                seconds(*clock_ahead)
            ))?;
            out.line(format_args!(
                "    in {received} with {}, out {sent} with {}",
                count(peer.events_in, "event"),
                count(peer.events_out, "event")
            ))?;
        }
        PeerState::Waiting { retry_in, why } => {
            out.line(format_args!("    {why}; again in {}", rounded(*retry_in)))?;
        }
        PeerState::Dialling | PeerState::Away => {}
    }
    Ok(())
}

/// A time as people say it.
fn rounded(time: Duration) -> String {
    match time {
        time if time >= Duration::from_secs(1) => format!("{:.1} s", time.as_secs_f64()),
        time => format!("{:.1} ms", time.as_secs_f64() * 1e3),
    }
}

/// Microseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "a clock that is so far off may be rounded")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
