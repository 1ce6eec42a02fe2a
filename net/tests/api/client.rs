//! A server to talk to, and who talks to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use quipu_net::{Api, ApiConfig, ApiLimits, Listen, NewToken, NodeView, Role, RunningApi, Tokens};
use quipu_store::{Ledger, NewLedger, Options};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A server over TLS, on a ledger of its own.
pub struct Server {
    pub dir: TempDir,
    pub ledger: Arc<Ledger>,
    pub tokens: Arc<Tokens>,
    limits: ApiLimits,
    view: Option<NodeView>,
    running: RunningApi,
}

impl Server {
    pub fn start() -> Self {
        Self::with(ApiLimits::default())
    }

    pub fn with(limits: ApiLimits) -> Self {
        Self::make(limits, &NewLedger::default(), None)
    }

    pub fn make(limits: ApiLimits, new: &NewLedger, view: Option<NodeView>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(dir.path().join("ledger"), new).unwrap();
        Self::begin(dir, ledger, limits, view)
    }

    /// A server on a ledger that there is.
    pub fn of(ledger: Ledger) -> Self {
        Self::begin(tempfile::tempdir().unwrap(), ledger, ApiLimits::default(), None)
    }

    fn begin(dir: TempDir, ledger: Ledger, limits: ApiLimits, view: Option<NodeView>) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self::serve(dir, Arc::new(ledger), limits, view)
    }

    fn serve(dir: TempDir, ledger: Arc<Ledger>, limits: ApiLimits, view: Option<NodeView>) -> Self {
        let tokens = Arc::new(Tokens::open(ledger.dir()).unwrap());
        let listen = Listen::Tls {
            listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
            certificate: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
        };
        let config = ApiConfig { listen, limits };
        let running = Api::start(ledger.clone(), view.clone(), tokens.clone(), config).unwrap();
        Self { dir, ledger, tokens, limits, view, running }
    }

    /// Stops, and starts again on the same store, opened anew.
    pub async fn restart(self) -> Self {
        let Self { dir, ledger, tokens, limits, view, running } = self;
        running.shutdown().await;
        drop(tokens);
        let path = ledger.dir().to_owned();
        closed(ledger).await;
        let ledger = Arc::new(Ledger::open(path).unwrap());
        Self::serve(dir, ledger, limits, view)
    }

    pub async fn stop(self) -> (TempDir, Arc<Ledger>) {
        self.running.shutdown().await;
        (self.dir, self.ledger)
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.running.local_addr().unwrap()
    }

    pub fn token(&self, role: Role) -> NewToken {
        self.tokens.add("test", role, None).unwrap()
    }

    /// A caller with a new token of this role.
    pub fn client(&self, role: Role) -> Client {
        self.client_with(Some(&self.token(role).text))
    }

    pub fn client_with(&self, token: Option<&str>) -> Client {
        let port = self.address().port();
        let connector = connector(&self.dir.path().join("cert.pem"));
        Client { port, connector, token: token.map(ToOwned::to_owned) }
    }

    pub fn audit(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(self.ledger.dir().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Another replica of a ledger, with a key of its own that may write.
pub fn replica(dir: &TempDir, ledger: &Ledger) -> Ledger {
    let path = dir.path().join("replica");
    let made =
        Options::new().clone_granted(path, ledger, quipu_merge::Role::Writer, &mut |_, _| {});
    made.unwrap().0
}

/// Waits until nobody has the ledger open.
pub async fn closed(ledger: Arc<Ledger>) {
    let mut ledger = ledger;
    for _ in 0..1000 {
        match Arc::try_unwrap(ledger) {
            Ok(_) => return,
            Err(shared) => ledger = shared,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the ledger is still open");
}

fn connector(certificate: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Somebody who asks.
#[derive(Clone)]
pub struct Client {
    port: u16,
    connector: TlsConnector,
    token: Option<String>,
}

/// An answer.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem with a status and a code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(
            (problem["code"].as_str(), problem["status"].as_u64()),
            (Some(code), Some(status.into())),
            "{problem}"
        );
        assert!(problem["title"].is_string());
    }

    /// The event that was written.
    #[track_caller]
    pub fn written(&self) -> String {
        assert_eq!(self.status, StatusCode::CREATED, "{}", self.text());
        let event = self.json()["event"].as_str().unwrap().to_owned();
        assert_eq!(self.header("location"), format!("/v1/events/{event}"));
        event
    }

    /// What was asked for.
    #[track_caller]
    pub fn good(&self) -> Json {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()
    }
}

impl Client {
    /// A connection on which anything can be said.
    pub async fn stream(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, stream).await.unwrap()
    }

    pub async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let (sender, connection) = handshake(TokioIo::new(self.stream().await)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.into())).unwrap()
    }

    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let request = self.request(Method::GET, path, headers, Bytes::new());
        self.connect().await.send_request(request).await.unwrap()
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let request = self.request(method, path, headers, body);
        let response = self.connect().await.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn post(&self, path: &str, body: &Json) -> Reply {
        self.send(Method::POST, path, &[], body.to_string()).await
    }

    pub async fn put(&self, path: &str, value: &str) -> Reply {
        self.send(Method::PUT, path, &[], value.to_owned()).await
    }
}
