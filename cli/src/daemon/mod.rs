//! While a daemon serves a store, it runs the commands of others on it.
//!
//! A client hands over its stdin, stdout and stderr with what it was asked to do; the daemon runs the
//! same code on them as the client would have run, with its own open store.

mod client;
mod commands;
mod connection;
mod message;
mod notify;
mod renew;
mod request;
mod served;
mod server;
mod services;
mod socket;

pub use client::{Forward, fetch};
pub use connection::Client;
pub use served::Served;
pub use server::{Daemon, serve};
pub use services::ApiPlace;
pub use socket::Socket;
