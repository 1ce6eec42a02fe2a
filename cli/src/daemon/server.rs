//! The daemon: what it runs, from its start to its end.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use quipu_net::NodeOptions;
use quipu_store::Ledger;
use tokio::net::UnixListener;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::commands::{attend, log_panics};
use super::notify::{READY, STOPPING, notify};
use super::served::Served;
use super::services::{ApiPlace, Services};
use super::socket::Socket;
use crate::exit::Failure;

/// How many commands run at once; others wait.
const MAX_COMMANDS: usize = 64;
/// How long commands may go on when the daemon is to end.
const GRACE: Duration = Duration::from_secs(10);
/// How long they may take to end when they have to.
const END: Duration = Duration::from_secs(2);
/// How long to wait where no more clients can be taken.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Commands are the same code as in a process of their own, where they have as much.
const STACK: usize = 8 << 20;

/// A store that is served.
pub struct Daemon {
    pub ledger: Arc<Ledger>,
    pub socket: Socket,
    /// How its node is to run.
    pub node: NodeOptions,
    /// Where the API is served beside its socket.
    pub api: Option<ApiPlace>,
}

/// Whether the daemon goes on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    No,
    /// Nothing more is taken on.
    Soon,
    /// What is not done is broken off.
    Now,
}

/// Serves a store until a signal ends it. `ready` is called when commands are answered.
pub fn serve(daemon: Daemon, ready: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
    log_panics();
    let runtime = runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(failed)?;
    let ledger = daemon.ledger.clone();
    let served = runtime.block_on(daemon.run(ready));
    runtime.shutdown_background();
    ledger.sync()?;
    if served.is_ok() {
        info!("stopped");
    }
    served
}

impl Daemon {
    /// Starts the parts of the daemon, and ends them in the reverse order.
    async fn run(self, ready: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
        let mut signals = Signals::new().map_err(failed)?;
        let (stop, stopping) = watch::channel(Stop::No);
        let mut parts = JoinSet::new();
        let listener = self.socket.listener().and_then(|listener| {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        });
        let listener = listener.map_err(failed)?;
        let accept = self.node.accept;
        let services = Services::start(self.ledger, self.node, self.api).await?;
        let served = services.served.clone();
        let address = accept.then(|| served.node.local_addr());
        parts.spawn(take_commands(listener, served.clone(), stopping));
        ready()?;
        tell(READY);
        info!(store = %served.ledger.dir().display(), key = %served.node.key(), ?address, "ready");
        let why = tokio::select! {
            signal = signals.next() => Ok(signal),
            _ = parts.join_next() => Err(failed("a part of the daemon has ended by itself")),
            () = served.node.ended() => Err(failed("the node has ended by itself")),
        };
        info!(signal = why.as_ref().ok(), "stopping");
        tell(STOPPING);
        drop(self.socket);
        let _ = stop.send(Stop::Soon);
        let ending = async {
            end(&mut parts, &stop).await;
            services.stop().await;
        };
        tokio::select! {
            () = ending => why.map(drop),
            _ = signals.next() => Err(failed("ended by a second signal, with commands running")),
        }
    }
}

/// Waits for all parts.
async fn end(parts: &mut JoinSet<()>, stop: &watch::Sender<Stop>) {
    for (patience, then) in [(GRACE, Some(Stop::Now)), (END, None)] {
        let all = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_ok() {
            return;
        }
        warn!("commands are broken off");
        if let Some(then) = then {
            let _ = stop.send(then);
        }
    }
}

/// Takes commands from clients and runs them, until the daemon is to end and they are done.
async fn take_commands(
    listener: UnixListener,
    served: Arc<Served>,
    mut stopping: watch::Receiver<Stop>,
) {
    let room = Arc::new(Semaphore::new(MAX_COMMANDS));
    let mut commands = JoinSet::new();
    loop {
        let taken = tokio::select! {
            taken = take_client(&listener, &room) => taken,
            _ = stopping.wait_for(|stop| *stop >= Stop::Soon) => break,
        };
        match taken {
            Ok((client, place)) => {
                commands.spawn(run_command(client, place, served.clone(), stopping.clone()));
            }
            Err(error) => {
                warn!(%error, "a client cannot be taken");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
        while commands.try_join_next().is_some() {}
    }
    // Nobody finds the socket any more; those that have been waiting there are not turned away.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((client, _)) = listener.accept() {
        let (served, stopping, room) = (served.clone(), stopping.clone(), room.clone());
        commands.spawn(async move {
            let Ok(place) = room.acquire_owned().await else { return };
            if client.set_nonblocking(false).is_ok() {
                run_command(client, place, served, stopping).await;
            }
        });
    }
    drop(listener);
    while commands.join_next().await.is_some() {}
}

/// The next client, when there is room for its command.
async fn take_client(
    listener: &UnixListener,
    room: &Arc<Semaphore>,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let client = listener.accept().await?.0.into_std()?;
    client.set_nonblocking(false)?;
    Ok((client, place))
}

async fn run_command(
    client: UnixStream,
    _place: OwnedSemaphorePermit,
    served: Arc<Served>,
    mut stopping: watch::Receiver<Stop>,
) {
    let connection = client.try_clone();
    let mut work = tokio::task::spawn_blocking(move || attend(client, &served));
    tokio::select! {
        _ = &mut work => return,
        _ = stopping.wait_for(|stop| *stop == Stop::Now) => {}
    }
    // To the command it is as if its client had gone.
    if let Ok(connection) = connection {
        let _ = connection.shutdown(std::net::Shutdown::Both);
    }
    let _ = work.await;
}

/// The signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn tell(state: &str) {
    if let Err(error) = notify(state) {
        debug!(%error, state, "systemd cannot be told");
    }
}

fn failed(why: impl ToString) -> Failure {
    Failure::Daemon(why.to_string())
}
