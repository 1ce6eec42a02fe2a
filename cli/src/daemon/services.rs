//! What a daemon offers beside commands: its node, and the API.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use quipu_net::{Api, ApiError, ApiLimits, Listen, Node, NodeOptions, RunningApi, Tokens};
use quipu_store::Ledger;
use tokio::runtime::Handle;

use super::served::Served;
use super::server::failed;
use super::socket::Socket;
use crate::exit::Failure;

/// The socket of the API in the store's directory.
const API_SOCKET: &str = "api.socket";

/// Where the API is served beside its socket: over TLS.
#[derive(Clone, Debug)]
pub struct ApiPlace {
    pub address: std::net::SocketAddr,
    /// PEM files.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whether everybody may read the certified log there.
    pub public_tlog: bool,
}

/// How it is offered, and where: each time at the same places.
pub struct Offer {
    node: NodeOptions,
    /// Whoever connects to these while nothing runs waits there.
    api: Option<(TcpListener, ApiPlace)>,
    socket: Socket,
}

/// What runs.
pub struct Services {
    pub served: Arc<Served>,
    api: Api,
    places: Vec<RunningApi>,
}

impl Offer {
    /// Makes the socket of the API in a store's directory, and listens where it is served over TLS.
    pub fn new(dir: &Path, node: NodeOptions, api: Option<ApiPlace>) -> Result<Self, Failure> {
        let socket = Socket::beside(dir, API_SOCKET);
        let socket = socket.map_err(Failure::file(dir.join(API_SOCKET)))?;
        let listen = |place: ApiPlace| match TcpListener::bind(place.address) {
            Ok(listener) => Ok((listener, place)),
            Err(error) => {
                Err(failed(format_args!("{} cannot be listened on: {error}", place.address)))
            }
        };
        Ok(Self { node, api: api.map(listen).transpose()?, socket })
    }

    /// Starts the node and the API.
    pub async fn start(&mut self, ledger: Arc<Ledger>) -> Result<Services, Failure> {
        let tokens = Arc::new(Tokens::open(ledger.dir())?);
        let node = Node::start(ledger.clone(), self.node.clone()).await?;
        let view = Arc::new(node.watch_status());
        let runtime = Handle::current();
        let limits = ApiLimits::default();
        let api = Api::new(ledger.clone(), Some(view), tokens.clone(), limits)?;
        api.fetch_with(node.fetcher());
        api.finality_from(node.finality());
        let listener = self.socket.listener();
        let listener = listener.map_err(Failure::file(ledger.dir().join(API_SOCKET)))?;
        let mut places = vec![api.serve(Listen::Unix(listener))?];
        if let Some((listener, place)) = &self.api {
            if place.public_tlog {
                api.open_tlog();
            }
            let listener = listener.try_clone().map_err(ApiError::Socket)?;
            let (certificate, key) = (place.certificate.clone(), place.key.clone());
            places.push(api.serve(Listen::Tls { listener, certificate, key })?);
        }
        // Others find it where it was; whom it was told to join, the address book knows by now.
        self.node.listen = node.local_addr();
        self.node.join.clear();
        let make_way = AtomicBool::new(false);
        let served = Arc::new(Served { ledger, node, tokens, runtime, make_way });
        Ok(Services { served, api, places })
    }
}

impl Services {
    /// Ends them: the API first, whose answers tell of the node.
    pub async fn stop(self) {
        for place in self.places {
            place.shutdown().await;
        }
        self.api.stop().await;
        self.served.node.stop().await;
    }
}
