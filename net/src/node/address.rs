//! Where a peer is: `quic://KEY@HOST:PORT`.

use std::fmt;
use std::str::FromStr;

use quipu_merge::AuthorKey;

/// Length of a host name, in bytes (RFC 1035).
const MAX_HOST: usize = 253;

/// A peer's key, and where to reach it: `quic://KEY@HOST:PORT`, KEY in hex. An address of IPv6 stands in
/// brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// Whom to expect there.
    pub key: AuthorKey,
    /// HOST:PORT.
    pub place: Place,
}

/// A host, by name or address, and a port: HOST:PORT.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(String);

/// What is not the address of a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {form}: {why}")]
pub struct PeerAddressError {
    text: String,
    /// What it would look like.
    form: &'static str,
    why: &'static str,
}

impl Place {
    /// As it is written: HOST:PORT.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<std::net::SocketAddr> for Place {
    fn from(address: std::net::SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl FromStr for Place {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        let wrong = |why| PeerAddressError { text: text.to_owned(), form: "HOST:PORT", why };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        match port.parse::<u16>() {
            Ok(1..) => {}
            _ => return Err(wrong("the port is not a number from 1 to 65535")),
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare {
            Some(ip) if ip.parse::<std::net::Ipv6Addr>().is_ok() => {}
            Some(_) => return Err(wrong("what stands in brackets is no address of IPv6")),
            None if host.is_empty() => return Err(wrong("the host is missing")),
            None if host.len() > MAX_HOST || !host.bytes().all(is_of_name) => {
                return Err(wrong("the host is neither a name nor an address"));
            }
            None => {}
        }
        Ok(Self(text.to_owned()))
    }
}

const fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        let form = "quic://KEY@HOST:PORT";
        let wrong = |why| PeerAddressError { text: text.to_owned(), form, why };
        let rest = text.strip_prefix("quic://").ok_or_else(|| wrong("it starts otherwise"))?;
        let (key, place) = rest.split_once('@').ok_or_else(|| wrong("the key is missing"))?;
        let key = key.parse().map_err(|_| wrong("the key is not 64 hexadecimal digits"))?;
        let place = place.parse().map_err(|error: PeerAddressError| wrong(error.why))?;
        Ok(Self { key, place })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quic://{}@{}", self.key, self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

    #[test]
    fn what_is_written_is_read() {
        for place in ["127.0.0.1:7420", "[::1]:1", "node-1.example.org:65535"] {
            let text = format!("quic://{KEY}@{place}");
            let address: PeerAddress = text.parse().unwrap();
            assert_eq!(address.key, AuthorKey([1; 32]));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = "x".parse::<Place>().unwrap_err().to_string();
        assert_eq!(error, "\"x\" is not HOST:PORT: the port is missing");
        let why = |text: &str| text.parse::<PeerAddress>().unwrap_err().why;
        assert_eq!(why("http://x"), "it starts otherwise");
        assert_eq!(why("quic://host:1"), "the key is missing");
        assert_eq!(why("quic://01@host:1"), "the key is not 64 hexadecimal digits");
        for (place, what) in [
            ("host", "the port is missing"),
            ("host:0", "the port is not a number from 1 to 65535"),
            ("host:65536", "the port is not a number from 1 to 65535"),
            (":1", "the host is missing"),
            ("[::1:1", "the host is neither a name nor an address"),
            ("::1:1", "the host is neither a name nor an address"),
            ("[1.2.3.4]:1", "what stands in brackets is no address of IPv6"),
            ("a b:1", "the host is neither a name nor an address"),
        ] {
            assert_eq!(why(&format!("quic://{KEY}@{place}")), what);
        }
    }
}
