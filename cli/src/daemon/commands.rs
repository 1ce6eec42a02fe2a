//! The commands of clients, each run on a thread of its own.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{CommandFactory, FromArgMatches};
use quipu_store::Passphrase;
use rustix::net::sockopt::socket_peercred;
use tracing::{debug, error};

use super::connection::Client;
use super::message::{MAX_FRAME, Reply, send};
use super::request::Request;
use super::served::Served;
use crate::args::Cli;
use crate::console::{Console, Entered, Looks, Streams, User};
use crate::context::Context;
use crate::exit;
use crate::route::Route;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does what a client wants, and tells it how that has ended.
pub fn attend(mut stream: UnixStream, served: &Arc<Served>) {
    let reply = match take(&stream) {
        Ok((request, streams)) => contain(|| match stream.try_clone() {
            Ok(connection) => run(request, streams, connection, served),
            Err(error) => Reply::Refused(error.to_string()),
        }),
        Err(why) => {
            debug!(why, "a request is refused");
            Reply::Refused(why)
        }
    };
    if let Err(error) = send(&mut stream, &reply, MAX_FRAME) {
        debug!(%error, "a client has gone before its command was done");
    }
}

/// Keeps a panic of one command from the others.
fn contain(command: impl FnOnce() -> Reply) -> Reply {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        Reply::Refused("the command has failed inside the daemon: see its log".to_owned())
    })
}

/// Takes a request from somebody who may make one.
fn take(stream: &UnixStream) -> Result<(Request, [OwnedFd; 3]), String> {
    let told = |error: io::Error| error.to_string();
    let peer = socket_peercred(stream).map_err(|error| told(error.into()))?.uid;
    if peer != rustix::process::geteuid() && !peer.is_root() {
        return Err("the daemon works for its own user only".to_owned());
    }
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    let taken = Request::receive(stream).map_err(|bad| bad.to_string())?;
    // What it is asked for later takes as long as its user wants.
    stream.set_read_timeout(None).map_err(told)?;
    Ok(taken)
}

fn run(
    request: Request,
    streams: [OwnedFd; 3],
    connection: UnixStream,
    served: &Arc<Served>,
) -> Reply {
    let started = Instant::now();
    let args = request.args.into_iter().map(|arg| OsString::from_vec(arg.into()));
    let parsed = Cli::command().try_get_matches_from(args).and_then(|matches| {
        let name = matches.subcommand_name().unwrap_or_default().to_owned();
        Ok((Cli::from_arg_matches(&matches)?, name))
    });
    let (mut cli, command) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return Reply::Refused(error.to_string()),
    };
    if !matches!(cli.command.route(), Route::Store | Route::Source(_)) {
        return Reply::Refused(format!("`quipu {command}` is not for a daemon to run"));
    }
    let path = |bytes: minicbor::bytes::ByteVec| PathBuf::from(OsString::from_vec(bytes.into()));
    let dir = path(request.dir);
    if !dir.is_absolute() {
        return Reply::Refused("the client is in no directory".to_owned());
    }
    // This process's own environment does not count.
    cli.global.store = request.store.map(path);
    let looks = Looks {
        stdout: request.colours[0],
        stderr: request.colours[1],
        progress: request.progress,
    };
    let user = User {
        dir,
        passphrase: request.passphrase.map(|mut text| Passphrase::new(std::mem::take(&mut text.0))),
        umask: request.umask,
    };
    let client = Client::new(connection, request.feeds);
    let console = Arc::new(Console::of(client, Streams::new(streams), looks, user));
    let _entered = Entered::new(console.clone());
    let mut context = Context::new(cli.global, console, Some(served.clone()));
    let code = exit::finish(cli.command.run(&mut context).map(|()| exit::DONE), &mut context);
    let elapsed = started.elapsed();
    debug!(command, code, ?elapsed, "a command is done");
    Reply::Done(code)
}

/// Has panics logged, rather than printed.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| error!("{panic}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_end_of_one_command() {
        assert_eq!(contain(|| Reply::Done(3)), Reply::Done(3));
        let reply = contain(|| panic!("on purpose"));
        assert!(matches!(reply, Reply::Refused(why) if why.contains("see its log")));
    }
}
