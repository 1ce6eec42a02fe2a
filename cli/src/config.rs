//! The configuration file of `quipu serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use quipu_net::{PeerAddress, Place};
use serde::{Deserialize, Deserializer, Serialize};

use crate::exit::Failure;

/// The file, in the store's directory, unless another is named.
const FILE: &str = "config.toml";
/// Length of the file, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// What can be said in the file; the command line goes before it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The UDP address on which other nodes may dial this one.
    pub listen: Option<SocketAddr>,
    /// Peers to be connected to.
    #[serde(default, deserialize_with = "parsed")]
    pub join: Vec<PeerAddress>,
    /// Where others may reach this node, if they cannot tell.
    #[serde(default, deserialize_with = "parsed")]
    pub announce: Vec<Place>,
    /// Only long values below these keys are fetched.
    pub only: Option<Vec<String>>,
    /// Where the API is served over TLS.
    pub api: Option<ApiConfig>,
}

/// Where the API is served over TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// The address.
    pub listen: SocketAddr,
    /// A PEM file with the certificate and its chain.
    pub cert: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// What `clone` writes.
#[derive(Serialize)]
struct Written<'c> {
    only: &'c [String],
}

impl Config {
    /// Reads a file; without one named, that of the store in `dir`, if there is one.
    pub fn read(named: Option<&Path>, dir: &Path) -> Result<Self, Failure> {
        let path = named.map_or_else(|| dir.join(FILE), Path::to_owned);
        if named.is_none() && !path.exists() {
            return Ok(Self::default());
        }
        let len = path.metadata().map_err(Failure::file(&path))?.len();
        if len > MAX_LEN {
            return Err(Failure::Config { path, why: format!("{len} bytes are too many") });
        }
        let text = std::fs::read_to_string(&path).map_err(Failure::file(&path))?;
        toml::from_str(&text).map_err(|error| Failure::Config { path, why: error.to_string() })
    }

    /// Writes the file of a new store that is to have only some values.
    pub fn write_only(only: &[String], dir: &Path) -> Result<(), Failure> {
        let path: PathBuf = dir.join(FILE);
        let text = toml::to_string(&Written { only });
        let text =
            text.map_err(|error| Failure::Config { path: path.clone(), why: error.to_string() })?;
        std::fs::write(&path, text).map_err(Failure::file(path))
    }
}

/// Reads a list of things that are written as text.
fn parsed<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}
