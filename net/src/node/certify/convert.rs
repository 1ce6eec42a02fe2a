//! Checkpoints as the protocol and as the store name them.

use quipu_merge::Malformed;
use quipu_proto::{Certified, Parts};
use quipu_store::{CertifiedCheckpoint, Derivation};

/// What the store derived, as it is proposed.
pub fn parts(derivation: Derivation) -> Result<Parts, Malformed> {
    Parts::new(derivation.checkpoint, derivation.cut, derivation.validators)
}

/// What the store keeps, as it goes to peers.
pub fn to_send(kept: CertifiedCheckpoint) -> Result<Certified, Malformed> {
    let parts = Parts::new(kept.checkpoint, kept.cut, kept.validators)?;
    Ok(Certified { parts, certificate: kept.certificate })
}

/// What was certified, as the store keeps it.
pub fn to_keep(certified: &Certified) -> CertifiedCheckpoint {
    CertifiedCheckpoint {
        checkpoint: certified.parts.checkpoint().clone(),
        certificate: certified.certificate.clone(),
        cut: certified.parts.cut().clone(),
        validators: certified.parts.validators().clone(),
    }
}
