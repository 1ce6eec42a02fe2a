//! The daemon: what it runs, from its start to its end.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quipu_net::NodeOptions;
use quipu_store::Ledger;
use tokio::net::UnixListener;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::field::display;
use tracing::{debug, info, warn};

use super::commands::{attend, log_panics};
use super::notify::{READY, STOPPING, notify};
use super::renew::{due, renew};
use super::served::Served;
use super::services::{ApiPlace, Offer};
use super::socket::Socket;
use crate::exit::Failure;

/// How many commands run at once; others wait.
pub const MAX_COMMANDS: u32 = 64;
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
    let mut ledger = None;
    let served = runtime.block_on(daemon.run(&mut ledger, ready));
    runtime.shutdown_background();
    if let Some(ledger) = ledger {
        ledger.sync()?;
    }
    if served.is_ok() {
        info!("stopped");
    }
    served
}

impl Daemon {
    /// Starts the parts of the daemon, and ends them in the reverse order. Tells which ledger was open last.
    async fn run(
        self,
        last: &mut Option<Arc<Ledger>>,
        ready: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut signals = Signals::new().map_err(failed)?;
        let (stop, stopping) = watch::channel(Stop::No);
        let mut parts = JoinSet::new();
        let listener = self.socket.listener().and_then(|listener| {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        });
        let listener = listener.map_err(failed)?;
        let accept = self.node.accept;
        let mut offer = Offer::new(self.ledger.dir(), self.node, self.api)?;
        let ledger = last.insert(self.ledger).clone();
        let mut services = offer.start(ledger).await?;
        let (now_served, serving) = watch::channel(Some(services.served.clone()));
        let room = Arc::new(Semaphore::new(MAX_COMMANDS as usize));
        parts.spawn(take_commands(listener, room.clone(), serving, stopping));
        ready()?;
        tell(READY);
        {
            let (store, key) = (services.served.ledger.dir().display(), services.served.node.key());
            let address = accept.then(|| display(services.served.node.local_addr()));
            info!(%store, %key, address, "ready");
        }
        let why = loop {
            let served = services.served.clone();
            let _alone = tokio::select! {
                signal = signals.next() => break Ok(signal),
                _ = parts.join_next() => {
                    break Err(failed("a part of the daemon has ended by itself"));
                }
                () = served.node.ended() => break Err(failed("the node has ended by itself")),
                alone = due(&served, &room) => alone,
            };
            drop(served);
            drop((now_served.send_replace(None), last.take()));
            services = renew(services, &mut offer).await?;
            *last = Some(services.served.ledger.clone());
            now_served.send_replace(Some(services.served.clone()));
        };
        info!(signal = why.as_ref().ok(), "stopping");
        tell(STOPPING);
        drop(self.socket);
        let _ = stop.send(Stop::Soon);
        services.served.make_way.store(true, Ordering::Relaxed);
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

/// What is served, unless it is being opened anew: then no command has a place.
type Serving = watch::Receiver<Option<Arc<Served>>>;

/// Takes commands from clients and runs them, until the daemon is to end and they are done.
async fn take_commands(
    listener: UnixListener,
    room: Arc<Semaphore>,
    serving: Serving,
    mut stopping: watch::Receiver<Stop>,
) {
    let (mut commands, mut next) = (JoinSet::new(), None);
    loop {
        let taken = tokio::select! {
            taken = take_client(&listener, &room, &mut next) => taken,
            _ = stopping.wait_for(|stop| *stop >= Stop::Soon) => break,
        };
        match taken {
            Ok((client, place)) => {
                commands.spawn(run_command(client, place, serving.clone(), stopping.clone()));
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
    let waiting = std::iter::from_fn(|| listener.accept().ok().map(|(client, _)| client));
    for client in next.into_iter().chain(waiting) {
        let (serving, stopping, room) = (serving.clone(), stopping.clone(), room.clone());
        commands.spawn(async move {
            let Ok(place) = room.acquire_owned().await else { return };
            if client.set_nonblocking(false).is_ok() {
                run_command(client, place, serving, stopping).await;
            }
        });
    }
    drop(listener);
    while commands.join_next().await.is_some() {}
}

/// The next client, when there is room for its command. Nobody has a place before there is a client for it: so
/// who waits for all places gets them. A client that waits is in `next`, wherever this is cut short.
async fn take_client(
    listener: &UnixListener,
    room: &Arc<Semaphore>,
    next: &mut Option<UnixStream>,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    loop {
        if next.is_some() {
            let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
            if let Some(client) = next.take() {
                return Ok((client, place));
            }
        }
        let client = listener.accept().await?.0.into_std()?;
        client.set_nonblocking(false)?;
        *next = Some(client);
    }
}

async fn run_command(
    client: UnixStream,
    _place: OwnedSemaphorePermit,
    serving: Serving,
    mut stopping: watch::Receiver<Stop>,
) {
    let Some(served) = serving.borrow().clone() else { return };
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

pub fn failed(why: impl ToString) -> Failure {
    Failure::Daemon(why.to_string())
}
