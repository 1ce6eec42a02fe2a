//! `quipu serve`

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use quipu_net::{NodeOptions, PeerAddress, Place};
use serde::Serialize;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Config;
use crate::context::Context;
use crate::daemon::{self, ApiPlace, Daemon, Forward, Socket};
use crate::exit::Failure;
use crate::parse::{address, parsed};
use crate::remote::anywhere;

/// Keep the store open and equal with those of its peers, and run on it the commands of others.
///
/// Every command finds the daemon by the store, and works as it does without. It dials the peers that it
/// is told to join, those of `quipu peer add`, and those that it hears of from them; without --listen
/// nobody can dial it. SIGTERM or SIGINT ends it when the commands that run are done, or after ten
/// seconds.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu serve --listen 0.0.0.0:7420
  quipu serve --listen [::]:7420 --join quic://KEY@node-1.example.org:7420
  quipu serve --config /etc/quipu.toml --log-format json

KEY is the other node's key, as `quipu identity show` prints it there. Options may also stand in the
store's `config.toml`, or in the file that --config names:

  listen = \"0.0.0.0:7420\"
  join = [\"quic://KEY@node-1.example.org:7420\"]
  only = [\"photos/\"]
  [certify]
  interval = \"2s\"
  [api]
  listen = \"0.0.0.0:7421\"
  cert = \"/etc/quipu/cert.pem\"
  key = \"/etc/quipu/key.pem\"

It prints `ready` when peers and commands are answered, and logs on stderr. systemd is told as well,
where the unit has Type=notify.")]
pub struct Args {
    /// Let other nodes dial this one at this UDP address.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Be connected to this peer: quic://KEY@HOST:PORT. It is remembered.
    #[arg(long, value_name = "PEER", num_args = 1.., value_parser = parsed::<PeerAddress>)]
    join: Vec<PeerAddress>,
    /// Tell other nodes that this one may be reached at HOST:PORT, where they cannot tell.
    #[arg(long, value_name = "HOST:PORT", num_args = 1.., value_parser = parsed::<Place>)]
    announce: Vec<Place>,
    /// Fetch only long values below these keys, and others when they are read.
    #[arg(long, value_name = "PREFIX", num_args = 1..)]
    only: Option<Vec<String>>,
    /// Serve the HTTP API over TLS at this address; without it, only on the store's `api.socket`.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    api: Option<SocketAddr>,
    /// The certificate of the API, with its chain: a PEM file.
    #[arg(long, value_name = "FILE")]
    api_cert: Option<PathBuf>,
    /// The private key of that certificate: a PEM file.
    #[arg(long, value_name = "FILE")]
    api_key: Option<PathBuf>,
    /// Read the configuration from this file, not from the store's `config.toml`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to log: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    log: LevelFilter,
    /// How to log.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

fn level(text: &str) -> Result<LevelFilter, String> {
    text.parse().map_err(|_| "not one of off, error, warn, info, debug, trace".to_owned())
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
}

pub fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let dir = context.find_store()?;
    if Forward::to(&dir).is_some() {
        return Err(Failure::Served(dir));
    }
    let config = Config::read(args.config.as_deref(), &dir)?;
    let (node, api) = (node_options(args, &config), api_place(args, &config)?);
    // Others name it from where they are.
    context.use_store(std::path::absolute(&dir).map_err(Failure::file(&dir))?);
    start_log(args)?;
    let bound = Socket::claim(&dir).map_err(Failure::file(&dir))?;
    let Some(socket) = bound else { return Err(Failure::Served(dir)) };
    let ledger = context.open_to_serve()?;
    let out = &mut context.out;
    daemon::serve(Daemon { ledger, socket, node, api }, || {
        if out.is_json() {
            out.json(&Ready { ready: true })?
        } else {
            out.line("ready")?
        }
        out.flush()
    })
}

/// What the command line says, then what the file says.
fn node_options(args: &Args, config: &Config) -> NodeOptions {
    let listen = args.listen.or(config.listen);
    let mut options = NodeOptions::new(listen.unwrap_or_else(anywhere));
    options.accept = listen.is_some();
    options.join = args.join.iter().chain(&config.join).cloned().collect();
    options.announce = args.announce.iter().chain(&config.announce).cloned().collect();
    options.quota = config.quota.quota();
    options.only = args.only.clone().or_else(|| config.only.clone());
    if let Some(interval) = config.certify.interval {
        options.interval = interval;
    }
    options
}

/// Where the API is served over TLS, if it is.
fn api_place(args: &Args, config: &Config) -> Result<Option<ApiPlace>, Failure> {
    let file = config.api.as_ref();
    let Some(address) = args.api.or(file.map(|api| api.listen)) else { return Ok(None) };
    let certificate = args.api_cert.clone().or(file.map(|api| api.cert.clone()));
    let key = args.api_key.clone().or(file.map(|api| api.key.clone()));
    let (Some(certificate), Some(key)) = (certificate, key) else {
        let why = "--api needs a certificate and its key: --api-cert and --api-key";
        return Err(Failure::Usage(why.to_owned()));
    };
    let public_tlog = file.is_some_and(|api| api.public_tlog);
    Ok(Some(ApiPlace { address, certificate, key, public_tlog }))
}

/// What the core of certification begins its lines with: it tells of each vote and each checkpoint.
const CORE_TARGET: &str = "arc_malachitebft";

fn start_log(args: &Args) -> Result<(), Failure> {
    let core =
        if args.log > LevelFilter::INFO { args.log } else { args.log.min(LevelFilter::WARN) };
    let targets = Targets::new().with_default(args.log).with_target(CORE_TARGET, core);
    // Where a line cannot be written, on a full disk for instance, there is nowhere to say so.
    let log = tracing_subscriber::fmt()
        .with_max_level(args.log)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    let started = match args.log_format {
        LogFormat::Text => log.finish().with(targets).try_init(),
        LogFormat::Json => log.json().finish().with(targets).try_init(),
    };
    started.map_err(|error| Failure::Daemon(format!("the log cannot be started: {error}")))
}
