//! A replica's key, as nodes prove it to each other.

use quipu_merge::AuthorKey;
use quipu_store::HandshakeKey;

use crate::{NodeKey, SignError};

impl NodeKey for HandshakeKey {
    fn public(&self) -> AuthorKey {
        self.author()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Self::sign(self, message).map_err(|error| SignError(error.to_string()))
    }
}
