//! Connects nodes: encrypted messages between peers that know each other by their author keys.
//!
//! It does not know what the messages mean, and keeps nothing on disk.
//!
//! ```
//! use std::sync::Arc;
//!
//! use ed25519_dalek::{Signer, SigningKey};
//! use quipu_merge::AuthorKey;
//! use quipu_net::{Channel, CloseCode, ConnectionError, Endpoint, Limits, NodeKey, SignError};
//!
//! struct Key(SigningKey);
//!
//! impl NodeKey for Key {
//!     fn public(&self) -> AuthorKey {
//!         AuthorKey(self.0.verifying_key().to_bytes())
//!     }
//!
//!     fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
//!         Ok(self.0.sign(message).to_bytes())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let [ada, bob] = [1, 2].map(|seed| Arc::new(Key(SigningKey::from_bytes(&[seed; 32]))));
//! let only_ada = ada.public();
//! let here = "127.0.0.1:0".parse()?;
//! let at_ada = Endpoint::bind(here, ada, Arc::new(|_| false), Limits::default())?;
//! let at_bob = Endpoint::bind(here, bob, Arc::new(move |key| key == only_ada), Limits::default())?;
//!
//! let to_bob = at_ada.connect(at_bob.local_addr(), at_bob.key()).await?;
//! to_bob.sender().send(Channel::Gossip, b"news".to_vec()).await?;
//!
//! let mut to_ada = at_bob.accept().await.ok_or("bob is closed")?;
//! assert_eq!(to_ada.peer(), at_ada.key());
//! assert_eq!(to_ada.receiver().next().await?, (Channel::Gossip, b"news".to_vec()));
//!
//! at_bob.close(CloseCode::Done, "good night").await;
//! let reason = "good night".to_owned();
//! assert_eq!(to_bob.closed().await, ConnectionError::Closed { code: CloseCode::Done, reason });
//! # Ok(())
//! # }
//! ```

mod api;
mod node;
mod operation;
mod quic;
mod shown;
mod watch;

pub use quipu_proto::{Allowance, CertifyState, Channel, Fault, Quota, Step, Stopped};

pub use api::{
    Api, ApiConfig, ApiError, ApiLimits, Listen, NewToken, NodeView, Role, RunningApi, TokenError,
    TokenInfo, Tokens,
};
pub use node::{
    BookError, CertificationStatus, EvidenceInfo, FetchError, Fetcher, FillingStatus, Finality,
    JoinError, KnownPeer, MAX_HEARD, MAX_PLACES, Node, NodeError, NodeOptions, NodeStatus,
    PeerAddress, PeerAddressError, PeerBook, PeerState, PeerStatus, Place, StartError, SyncError,
    Synced, TIME_BOUNDS, Times, WaitError, evidence, join, start_from,
};
pub use operation::{Bytes, NoBase64, OperationError, OperationIn};
pub use quic::{
    AcceptError, Admission, BindError, CloseCode, ConnectError, Connection, ConnectionError,
    Endpoint, FrameLimits, Full, Limits, LimitsError, Link, MAX_REASON, MAX_REFUSALS, NodeKey,
    PROTOCOL, Receiver, Refusal, Refusals, SendError, Sender, SignError, Traffic, Violation,
};
pub use shown::{AboutEvent, BytesOut, OperationOut, ValueOut, WriteOut, rfc3339};
pub use watch::{Cursor, Watch, WatchError};
