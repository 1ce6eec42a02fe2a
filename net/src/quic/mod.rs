//! The transport: QUIC between nodes that know each other by their keys.
//!
//! From the socket up: `endpoint` dials, `door` lets in (`gate` counts, `verify` judges keys, `tls`
//! and `identity` prove them), `connection` has two halves, `sender` and `receiver`, which share a
//! `link`; `frame` makes messages of streams. `cause` puts what QUIC reports in the words of
//! `error`.

mod arrivals;
mod cause;
mod channel;
mod close;
mod connection;
mod door;
mod endpoint;
mod error;
mod frame;
mod gate;
mod identity;
mod leaving;
mod limits;
mod link;
mod receiver;
mod refusal;
mod sender;
mod tasks;
mod tls;
mod verify;

pub use close::{CloseCode, MAX_REASON};
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use error::{AcceptError, BindError, ConnectError, ConnectionError, SendError, Violation};
pub use gate::Full;
pub use identity::{NodeKey, SignError};
pub use limits::{FrameLimits, Limits, LimitsError};
pub use link::{Link, Traffic};
pub use receiver::Receiver;
pub use refusal::{MAX_REFUSALS, Refusal, Refusals};
pub use sender::Sender;
pub use tls::PROTOCOL;
pub use verify::Admission;
