//! The configuration file of `quipu serve`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use quipu_net::{Allowance, PeerAddress, Place, Quota};
use serde::{Deserialize, Deserializer, Serialize};

use crate::exit::Failure;

/// The file, in the store's directory, unless another is named.
const FILE: &str = "config.toml";
/// Length of the file, in bytes.
const MAX_LEN: u64 = 1 << 20;
/// The longest time between two checkpoints.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// What can be said in the file; the command line goes before it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The UDP address on which other nodes may dial this one.
    pub listen: Option<SocketAddr>,
    /// Peers to be connected to.
    #[serde(deserialize_with = "parsed")]
    pub join: Vec<PeerAddress>,
    /// Where others may reach this node, if they cannot tell.
    #[serde(deserialize_with = "parsed")]
    pub announce: Vec<Place>,
    /// Only long values below these keys are fetched.
    pub only: Option<Vec<String>>,
    /// How fast events of authors that hold no role are taken from peers.
    pub quota: QuotaConfig,
    /// How checkpoints are certified.
    #[serde(default)]
    pub certify: CertifyConfig,
    /// Where the API is served over TLS.
    pub api: Option<ApiConfig>,
}

/// How fast events of authors that hold no role are taken from peers, in a ledger that is open. What is not
/// said is as in [`Quota::default`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Events of each author, a second.
    pub events: NonZeroU32,
    /// Their bytes.
    pub bytes: NonZeroU32,
    /// Events of all of them together, a second.
    pub all_events: NonZeroU32,
    /// Their bytes.
    pub all_bytes: NonZeroU32,
    /// So many seconds' worth of it may come at once.
    pub burst: NonZeroU32,
}

/// How checkpoints are certified.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifyConfig {
    /// The least time between two checkpoints.
    #[serde(default, deserialize_with = "duration")]
    pub interval: Option<Duration>,
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
    /// Whether everybody may read the certified log.
    #[serde(default)]
    pub public_tlog: bool,
}

/// What `clone` writes.
#[derive(Serialize)]
struct Written<'c> {
    only: &'c [String],
}

impl Default for QuotaConfig {
    fn default() -> Self {
        let Quota { author, all, burst } = Quota::default();
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            enabled: true,
            events: number(author.events),
            bytes: number(author.bytes),
            all_events: number(all.events),
            all_bytes: number(all.bytes),
            burst: number(u32::try_from(burst.as_secs()).unwrap_or(u32::MAX)),
        }
    }
}

impl QuotaConfig {
    /// The quota, if there is one.
    pub fn quota(&self) -> Option<Quota> {
        let allowance = |events: NonZeroU32, bytes: NonZeroU32| Allowance {
            events: events.get(),
            bytes: bytes.get(),
        };
        self.enabled.then(|| Quota {
            author: allowance(self.events, self.bytes),
            all: allowance(self.all_events, self.all_bytes),
            burst: Duration::from_secs(self.burst.get().into()),
        })
    }
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

/// Reads a time as in `2s` or `500ms`: more than none, and up to a day.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    let parsed = parsed.filter(|time| !time.is_zero() && *time <= MAX_INTERVAL);
    let wrong =
        || serde::de::Error::custom(format!("{text:?} is no time up to a day, as in \"2s\""));
    parsed.map(Some).ok_or_else(wrong)
}

/// Reads a list of things that are written as text.
fn parsed<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(text: &str) -> Option<Quota> {
        toml::from_str::<Config>(text).unwrap().quota.quota()
    }

    #[test]
    fn a_quota_is_there_unless_it_is_turned_off() {
        assert_eq!(quota(""), Some(Quota::default()));
        assert_eq!(quota("[quota]\nenabled = false"), None);
        let one = quota("[quota]\nevents = 7\nall_bytes = 9\nburst = 2").unwrap();
        let rest = Quota::default();
        assert_eq!((one.author.events, one.author.bytes), (7, rest.author.bytes));
        assert_eq!((one.all.events, one.all.bytes), (rest.all.events, 9));
        assert_eq!(one.burst, Duration::from_secs(2));
        assert!(toml::from_str::<Config>("[quota]\nevents = 0").is_err());
        assert!(toml::from_str::<Config>("[quota]\nevent = 1").is_err());
    }
}
