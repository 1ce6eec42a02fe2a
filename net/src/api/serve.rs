//! Serving connections.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use quipu_merge::Micros;
use quipu_store::Ledger;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::app::{App, NodeView};
use super::caller::Origin;
use super::error::ApiError;
use super::limits::ApiLimits;
use super::rate::network_of;
use super::tokens::Tokens;
use super::{routes, tls};
use crate::node::{Fetcher, Finality};

/// So many headers a request may have, and bytes of them.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 64 << 10;
/// How often the audit log is synced.
const SYNC: Duration = Duration::from_secs(1);
/// How often what was remembered for long enough is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// How long to wait where no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the API is served.
#[derive(Debug)]
pub enum Listen {
    /// Over TLS 1.3, to whoever has a token.
    Tls {
        /// The listener, bound by the caller: whoever connects while nothing is served there waits.
        listener: std::net::TcpListener,
        /// A PEM file with the chain of certificates.
        certificate: PathBuf,
        /// A PEM file with the private key.
        key: PathBuf,
    },
    /// To everybody who can open this socket: they are taken for admins.
    Unix(std::os::unix::net::UnixListener),
}

/// How the API is served.
#[derive(Debug)]
pub struct ApiConfig {
    /// Where.
    pub listen: Listen,
    /// What callers may take up.
    pub limits: ApiLimits,
}

/// The API of a ledger. It may be served at several places, which share its limits.
pub struct Api {
    app: Arc<App>,
    upkeep: JoinHandle<()>,
}

/// An API that is being served at one place.
pub struct RunningApi {
    /// What is served here alone, if so.
    own: Option<Api>,
    address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Api {
    /// The API of a ledger, not yet served. `node` tells how the node is doing, if there is one.
    ///
    /// It is to be called in a Tokio runtime with time and IO.
    ///
    /// # Errors
    /// The audit log cannot be written, or the store cannot be read.
    pub fn new(
        ledger: Arc<Ledger>,
        node: Option<NodeView>,
        tokens: Arc<Tokens>,
        limits: ApiLimits,
    ) -> Result<Self, ApiError> {
        let app = Arc::new(App::new(ledger, node, tokens, limits)?);
        let upkeep = tokio::spawn(keep_up(app.clone()));
        Ok(Self { app, upkeep })
    }

    /// Has values fetched that are read and not here. The first who is set does it.
    pub fn fetch_with(&self, fetcher: Fetcher) {
        let _ = self.app.fetcher.set(fetcher);
    }

    /// Lets everybody read the certified log under `/tlog/`, at the places where it is served from now
    /// on. Otherwise that takes a token, like everything else.
    pub fn open_tlog(&self) {
        self.app.public_tlog.store(true, Ordering::Relaxed);
    }

    /// Tells by it what is certified, for those who wait for that. The first that is set does it.
    pub fn finality_from(&self, finality: Finality) {
        let _ = self.app.finality.set(finality);
    }

    /// Serves the API of a ledger at one place.
    ///
    /// # Errors
    /// Those of [`Self::new`] and [`Self::serve`].
    pub fn start(
        ledger: Arc<Ledger>,
        node: Option<NodeView>,
        tokens: Arc<Tokens>,
        config: ApiConfig,
    ) -> Result<RunningApi, ApiError> {
        let api = Self::new(ledger, node, tokens, config.limits)?;
        let mut running = api.serve(config.listen)?;
        running.own = Some(api);
        Ok(running)
    }

    /// Serves the API at a place.
    ///
    /// # Errors
    /// The listener or the certificate cannot be used.
    pub fn serve(&self, listen: Listen) -> Result<RunningApi, ApiError> {
        let (door, address) = Door::open(listen)?;
        let (stop, stopping) = watch::channel(false);
        if let Some(address) = address {
            tracing::info!(%address, "serving the API");
        }
        let task = tokio::spawn(accept(door, self.app.clone(), stopping));
        Ok(RunningApi { own: None, address, stop, task })
    }

    /// Ends what the API does by itself. Places where it is served are shut down before.
    pub async fn stop(self) {
        self.upkeep.abort();
        let _ = self.upkeep.await;
        if let Err(error) = self.app.audit.sync() {
            tracing::error!(%error, "the audit log cannot be synced");
        }
    }
}

impl RunningApi {
    /// Where it listens; of a Unix socket, nothing.
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Accepts no more connections, ends the streams of events, and waits until requests that are under
    /// way are done, for as long as [`ApiLimits::shutdown_timeout`] says.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
        if let Some(api) = self.own {
            api.stop().await;
        }
    }
}

/// What connections come from.
struct Door {
    socket: Socket,
    tls: Option<TlsAcceptor>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream),
}

impl Door {
    fn open(listen: Listen) -> Result<(Self, Option<SocketAddr>), ApiError> {
        match listen {
            Listen::Tls { listener, certificate, key } => {
                let tls = Some(tls::acceptor(&certificate, &key)?);
                listener.set_nonblocking(true).map_err(ApiError::Socket)?;
                let listener = TcpListener::from_std(listener).map_err(ApiError::Socket)?;
                let address = listener.local_addr().map_err(ApiError::Socket)?;
                Ok((Self { socket: Socket::Tcp(listener), tls }, Some(address)))
            }
            Listen::Unix(listener) => {
                listener.set_nonblocking(true).map_err(ApiError::Socket)?;
                let listener = UnixListener::from_std(listener).map_err(ApiError::Socket)?;
                Ok((Self { socket: Socket::Unix(listener), tls: None }, None))
            }
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, address))
            }
            Socket::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

async fn accept(door: Door, app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(app.limits.connections));
    let guests = Arc::new(Guests::default());
    let router = routes::router(&app);
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            accepted = door.accept() => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let place = places.clone().try_acquire_owned();
        let guest = guests.clone().admit(&accepted, app.limits.connections_per_address);
        let (Ok(place), Some(guest)) = (place, guest) else {
            app.metrics.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (tls, router, timeout) = (door.tls.clone(), router.clone(), app.limits.head_timeout);
        let place_of = Place { stopping: Stopping(stopping.clone()), watcher: graceful.watcher() };
        let app = app.clone();
        connections.spawn(async move {
            if !greet(accepted, tls, timeout, router, place_of).await {
                app.metrics.handshakes.fetch_add(1, Ordering::Relaxed);
            }
            drop((place, guest));
        });
        while connections.try_join_next().is_some() {}
    }
    drop(door);
    let timeout = app.limits.shutdown_timeout;
    if tokio::time::timeout(timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were under way when the API was stopped");
        connections.shutdown().await;
    }
}

/// Tells when a place is shut down.
#[derive(Clone, Debug)]
pub struct Stopping(pub watch::Receiver<bool>);

/// What a connection knows of the place where it came in.
struct Place {
    stopping: Stopping,
    watcher: Watcher,
}

/// Serves a connection to its end. Tells whether its handshake was good.
async fn greet(
    accepted: Accepted,
    tls: Option<TlsAcceptor>,
    timeout: Duration,
    router: Router,
    place: Place,
) -> bool {
    match (accepted, tls) {
        (Accepted::Tcp(stream, address), Some(tls)) => {
            let shaken = tokio::time::timeout(timeout, tls.accept(stream)).await;
            let Ok(Ok(stream)) = shaken else { return false };
            serve(stream, Origin::Remote(address), router, timeout, place).await;
        }
        // Without TLS, nothing is served on TCP.
        (Accepted::Tcp(..), None) => {}
        (Accepted::Unix(stream), _) => serve(stream, Origin::Local, router, timeout, place).await,
    }
    true
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    origin: Origin,
    router: Router,
    head_timeout: Duration,
    place: Place,
) {
    let Place { stopping, watcher } = place;
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(origin);
        request.extensions_mut().insert(stopping.clone());
        router.call(request)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// How many connections there are from each network.
#[derive(Default)]
struct Guests(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts until this is dropped.
struct Guest(Arc<Guests>, Option<IpAddr>);

impl Guests {
    fn admit(self: Arc<Self>, accepted: &Accepted, limit: usize) -> Option<Guest> {
        let Accepted::Tcp(_, address) = accepted else { return Some(Guest(self, None)) };
        let network = network_of(address.ip());
        {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(network).or_default();
            if *count >= limit {
                return None;
            }
            *count += 1;
        }
        Some(Guest(self, Some(network)))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some(network) = self.1 else { return };
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}

/// Syncs the audit log, and forgets what was remembered for long enough.
async fn keep_up(app: Arc<App>) {
    let mut syncs = tokio::time::interval(SYNC);
    let mut forgets = tokio::time::interval(FORGET);
    loop {
        let done = tokio::select! {
            _ = syncs.tick() => app.work(|app| {
                if let Err(error) = app.audit.sync() {
                    tracing::error!(%error, "the audit log cannot be synced");
                }
                Ok(())
            }).await,
            _ = forgets.tick() => app.work(|app| {
                Ok(app.remembered.forget(&app.ledger, now())?)
            }).await,
        };
        if let Err(problem) = done {
            tracing::warn!(code = problem.code(), "upkeep has failed");
        }
    }
}

fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
