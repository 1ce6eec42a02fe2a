//! Why the API cannot be served.

use std::path::PathBuf;

use quipu_store::StorageError;

use super::tokens::TokenError;

/// The API cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The socket cannot be used.
    #[error("the socket cannot be listened on: {0}")]
    Socket(#[source] std::io::Error),
    /// The certificate or its key cannot be read.
    #[error("{0}: {1}")]
    Pem(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The file holds no certificate.
    #[error("{0} holds no certificate")]
    NoCertificate(PathBuf),
    /// The certificate and the key cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The audit log cannot be written.
    #[error("the audit log cannot be written: {0}")]
    Audit(#[source] std::io::Error),
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The store cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
