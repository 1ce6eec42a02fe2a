//! Who is there, and where.

use minicbor::{Decode, Encode};
use quipu_merge::AuthorKey;

use crate::limits::{MAX_PLACE_LEN, MAX_PLACES, MAX_PLACES_LEN, MAX_TOLD_PEERS};
use crate::wire;

/// The answer to who is known.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Peers {
    /// Who is known, the one that answers first.
    #[n(0)]
    pub peers: Vec<KnownPeer>,
}

/// Where a peer may be reached.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KnownPeer {
    /// The peer.
    #[cbor(n(0), with = "wire::author")]
    pub key: AuthorKey,
    /// Where: HOST:PORT, the best first.
    #[n(1)]
    pub places: Vec<String>,
}

impl Peers {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.peers.len() > MAX_TOLD_PEERS {
            return Err("too many peers");
        }
        if self.peers.iter().any(|peer| peer.places.len() > MAX_PLACES) {
            return Err("too many places");
        }
        if self.peers.iter().map(KnownPeer::places_len).sum::<usize>() > MAX_PLACES_LEN {
            return Err("too long places");
        }
        let mut places = self.peers.iter().flat_map(|peer| &peer.places);
        if places.all(|place| is_place(place)) { Ok(()) } else { Err("what is no place") }
    }
}

impl KnownPeer {
    /// Length of its places, in bytes.
    pub fn places_len(&self) -> usize {
        self.places.iter().map(String::len).sum()
    }
}

/// Whether this is HOST:PORT, as a name, an address of IPv4, or one of IPv6 in brackets.
pub fn is_place(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_host = match bare {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(of_name),
    };
    text.len() <= MAX_PLACE_LEN && is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for place in ["127.0.0.1:7420", "[::1]:1", "node-1.example.org:65535"] {
            assert!(is_place(place), "{place}");
        }
        let long = format!("{}:1", "a".repeat(MAX_PLACE_LEN));
        for other in
            ["", "host", "host:0", "host:65536", ":1", "::1:1", "[1.2.3.4]:1", "a b:1", &long]
        {
            assert!(!is_place(other), "{other}");
        }
        assert!(is_place(&long[2..]));
    }
}
