//! The replica's key, for what validators sign.

use std::sync::Arc;

use ed25519_dalek::Signer;
use quipu_merge::{AuthorKey, CheckpointNote, CheckpointSignature, NoteError};

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::ledger::Ledger;

/// What votes and proposals begin with. Events and handshakes begin otherwise, and so do notes.
const DOMAINS: [&[u8]; 2] = [b"quipu/vote/v1\0", b"quipu/proposal/v1\0"];

/// A replica's key for what validators sign, and for nothing else: no signature that is made here is one
/// of an event.
#[derive(Clone)]
pub struct VotingKey(Arc<Identity>);

impl VotingKey {
    /// The public key.
    pub fn author(&self) -> AuthorKey {
        self.0.author()
    }

    /// Signs a vote or a proposal.
    ///
    /// # Errors
    /// [`IdentityError::NotAVote`].
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], IdentityError> {
        if !DOMAINS.iter().any(|domain| message.starts_with(domain)) {
            return Err(IdentityError::NotAVote);
        }
        Ok(self.0.key().sign(message).to_bytes())
    }

    /// Signs the note of a checkpoint, as of `seconds` since the Unix epoch. It is for a validator to
    /// sign those that count, in the order of their heights.
    ///
    /// # Errors
    /// Nobody writes such a time.
    pub fn cosign(
        &self,
        note: &CheckpointNote,
        seconds: u64,
    ) -> Result<CheckpointSignature, NoteError> {
        CheckpointSignature::sign(note, self.0.key(), seconds)
    }
}

impl std::fmt::Debug for VotingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VotingKey").field(&self.author()).finish()
    }
}

impl Ledger {
    /// The key, to vote with. It stays what it is when the replica's key is rotated.
    ///
    /// # Errors
    /// Those of [`Self::unlock`].
    pub fn voting_key(&self) -> Result<VotingKey, IdentityError> {
        self.identity().map(VotingKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_what_validators_sign_is_signed() {
        let key = VotingKey(Arc::new(Identity::generate().unwrap()));
        for domain in DOMAINS {
            assert!(key.sign(&[domain, b"rest"].concat()).is_ok());
            assert!(matches!(key.sign(&domain[1..]), Err(IdentityError::NotAVote)));
        }
        for other in [&b"quipu/event/v1\0rest"[..], &[b' '; 64], b""] {
            assert!(matches!(key.sign(other), Err(IdentityError::NotAVote)));
        }
    }
}
