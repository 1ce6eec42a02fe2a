//! Where events are taken from.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{TypedValueParser, ValueParserFactory};
use quipu_net::PeerAddress;

use crate::parse::parsed;

/// What the address of a peer begins with.
const QUIC: &str = "quic://";

/// Where events are taken from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A store's directory, or a CAR file.
    Path(PathBuf),
    /// A node.
    Peer(PeerAddress),
}

/// Reads a source as it is written.
#[derive(Clone)]
pub struct SourceParser;

impl ValueParserFactory for Source {
    type Parser = SourceParser;

    fn value_parser() -> SourceParser {
        SourceParser
    }
}

impl TypedValueParser for SourceParser {
    type Value = Source;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Source, clap::Error> {
        match value.to_str().filter(|text| text.starts_with(QUIC)) {
            Some(_) => {
                let peer = clap::builder::StringValueParser::new();
                peer.try_map(|text| parsed::<PeerAddress>(&text))
                    .parse_ref(command, arg, value)
                    .map(Source::Peer)
            }
            None => clap::builder::PathBufValueParser::new()
                .parse_ref(command, arg, value)
                .map(Source::Path),
        }
    }
}
