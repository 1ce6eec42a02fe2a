//! The API as its callers meet it: a real server, over TLS, with a real client.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

mod client;
mod keys;
mod values;
