//! Giving up an address for good.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// How long it may take until nothing has the socket any more.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The address of an endpoint, which another may have when the endpoint has ended.
pub struct Leaving {
    quic: Option<quinn::Endpoint>,
    address: SocketAddr,
}

impl Leaving {
    pub const fn new(quic: Option<quinn::Endpoint>, address: SocketAddr) -> Self {
        Self { quic, address }
    }

    /// Frees the address. The endpoint has to be closed before, and all that has its connections gone.
    pub async fn leave(self) {
        let Self { quic, address } = self;
        if let Some(quic) = quic {
            // Connections that end, and those that are given up while they are made, keep the socket for as
            // long as packets may come for them: seconds, where nobody answers. They get another one; the
            // endpoint keeps the one that it had before the last, so it takes two.
            for _ in 0..2 {
                let rebound = UdpSocket::bind(nowhere(address)).and_then(|one| quic.rebind(one));
                if let Err(error) = rebound {
                    tracing::debug!(%error, "a socket is not given up before its time");
                }
            }
        }
        let since = Instant::now();
        while UdpSocket::bind(address).is_err() && since.elapsed() < PATIENCE {
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Any port of this host, where nobody is told to send to.
fn nowhere(like: SocketAddr) -> SocketAddr {
    if like.is_ipv4() { (Ipv4Addr::LOCALHOST, 0).into() } else { (Ipv6Addr::LOCALHOST, 0).into() }
}
