//! Signing with the replica's key.

use quipu_proto::Keys;
use quipu_store::VotingKey;

/// The replica's key, as the protocol signs with it, where it does.
pub struct ReplicaKeys(pub Option<VotingKey>);

impl Keys for ReplicaKeys {
    fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        let signed = self.0.as_ref()?.sign(message);
        signed.inspect_err(|error| tracing::error!(%error, "nothing was signed")).ok()
    }
}
