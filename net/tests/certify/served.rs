//! The API over a socket, and who asks it.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use quipu_net::{Api, ApiLimits, Listen, RunningApi, Tokens};
use quipu_store::Ledger;
use serde_json::Value as Json;

use super::support::Stores;

/// The API of a ledger over a socket.
pub struct Served {
    path: std::path::PathBuf,
    api: Api,
    running: RunningApi,
}

impl Served {
    pub fn start(stores: &Stores, ledger: &Arc<Ledger>, node: Option<&quipu_net::Node>) -> Self {
        let path = stores.dir("api.socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let tokens = Arc::new(Tokens::open(ledger.dir()).unwrap());
        let view = node.map(|node| Arc::new(node.watch_status()) as quipu_net::NodeView);
        let api = Api::new(ledger.clone(), view, tokens, ApiLimits::default()).unwrap();
        if let Some(node) = node {
            api.finality_from(node.finality());
        }
        let running = api.serve(Listen::Unix(listener)).unwrap();
        Self { path, api, running }
    }

    pub async fn ask(&self, method: &str, uri: &str, body: &str) -> (u16, Bytes) {
        let stream = tokio::net::UnixStream::connect(&self.path).await.unwrap();
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(uri).header("host", "localhost");
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    pub async fn json(&self, method: &str, uri: &str, body: &str) -> (u16, Json) {
        let (status, body) = self.ask(method, uri, body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub async fn get(&self, uri: &str) -> Json {
        let (status, body) = self.json("GET", uri, "").await;
        assert_eq!(status, 200, "{uri}: {body}");
        body
    }

    pub async fn stop(self) {
        self.running.shutdown().await;
        self.api.stop().await;
    }
}
