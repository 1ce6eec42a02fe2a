//! What a daemon offers beside commands: its node, and the API.

use std::path::PathBuf;
use std::sync::Arc;

use quipu_net::{Api, ApiLimits, Listen, Node, NodeOptions, RunningApi, Tokens};
use quipu_store::Ledger;
use tokio::runtime::Handle;

use super::served::Served;
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

/// What runs.
pub struct Services {
    pub served: Arc<Served>,
    api: Api,
    places: Vec<RunningApi>,
    _socket: Socket,
}

impl Services {
    /// Starts the node and the API.
    pub async fn start(
        ledger: Arc<Ledger>,
        node: NodeOptions,
        api: Option<ApiPlace>,
    ) -> Result<Self, Failure> {
        let tokens = Arc::new(Tokens::open(ledger.dir())?);
        let node = Node::start(ledger.clone(), node).await?;
        let view = Arc::new(node.watch_status());
        let runtime = Handle::current();
        let limits = ApiLimits::default();
        let shared = Api::new(ledger.clone(), Some(view), tokens.clone(), limits)?;
        shared.fetch_with(node.fetcher());
        shared.finality_from(node.finality());
        let (_socket, listener) = Socket::beside(ledger.dir(), API_SOCKET)
            .and_then(|socket| {
                let listener = socket.listener()?;
                Ok((socket, listener))
            })
            .map_err(Failure::file(ledger.dir().join(API_SOCKET)))?;
        let mut places = vec![shared.serve(Listen::Unix(listener))?];
        if let Some(ApiPlace { address, certificate, key, public_tlog }) = api {
            if public_tlog {
                shared.open_tlog();
            }
            places.push(shared.serve(Listen::Tls { address, certificate, key })?);
        }
        let served = Arc::new(Served { ledger, node, tokens, runtime });
        Ok(Self { served, api: shared, places, _socket })
    }

    /// Ends them: the API first, whose answers tell of the node.
    pub async fn stop(self) {
        for place in self.places {
            place.shutdown().await;
        }
        self.api.stop().await;
        self.served.node.stop().await;
    }
}
