//! `quipu peer`

use std::str::FromStr;

use quipu_merge::AuthorKey;
use quipu_net::{PeerAddress, PeerBook};
use quipu_store::{CutError, ReadError};

use crate::context::Context;
use crate::exit::Failure;
use crate::output;
use crate::parse::parsed;

/// Add and remove peers of the address book.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  quipu peer add quic://KEY@node-2.example.org:7420   a node to be connected to
  quipu peer add KEY                                  a reader, who dials this node
  quipu peer rm KEY

Whoever is added may connect and read, whatever role it has in the ledger. In a ledger for members,
others that connect must be members.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Let a node connect, and be connected to it where it is said where it is.
    Add {
        /// KEY, or quic://KEY@HOST:PORT.
        peer: Named,
    },
    /// Forget a node. It may go on connecting if the ledger lets it.
    Rm {
        /// An author: a local name, a key, or its unique start.
        peer: String,
    },
}

/// A peer as it is written.
#[derive(Clone, Debug)]
enum Named {
    Key(AuthorKey),
    At(PeerAddress),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(key) = text.parse() {
            return Ok(Self::Key(key));
        }
        parsed(text).map(Self::At).map_err(|error| {
            format!("neither a key of 64 hexadecimal digits nor an address: {error}")
        })
    }
}

pub fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    match args.command {
        Command::Add { peer } => add(peer, context),
        Command::Rm { peer } => remove(&peer, context),
    }
}

fn add(peer: Named, context: &Context) -> Result<(), Failure> {
    let (key, place) = match peer {
        Named::Key(key) => (key, None),
        Named::At(PeerAddress { key, place }) => (key, Some(place)),
    };
    if key == context.open()?.author() {
        return Err(Failure::Usage("that is this replica's own key".to_owned()));
    }
    match context.served() {
        Some(served) => served.runtime.block_on(served.node.keep_peer(key, place))?,
        None => {
            let mut book = PeerBook::open(&context.store_path()?)?;
            match place {
                Some(place) => book.keep_at(&PeerAddress { key, place }),
                None => book.keep(key),
            }
            book.save()?;
        }
    }
    output::note(format_args!("peer {key} is kept"));
    Ok(())
}

fn remove(peer: &str, context: &Context) -> Result<(), Failure> {
    let key = match peer.parse() {
        Ok(key) => key,
        Err(_) => find(peer, context)?,
    };
    let known = match context.served() {
        Some(served) => served.runtime.block_on(served.node.remove_peer(key))?,
        None => {
            let mut book = PeerBook::open(&context.store_path()?)?;
            let known = book.remove(key);
            book.save()?;
            known
        }
    };
    if !known {
        return Err(Failure::NotFound(format!("no peer {key}")));
    }
    output::note(format_args!("peer {key} is forgotten"));
    Ok(())
}

/// The peer whose key begins so, or the author that has this name.
fn find(text: &str, context: &Context) -> Result<AuthorKey, Failure> {
    let book = PeerBook::open(&context.store_path()?)?;
    let mut found =
        book.peers().map(|(key, _)| key).filter(|key| key.to_string().starts_with(text));
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        _ => match context.open()?.snapshot()?.find_author(text) {
            Err(ReadError::Cut(CutError::NoAuthor(_))) => Err(Failure::NotFound(format!(
                "no peer is called {text:?}: no key of a peer begins so, and no author has this name"
            ))),
            found => Ok(found?),
        },
    }
}
