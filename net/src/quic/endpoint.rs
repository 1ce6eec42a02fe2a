//! A node's place in the network: a socket from which it dials and on which it is dialled.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::{
    ClientConfig, EndpointConfig, NoneTokenStore, ServerConfig, TokioRuntime, TransportConfig,
};
use quipu_merge::AuthorKey;
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::arrivals::Arrivals;
use super::cause;
use super::close::CloseCode;
use super::connection::{Connection, Established};
use super::door::Door;
use super::error::{BindError, ConnectError};
use super::gate::Gate;
use super::identity::{NodeKey, Witness};
use super::leaving::Leaving;
use super::limits::Limits;
use super::link::canonical;
use super::refusal::{MAX_REFUSALS, Refusal, Refusals};
use super::tasks::Tasks;
use super::tls::Tls;
use super::verify::Admission;

/// TLS asks for the name of a host, which is neither sent nor looked at: nodes have keys.
const NO_NAME: &str = "node.invalid";
/// The version in QUIC's packets (RFC 9000).
const QUIC_V1: u32 = 1;

/// A node's place in the network. It dials others and is dialled by them, from one UDP socket and
/// with one key.
///
/// Dropping it ends its connections as [`Endpoint::close`] does, without waiting for anything.
pub struct Endpoint {
    /// Taken when the endpoint is closed.
    quic: Mutex<Option<quinn::Endpoint>>,
    address: SocketAddr,
    limits: Limits,
    transport: Arc<TransportConfig>,
    tls: Arc<Tls>,
    tasks: Tasks,
    arrivals: Arc<Arrivals>,
    /// From which others are made; not read itself.
    refusals: broadcast::Receiver<Refusal>,
}

impl Endpoint {
    /// Listens on a UDP address; port 0 takes any that is free. `[::]` takes IPv4 as well where the
    /// system lets it.
    ///
    /// Peers that dial are let in from now on if `admission` says so; [`Self::accept`] hands them
    /// over.
    ///
    /// # Errors
    ///
    /// The address is taken or not there, the limits make no sense, or this is not called in a
    /// tokio runtime. Nothing is left then.
    pub fn bind(
        address: SocketAddr,
        key: Arc<dyn NodeKey>,
        admission: Admission,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let transport = limits.transport()?;
        tokio::runtime::Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let tls = Arc::new(Tls::new(key, admission));
        let server = tls.accepting(&Arc::default());
        let server = server.map_err(|error| BindError::Tls(error.to_string()))?;
        let mut config = ServerConfig::with_crypto(server);
        config.transport_config(transport.clone());
        limits.incoming(&mut config);

        let unbound = |source| BindError::Address { address, source };
        let socket = UdpSocket::bind(address).map_err(unbound)?;
        let address = socket.local_addr().map_err(unbound)?;
        let mut of_socket = EndpointConfig::default();
        // Drafts of QUIC are nothing that a node speaks.
        of_socket.supported_versions(vec![QUIC_V1]);
        let quic =
            quinn::Endpoint::new(of_socket, Some(config.clone()), socket, Arc::new(TokioRuntime))
                .map_err(unbound)?;

        let arrivals = Arc::<Arrivals>::default();
        let (sender, refusals) = broadcast::channel(MAX_REFUSALS);
        let tasks = Tasks::new();
        let door = Door {
            quic: quic.clone(),
            config,
            tls: tls.clone(),
            gate: Gate::new(limits.clone()),
            timeout: limits.handshake_timeout,
            arrivals: arrivals.clone(),
            refusals: sender,
        };
        tasks.spawn(door.keep());
        let quic = Mutex::new(Some(quic));
        Ok(Self { quic, address, limits, transport, tls, tasks, arrivals, refusals })
    }

    /// The address that it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The key by which others know this node.
    pub fn key(&self) -> AuthorKey {
        self.tls.public()
    }

    /// Connects to the node with the key `expected` at `address`. It returns when that node has
    /// proved its key and let this one in.
    ///
    /// Whoever gives up waiting leaves nothing behind.
    ///
    /// # Errors
    ///
    /// There is no connection then; the error says whether that is this node's, the network's or
    /// the peer's doing.
    pub async fn connect(
        &self,
        address: SocketAddr,
        expected: AuthorKey,
    ) -> Result<Connection, ConnectError> {
        let dialled = timeout(self.limits.handshake_timeout, self.dial(address, expected)).await;
        let established = dialled.unwrap_or(Err(ConnectError::TimedOut))?;
        self.start(established).ok_or(ConnectError::EndpointClosed)
    }

    /// The next peer that has been let in; `None` once the endpoint is closed.
    ///
    /// Those that are not asked for wait, and count as connections. Whoever gives up waiting loses
    /// nothing.
    pub async fn accept(&self) -> Option<Connection> {
        let established = self.arrivals.next().await?;
        self.start(established)
    }

    /// Tells from now on of peers that dial and are not let in.
    pub fn refusals(&self) -> Refusals {
        Refusals(self.refusals.resubscribe())
    }

    /// Ends all connections and lets nobody in any more, and waits until the peers have been told
    /// or it is known that they cannot be. Nothing runs any more afterwards.
    ///
    /// What has been sent and not yet arrived is lost, as with
    /// [`Link::close`](crate::Link::close). Whoever gives up waiting may call it again.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        self.arrivals.close();
        let quic = self.quic();
        if let Some(quic) = &quic {
            quic.close(code.to_wire(), reason.as_bytes());
            quic.wait_idle().await;
        }
        self.tasks.end().await;
        // What runs the socket ends when nobody can use it.
        drop(self.lock().take());
    }

    /// What frees the address after [`Self::close`].
    pub(crate) fn leaving(&self) -> Leaving {
        Leaving::new(self.quic(), self.address)
    }

    async fn dial(
        &self,
        address: SocketAddr,
        expected: AuthorKey,
    ) -> Result<Established, ConnectError> {
        let witness = Arc::new(Witness::default());
        let tls = self.tls.dialling(expected, &witness);
        let tls = tls.map_err(|error| ConnectError::Internal(error.to_string()))?;
        let mut config = ClientConfig::new(tls);
        config.transport_config(self.transport.clone()).token_store(Arc::new(NoneTokenStore));

        let quic = self.quic().ok_or(ConnectError::EndpointClosed)?;
        let connecting = quic.connect_with(config, address, NO_NAME);
        let connecting = connecting.map_err(|error| match error {
            quinn::ConnectError::EndpointStopping => ConnectError::EndpointClosed,
            quinn::ConnectError::InvalidRemoteAddress(address) => {
                ConnectError::Address(canonical(address))
            }
            error => ConnectError::Internal(error.to_string()),
        })?;
        let failed = |error| cause::of_dialling(error, expected, &witness);
        let quic = connecting.await.map_err(failed)?;
        // This side is done before the peer has judged its key. The peer says that it has let us
        // in by opening the stream for control.
        let control = quic.accept_uni().await.map_err(failed)?;
        Ok(Established { quic, peer: expected, sends: None, receives: Some(control), slot: None })
    }

    fn start(&self, established: Established) -> Option<Connection> {
        established.start(&self.tasks, self.tls.admission().clone(), self.limits.frames)
    }

    fn quic(&self) -> Option<quinn::Endpoint> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<quinn::Endpoint>> {
        self.quic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, address) = (self.key(), self.address);
        f.debug_struct("Endpoint")
            .field("key", &key)
            .field("address", &address)
            .finish_non_exhaustive()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.arrivals.close();
        if let Some(quic) = self.lock().take() {
            quic.close(CloseCode::Done.to_wire(), b"");
        }
        self.tasks.abort();
    }
}
